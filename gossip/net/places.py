"""Which streams of others are opened, and served: so many in all, few for each stranger, and some kept for members."""

import ipaddress
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Final

_STRANGERS_SHARE: Final = 3 / 4
"""The share of all places that strangers may have: the others are for addresses of members and of this machine."""
_STRANGER_SHARE: Final = 1 / 4
"""The share that one stranger may have: 4 of 16, as nodes that start together behind one address need them."""
_IPV6_PREFIX: Final = 64
"""Bits of an IPv6 address that count: one network of such a size is one stranger, for it has every address in it."""


class Places:
    """The streams that one node opens, or serves.

    Args:
        places: how many in all.
        is_member: whether a live member has that IP address.
        stranger_max: how many of them one stranger may have; None: a quarter.
    """

    def __init__(self, places: int, is_member: Callable[[str], bool], stranger_max: int | None = None) -> None:
        self._places = places
        self._strangers_max = max(1, int(places * _STRANGERS_SHARE))
        self._stranger_max = max(1, int(places * _STRANGER_SHARE)) if stranger_max is None else stranger_max
        self._is_member = is_member
        self._strangers: Counter[str] = Counter()
        self._kept = 0

    @property
    def taken(self) -> int:
        """Places that are taken now."""
        return self._strangers.total() + self._kept

    def is_kept_for(self, host: str) -> bool:
        """Whether the places that strangers may not have are for that IP address."""
        return not _origin(host) or self._is_member(host)

    def take(self, host: str) -> Callable[[], None] | None:
        """A place for a stream from that IP address: call what is returned to give it back. None if there is none."""
        if self.taken >= self._places:
            return None
        origin = _origin(host)
        if self._strangers.total() < self._strangers_max and self._strangers[origin] < self._stranger_max and origin:
            self._strangers[origin] += 1
            return lambda: self._leave(origin)
        if not self.is_kept_for(host):
            return None
        self._kept += 1
        return self._give_back

    def _leave(self, origin: str) -> None:
        self._strangers[origin] -= 1
        if not self._strangers[origin]:
            del self._strangers[origin]

    def _give_back(self) -> None:
        self._kept -= 1


@lru_cache(maxsize=4096)
def _origin(host: str) -> str:
    """What counts as one stranger; nothing for this machine."""
    address = ipaddress.ip_address(host)
    if address.is_loopback:
        return ""
    return host if address.version == 4 else str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False))
