"""Which registries answer HEAD for a manifest as they answer GET: the others are asked by GET alone.

HEAD costs no pull where GET does. But some registries do not know it, and some redirect it to an object store by a URL
that is signed for GET alone. What they answer then, 404 among it, may also mean that there is no such manifest.
"""

import enum
from collections.abc import Collection

from ...settings import UpstreamSettings

DOUBTFUL = frozenset({400, 403, 404, 405, 501})
"""Statuses of an answer to HEAD that say nothing of GET, where it is not known that the registry knows HEAD."""
_UNKNOWN_METHOD = frozenset({400, 405, 501})


class Head(enum.Enum):
    """What a registry does with HEAD."""

    UNTRIED = "untried"
    RELIABLE = "reliable"
    """It answers as GET would."""
    USELESS = "useless"
    """GET works where it does not."""


class Heads:
    """What registries do with HEAD. Bounded: only known registries are ever asked. Times are the caller's clock, s.

    Args:
        settings: `head_known_s`.
        reliable: registries that say that they know HEAD, so that nothing is to be found out.
    """

    def __init__(self, settings: UpstreamSettings, reliable: Collection[str] = ()) -> None:
        self._settings = settings
        self._reliable = frozenset(reliable)
        self._known: dict[str, tuple[Head, float]] = {}

    def of(self, registry: str, now: float) -> Head:
        """What a registry does with HEAD, as far as is known at `now`."""
        if registry in self._reliable:
            return Head.RELIABLE
        head, until = self._known.get(registry, (Head.UNTRIED, now))
        return head if now < until else Head.UNTRIED

    def doubtful(self, registry: str, now: float) -> frozenset[int]:
        """Statuses after which GET is tried as well."""
        return _UNKNOWN_METHOD if self.of(registry, now) is Head.RELIABLE else DOUBTFUL

    def note(self, registry: str, head: Head, now: float) -> None:
        """Take note of what a registry does with HEAD."""
        self._known[registry] = head, now + self._settings.head_known_s
