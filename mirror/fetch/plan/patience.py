"""Patience: for how long a fetch makes new requests although next to nothing comes. Pure: told the time."""

from ...settings import PlanSettings


class Patience:
    """The patience of one fetch. Whatever its sources answer, it is over a bounded time after bytes stopped coming.

    Args:
        settings: how long, and how many bytes are worth the name.
    """

    def __init__(self, settings: PlanSettings) -> None:
        self._settings = settings
        self._since: float | None = None
        """Since when something is lacking and next to nothing has come, monotonic seconds; None: nothing is lacking."""
        self._came = 0
        """Bytes that have come since then."""

    def look(self, now: float, *, is_lacking: bool) -> None:
        """Take note whether anything is needed that is not here: time counts only while something is."""
        if not is_lacking:
            self._since = None
        elif self._since is None:
            self._since, self._came = now, 0

    def begin_anew(self) -> None:
        """Forget the time so far: until the size was known, the fetch waited for itself, to hash what was here."""
        self._since = None

    def came(self, count: int, now: float) -> None:
        """Take note of new bytes."""
        self._came += count
        if self._came >= self._settings.progress_bytes:
            self.landed(now)

    def landed(self, now: float) -> None:
        """Take note that enough has come."""
        self._came = 0
        if self._since is not None:
            self._since = now

    def is_over(self, now: float) -> bool:
        """Whether no new request is to be made."""
        return self._since is not None and now - self._since >= self._settings.barren_s
