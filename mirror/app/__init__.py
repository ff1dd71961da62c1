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
    "ClientApp",
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


class ClientApp:
    """The application of the client endpoint.

    Args:
        client: answers below `/v2`.
        pages: answers all the rest.
    """

    def __init__(self, client: ASGIApp, pages: Starlette) -> None:
        self.client = client
        self.pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        # Not by Starlette's routes: they leave out paths with a line feed, and redirect to any Host that is named.
        answer = self.client if scope["path"].startswith("/v2") else self.pages
        await answer(scope, receive, send)


def client_app(client: ASGIApp, status: StatusEndpoint, *others: BaseRoute) -> ClientApp:
    """The application of the client endpoint, with the API."""
    return ClientApp(client, api_app(status, *others))


def api_app(status: StatusEndpoint, *others: BaseRoute) -> Starlette:
    """The application of an endpoint for the API alone."""
    app = Starlette(routes=[*status.probes(), *others])
    app.router.redirect_slashes = False
    return app
