"""When to list containerd's store again: soon after a change, but not for every event of a burst.

An event only says that something changed, so a burst of events leads to one listing, and listings keep a distance. A
second listing follows a change: containerd collects garbage some time after it removes an image. And a listing comes
now and then without any event, because containerd before 2.1 does not tell when content appears or is collected.
"""

from ...settings import ContainerdSettings


class RelistSchedule:
    """Says when the next listing is due. The first is due at once, and counts as one after a change.

    Args:
        now: monotonic seconds, here and everywhere below.
        settings: the distances in time.
    """

    def __init__(self, now: float, settings: ContainerdSettings | None = None) -> None:
        self._settings = settings or ContainerdSettings()
        self._listed_at = now - self._settings.spacing_s
        self._collected_at: float | None = now + self._settings.collect_s
        """When the garbage of the last change will have been collected; None once a listing has seen it."""
        self._due_at = now

    @property
    def due_at(self) -> float:
        """When the next listing starts."""
        return self._due_at

    def note_change(self, now: float) -> None:
        """Note an event."""
        at = self._settings
        self._due_at = min(self._due_at, max(now + at.burst_s, self._listed_at + at.spacing_s))
        self._collected_at = now + at.collect_s

    def note_listing(self, now: float) -> None:
        """Note that a listing starts. A change while it runs asks for the next one."""
        self._listed_at = now
        if self._collected_at is not None and self._collected_at > now:
            self._due_at = max(self._collected_at, now + self._settings.spacing_s)
        else:
            self._due_at, self._collected_at = now + self._settings.regardless_s, None
