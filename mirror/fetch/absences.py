"""Absences: what nobody has, remembered for a moment, so that upstream is not asked for it again and again."""

import time
from collections import OrderedDict

from ..errors import BlobUnknown, ManifestUnknown, MirrorError
from ..oci.content import Content
from ..settings import FetchSettings

Unknown = BlobUnknown | ManifestUnknown
"""The errors that say that neither a member nor upstream has some content."""


class Absences:
    """Content of which upstream said lately that it does not have it.

    It is remembered by the repository too: another one may have it.

    Args:
        settings: for how long, and how many.
    """

    def __init__(self, settings: FetchSettings) -> None:
        self._settings = settings
        self._until: OrderedDict[Content, tuple[float, type[Unknown], str]] = OrderedDict()
        """Until when, monotonic seconds, and what was said; the oldest first. The error itself is not kept: its
        traceback would keep the fetch that failed with it."""

    def __len__(self) -> int:
        return len(self._until)

    def note(self, content: Content, error: MirrorError) -> None:
        """Remember the content if the error says that nobody has it."""
        if isinstance(error, Unknown):
            self._until.pop(content, None)
            self._until[content] = time.monotonic() + self._settings.absent_s, type(error), str(error)
            while len(self._until) > self._settings.absent_max:
                self._until.popitem(last=False)

    def check(self, content: Content) -> None:
        """Raise what was said if it was said a moment ago."""
        if content in self._until:
            until, kind, said = self._until[content]
            if time.monotonic() < until:
                raise kind(said)
