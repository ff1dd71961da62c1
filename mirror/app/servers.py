"""The servers of a node: one for each address. They share the places for connections."""

import socket
from collections.abc import Callable, Iterable, Sequence

from starlette.types import ASGIApp

from ..addresses import Address, ListenAddress
from ..config import AgentConfig
from ..metrics import Metrics
from ..routers import Peer
from ..settings import ServerSettings
from .descriptors import descriptors_allowed
from .listener import Connect, plainly
from .origin import Naming, NoPages
from .places import Places
from .push import has_body
from .server import EndpointServer

Served = tuple[str, ListenAddress, ASGIApp]
"""The setting that says where something is served, the address, and the application."""

_FOR_CLIENTS = ("listen", "listen-for")
"""The settings of the addresses at which clients pull and push."""


def make_servers(
    served: Iterable[Served],
    config: AgentConfig,
    members: Callable[[], Sequence[Peer]],
    accept_member: Connect,
    metrics: Metrics,
    settings: ServerSettings,
) -> list[EndpointServer]:
    """A server for each address.

    Args:
        served: what is served where.
        config: the name of the node, and others by which clients may call it.
        members: those that are up.
        accept_member: makes the transport of a connection to the peer endpoint.
        metrics: counts.
        settings: bounds.
    """
    places = Places(lambda: [peer.host for peer in members()], descriptors_allowed(), settings, metrics)
    host = socket.gethostname().lower()
    names = {config.name.lower(), host, host.partition(".")[0], *config.allow_host}

    def guarded(name: str, address: ListenAddress, app: ASGIApp) -> ASGIApp:
        """No web page gets an answer anywhere: each listener is guarded, whatever it serves."""
        naming = Naming.BROWSERS if name == "metrics" else Naming.ALL
        return NoPages(app, names, naming if isinstance(address, Address) else Naming.NOBODY)

    return [
        EndpointServer(
            guarded(name, address, app),
            name,
            address,
            places,
            settings,
            accept_member if name == "peer" else plainly,
            streams=has_body if name in _FOR_CLIENTS else None,
        )
        for name, address, app in served
    ]
