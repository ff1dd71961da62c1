"""In which order the URLs of a registry are asked: as the operator lists them, those that failed a moment ago last.

The last one listed is the registry itself, or what comes nearest to it. The others are caches before it, which need not
have everything. Pure: told the time.
"""

from collections.abc import Sequence

from .registries import Registry


class Turns:
    """The URLs that failed lately.

    Args:
        rest_s: time for which one that failed is asked after the others, s.
    """

    def __init__(self, rest_s: float) -> None:
        self._rest_s = rest_s
        self._failed_at: dict[str, float] = {}
        """By URL, so that the operator's list is its bound; monotonic seconds."""

    def of(self, urls: Sequence[Registry], now: float) -> list[Registry]:
        """All of them, in the order in which they are to be asked."""
        return sorted(
            urls, key=lambda registry: now < self._failed_at.get(registry.url, now - self._rest_s) + self._rest_s
        )

    def failed(self, registry: Registry, now: float) -> None:
        """Take note that one gave no answer that is of use."""
        self._failed_at[registry.url] = now
