"""The connections of all registries: each registry has its own, for each purpose."""

import enum
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from yarl import URL

from ...settings import UpstreamSettings
from .addresses import AddressGuard
from .names import LookUp, Names
from .reached import Proxies
from .registries import Registry
from .transport import Transport


class Purpose(enum.Enum):
    """What connections are for. What they wait for may not wait for each other."""

    CONTENT = "content"
    """What this node asks for."""
    SIGNS = "signs"
    """Signs of life: these must not wait until one of the requests that they are about gives its connection back."""
    GUESTS = "guests"
    """What others may see: on these this node shows no certificate."""


class Transports:
    """Makes the connections of a registry when it is first asked. Use it inside of one event loop.

    Args:
        configured: the registries that the operator named. Only one of these can be an agent, and is given marks.
        known: all that may be asked.
        settings: bounds.
        proxies: for registries that have none of their own.
        look_up: has the addresses of a host.
        passed_on: the marks that a request has to have.
    """

    def __init__(
        self,
        configured: Iterable[Registry],
        known: Iterable[Registry],
        settings: UpstreamSettings,
        proxies: Proxies,
        look_up: LookUp = socket.getaddrinfo,
        passed_on: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._configured = frozenset(configured)
        self._settings = settings
        self._proxies = proxies
        self._passed_on = passed_on
        self._named = [_place(registry.url) for registry in self._configured]
        self._names = Names([_place(registry.url)[0] for registry in known], settings.names, look_up)
        self._made: dict[tuple[str, str, Purpose], Transport] = {}
        """By the registry's name and URL."""

    async def close(self) -> None:
        """Drop all connections."""
        for transport in self._made.values():
            await transport.close()

    def of(self, registry: Registry, purpose: Purpose = Purpose.CONTENT) -> Transport:
        """The connections of a registry."""
        key = registry.name, registry.url, purpose
        transport = self._made.get(key)
        if transport is None:
            proxies = registry.reached.proxies or self._proxies
            named = [*self._named, *(_place(proxy.url) for proxy in (proxies.http, proxies.https) if proxy)]
            guard = AddressGuard(self._names.addresses, _place(registry.url)[0], named, registry.trusted)
            settings, shown = self._settings, registry
            if purpose is Purpose.SIGNS:
                settings = replace(settings, connections_max=1)
            if purpose is Purpose.GUESTS:
                shown = replace(registry, reached=replace(registry.reached, cert=None, key=None))
            passed_on = self._passed_on if registry in self._configured else tuple
            transport = self._made[key] = Transport(guard, settings, shown, proxies, passed_on)
        return transport


def _place(url: str) -> tuple[str, int]:
    """Host and port of a URL."""
    parsed = URL(url)
    return parsed.raw_host or "", parsed.port or 0
