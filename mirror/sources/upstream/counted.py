"""Repositories of which a registry counts pulls, and those of which it does not, although it counts others.

Docker Hub says nothing of limits with images that may be pulled without any, such as those of sponsored projects. So
they can be pulled when no pull is left for the rest. Pure: told the time.

Source: Docker, "Usage and limits".
"""

from collections import OrderedDict

from ...settings import UpstreamSettings


class CountedRepositories:
    """What registries last said.

    Args:
        settings: for how long it counts, and how much is remembered.
    """

    def __init__(self, settings: UpstreamSettings) -> None:
        self._settings = settings
        self._known: OrderedDict[tuple[str, str], tuple[bool, float]] = OrderedDict()
        """By URL and path: whether pulls are counted, and until when that is known; the oldest first."""

    def note(self, url: str, repository: str, now: float, *, counted: bool) -> None:
        """Take note of an answer about a manifest: whether it said anything of limits."""
        key = url, repository
        self._known[key] = counted, now + self._settings.counted_known_s
        self._known.move_to_end(key)
        while len(self._known) > self._settings.counted_max:
            self._known.popitem(last=False)

    def known(self, url: str, repository: str, now: float) -> bool | None:
        """Whether pulls of a repository are counted; None if that is not known."""
        counted, until = self._known.get((url, repository), (None, now))
        return counted if now < until else None
