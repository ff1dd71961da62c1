"""Where registries redirected requests for content: the ranges of one blob do not each ask the registry again.

A registry redirects a request for a blob to an object store, by a signed URL that is good for some minutes at least.
"""

from collections import OrderedDict

from yarl import URL

from ...settings import UpstreamSettings

Key = tuple[str, str]
"""A registry's name and a path of its API."""


class RedirectCache:
    """Targets of redirects, by what was asked for. Beyond the bound the oldest is forgotten.

    Times are in seconds of the caller's clock.

    Args:
        settings: `redirect_s` and `redirects_cached_max`.
    """

    def __init__(self, settings: UpstreamSettings | None = None) -> None:
        self._settings = settings or UpstreamSettings()
        self._targets: OrderedDict[Key, tuple[URL, float]] = OrderedDict()

    def get(self, key: Key, now: float) -> URL | None:
        """The URL to ask instead, or None if none is known that is good at `now`."""
        url, expires_at = self._targets.get(key, (None, now))
        return url if expires_at > now else None

    def put(self, key: Key, url: URL, now: float) -> None:
        """Remember where the registry redirected a request."""
        self._targets[key] = url, now + self._settings.redirect_s
        self._targets.move_to_end(key)
        while len(self._targets) > self._settings.redirects_cached_max:
            self._targets.popitem(last=False)

    def forget(self, key: Key) -> None:
        """Drop a URL that did not work."""
        self._targets.pop(key, None)
