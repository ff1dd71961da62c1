"""Authorizations that registries granted: used while they are good, and fetched once for all who want one."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from ...errors import SourceError
from ...settings import UpstreamSettings

Key = tuple[str, str, str]
"""A registry's name, the URL of who granted it (the registry, or a host to which that one redirects), and a scope."""


class Authorizations:
    """Values of the Authorization header, by registry and scope. Beyond the bound the least recently used is forgotten.

    Times are in seconds of the caller's clock.

    Args:
        settings: `authorizations_max`.
    """

    def __init__(self, settings: UpstreamSettings | None = None) -> None:
        self._settings = settings or UpstreamSettings()
        self._values: OrderedDict[Key, tuple[str, float]] = OrderedDict()
        self._flights: dict[Key, asyncio.Future[str]] = {}

    def get(self, key: Key, now: float) -> str | None:
        """The value to send, or None if none is known that is good at `now`."""
        value, expires_at = self._values.get(key, (None, now))
        if value is None or expires_at <= now:
            self._values.pop(key, None)
            return None
        self._values.move_to_end(key)
        return value

    def put(self, key: Key, value: str, expires_at: float) -> None:
        """Remember a value until it expires."""
        self._values[key] = value, expires_at
        self._values.move_to_end(key)
        while len(self._values) > self._settings.authorizations_max:
            self._values.popitem(last=False)

    def forget(self, key: Key, value: str) -> None:
        """Drop a value that was not accepted, unless a newer one has replaced it."""
        if self._values.get(key, (None, 0.0))[0] == value:
            del self._values[key]

    async def once(self, key: Key, fetch: Callable[[], Awaitable[str]]) -> str:
        """Fetch a value. Callers that come while another one fetches it wait, and share its value or its SourceError.

        If the caller that fetches is cancelled, one of those that wait fetches instead.
        """
        while (flight := self._flights.get(key)) is not None:
            await asyncio.wait([flight])
            if not flight.cancelled():
                return flight.result()
        flight = asyncio.get_running_loop().create_future()
        self._flights[key] = flight
        try:
            value = await fetch()
        except SourceError as error:
            flight.set_exception(error)
            flight.exception()  # marks it as seen: perhaps nobody waits
            raise
        else:
            flight.set_result(value)
            return value
        finally:
            del self._flights[key]
            flight.cancel()
