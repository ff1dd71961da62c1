"""What clients of this node were last told that tags mean, for people who ask why. No decision rests on it."""

import time
from collections import OrderedDict
from dataclasses import dataclass

from ..oci.reference import Reference
from ..settings import ImageSettings
from .tags import Answer


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a client was told.

    Args:
        at_unix_s: when, Unix time.
        seconds: how long it took to find out.
        answer: what the tag means, and a warning if upstream has not just said so; or why nobody knows.
    """

    at_unix_s: float
    seconds: float
    answer: Answer | str


class Resolutions:
    """The last answers, one for each tag.

    Args:
        settings: how many are remembered.
    """

    def __init__(self, settings: ImageSettings | None = None) -> None:
        self._most = (settings or ImageSettings()).resolutions_max
        self._last: OrderedDict[Reference, Resolution] = OrderedDict()

    def note(self, reference: Reference, seconds: float, answer: Answer | str) -> bool:
        """Take note of an answer; return whether the tag meant something else, by the one before."""
        before = self._last.get(reference)
        self._last[reference] = Resolution(time.time(), seconds, answer)
        self._last.move_to_end(reference)
        if len(self._last) > self._most:
            self._last.popitem(last=False)
        if before is None or isinstance(before.answer, str) or isinstance(answer, str):
            return False
        return before.answer.tag.digest != answer.tag.digest

    def of(self, reference: Reference) -> Resolution | None:
        """What a client was last told that a tag means."""
        return self._last.get(reference)
