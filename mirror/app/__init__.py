"""The HTTP endpoints: for this node's clients, for other nodes, and for people."""

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount

from .backend import Backend
from .client import ClientEndpoint
from .descriptors import descriptors_allowed
from .find import Find
from .keys import KeysEndpoint
from .origin import NoPages
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
    "NoPages",
    "NodeStatus",
    "PeerEndpoint",
    "Places",
    "StatusEndpoint",
    "api_app",
    "client_app",
    "descriptors_allowed",
]


def client_app(client: ClientEndpoint, status: StatusEndpoint, *others: BaseRoute) -> Starlette:
    """The application of the client endpoint. `/v2` comes first: most requests are for it."""
    return Starlette(routes=[Mount("/v2", client), *status.probes(), *others])


def api_app(status: StatusEndpoint, *others: BaseRoute) -> Starlette:
    """The application of an endpoint for the API alone."""
    return Starlette(routes=[*status.probes(), *others])
