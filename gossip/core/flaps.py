"""Members that come and go: nobody should be sent to one that died three times in ten minutes.

A flap is a return within a minute of the failure. A member with too many of them in the window stays a member, its
filter stays up to date, but lookups leave it out until the oldest flaps have aged out of the window.
"""

from collections import deque

from .config import GossipConfig


class Flaps:
    """When members flapped, as far back as it matters."""

    def __init__(self, config: GossipConfig) -> None:
        self._config = config
        self._failed_at: dict[str, float] = {}
        self._times: dict[str, deque[float]] = {}

    def failed(self, name: str, now: float) -> None:
        """A member was found dead."""
        self._failed_at[name] = now

    def returned(self, name: str, now: float) -> float | None:
        """A member is back. Returns until when it is left out, s; None if it is not."""
        failed_at = self._failed_at.pop(name, None)
        if failed_at is not None and now - failed_at <= self._config.flap_within_s:
            times = self._times.setdefault(name, deque(maxlen=self._config.flaps_max))
            times.append(now)
        return self.out_until(name, now)

    def out_until(self, name: str, now: float) -> float | None:
        """Until when a member is left out, s; None if it is not."""
        times = self._times.get(name)
        if times is None:
            return None
        while times and now - times[0] >= self._config.flap_window_s:
            times.popleft()
        if not times:
            del self._times[name]
            return None
        return times[0] + self._config.flap_window_s if len(times) >= self._config.flaps_max else None

    def forget(self, name: str) -> None:
        """The member is no more."""
        self._failed_at.pop(name, None)
        self._times.pop(name, None)
