"""The HTTP endpoints: for this node's clients, for other nodes, and for people."""

from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from .backend import Backend
from .client import ClientEndpoint
from .descriptors import descriptors_allowed
from .find import Find
from .keys import KeysEndpoint
from .operations import Members, Operations
from .origin import NoPages
from .page import StatusPage
from .peer import PeerEndpoint
from .places import Places
from .server import EndpointServer
from .status import BudgetStatus, NodeStatus, OutageStatus, StatusEndpoint
from .why import RegistryStatus, Remembered, Why

__all__ = [
    "Backend",
    "BudgetStatus",
    "ClientEndpoint",
    "EndpointServer",
    "Find",
    "KeysEndpoint",
    "Members",
    "NoPages",
    "NodeStatus",
    "Operations",
    "OutageStatus",
    "PeerEndpoint",
    "Places",
    "RegistryStatus",
    "Remembered",
    "StatusEndpoint",
    "StatusPage",
    "Why",
    "api_app",
    "client_app",
    "descriptors_allowed",
]


def client_app(client: ASGIApp, status: StatusEndpoint, *others: BaseRoute) -> ASGIApp:
    """The application of the client endpoint."""
    pages = api_app(status, *others)

    async def either(scope: Scope, receive: Receive, send: Send) -> None:
        # Not by Starlette's routes: they leave out paths with a line feed, and redirect to any Host that is named.
        answer = client if scope["path"].startswith("/v2") else pages
        await answer(scope, receive, send)

    return either


def api_app(status: StatusEndpoint, *others: BaseRoute) -> Starlette:
    """The application of an endpoint for the API alone."""
    app = Starlette(routes=[*status.probes(), *others])
    app.router.redirect_slashes = False
    return app
