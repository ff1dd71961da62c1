"""Where registries said that blobs are: a blob that comes in many ranges is not asked of the registry for each of them.

Registries send those who ask for a blob on to an object store, by a signed URL that is good for some minutes at least.
"""

from collections import OrderedDict

from yarl import URL

GOOD_FOR_S = 60.0
_KEPT_MAX = 256

Key = tuple[str, str]
"""A registry's name and a path of its API."""


class RedirectCache:
    """URLs that registries gave, by what was asked for, the oldest forgotten first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Key, tuple[URL, float]] = OrderedDict()

    def get(self, key: Key, now: float) -> URL | None:
        """The URL to ask, if one is known that is good at `now`, in seconds of the caller's clock."""
        url, good_until = self._kept.get(key, (None, now))
        return url if good_until > now else None

    def keep(self, key: Key, url: URL, now: float) -> None:
        """Remember where a registry sent us."""
        self._kept[key] = url, now + GOOD_FOR_S
        self._kept.move_to_end(key)
        while len(self._kept) > _KEPT_MAX:
            self._kept.popitem(last=False)

    def forget(self, key: Key) -> None:
        """Drop a URL that is good no longer."""
        self._kept.pop(key, None)
