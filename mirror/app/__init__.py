"""The HTTP endpoints: for this node's clients, for other nodes, and for people."""

from starlette.applications import Starlette
from starlette.routing import Mount

from .backend import Backend
from .client import ClientEndpoint
from .descriptors import descriptors_allowed
from .find import Find
from .keys import KeysEndpoint
from .peer import PeerEndpoint
from .places import Places
from .server import EndpointServer
from .status import NodeStatus, StatusEndpoint

__all__ = [
    "Backend",
    "ClientEndpoint",
    "EndpointServer",
    "Find",
    "KeysEndpoint",
    "NodeStatus",
    "PeerEndpoint",
    "Places",
    "StatusEndpoint",
    "client_app",
    "descriptors_allowed",
]


def client_app(client: ClientEndpoint, status: StatusEndpoint, keys: KeysEndpoint | None = None) -> Starlette:
    """The application of the client listener. `/v2` comes first: most requests are for it."""
    return Starlette(routes=[Mount("/v2", client), *status.routes(), *(keys.routes() if keys else ())])
