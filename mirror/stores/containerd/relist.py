"""When to list containerd's store again: soon after a change, but never in a storm.

An event only says that something changed, so a burst of them leads to one listing, and listings keep a distance. A
change is followed by a second listing: content goes some time after its image, when containerd collects garbage. And
one comes regardless now and then, because containerd before 2.1 does not tell when content appears or is collected.
"""

from typing import Final

SETTLE_S: Final = 0.05
"""From the first event of a burst to the listing."""
SPACING_S: Final = 1.0
"""From one listing's start to the next one's, at least."""
COLLECT_S: Final = 2.0
"""From the last event to the listing that sees the garbage collected."""
REGARDLESS_S: Final = 30.0
"""From one listing's start to the next one's, at most."""


class RelistSchedule:
    """Says when the next listing is due; the first is due at once, and counts as after a change.

    Args:
        now: monotonic seconds, here and everywhere below.
    """

    def __init__(self, now: float) -> None:
        self._last = now - SPACING_S
        self._again: float | None = now + COLLECT_S
        self._due = now

    @property
    def due(self) -> float:
        """When the next listing is to start."""
        return self._due

    def changed(self, now: float) -> None:
        """Note an event."""
        self._due = min(self._due, max(now + SETTLE_S, self._last + SPACING_S))
        self._again = now + COLLECT_S

    def listing(self, now: float) -> None:
        """Note that a listing starts; what changes while it runs calls for the next one."""
        self._last = now
        if self._again is not None and self._again > now:
            self._due = max(self._again, now + SPACING_S)
        else:
            self._due, self._again = now + REGARDLESS_S, None
