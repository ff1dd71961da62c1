"""Authorisations that upstream has granted: kept while they are good, asked for once however many want them."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from ...errors import SourceError

MARGIN_S = 30.0
"""So long before its end an authorisation is no longer used: requests take time, and clocks differ."""
_KEPT_MAX = 1024

Key = tuple[str, str]
"""A registry's name and a scope."""


class Authorizations:
    """Values of the Authorization header by registry and scope, the least recently used forgotten first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Key, tuple[str, float]] = OrderedDict()
        self._flights: dict[Key, asyncio.Future[str]] = {}

    def get(self, key: Key, now: float) -> str | None:
        """The value to send, if one is known that is good at `now`, in seconds of the caller's clock."""
        value, good_until = self._kept.get(key, (None, now))
        if value is None or good_until <= now:
            self._kept.pop(key, None)
            return None
        self._kept.move_to_end(key)
        return value

    def keep(self, key: Key, value: str, good_until: float) -> None:
        """Remember a value until a time on the caller's clock."""
        self._kept[key] = value, good_until
        self._kept.move_to_end(key)
        while len(self._kept) > _KEPT_MAX:
            self._kept.popitem(last=False)

    def forget(self, key: Key, value: str) -> None:
        """Drop a value that was not accepted, unless it has been replaced by a newer one."""
        if self._kept.get(key, (None, 0.0))[0] == value:
            del self._kept[key]

    async def once(self, key: Key, fetch: Callable[[], Awaitable[str]]) -> str:
        """Fetch a value, or wait for the one who is already fetching it, and share what he gets or his SourceError.

        If the one who fetches is cancelled, one of those who wait takes over.
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
            flight.exception()  # seen: perhaps nobody waits
            raise
        else:
            flight.set_result(value)
            return value
        finally:
            del self._flights[key]
            flight.cancel()
