"""Staged content: what `skvaller load` has sent before it knows the names.

Whoever mounts that into a repository has sent it. It is no name under which anybody may have it: the repository in
which it is sent is nobody's, so a mark never lists it.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

from ..oci.digest import Digest
from ..settings import AccessSettings


class Staged:
    """Remembers what was sent so, for a time and within a bound.

    Args:
        settings: both.
        now: monotonic seconds.
    """

    def __init__(self, settings: AccessSettings | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings or AccessSettings()
        self._now = now
        self._sent: OrderedDict[Digest, float] = OrderedDict()

    def add(self, digest: Digest) -> None:
        """Take note that all of some content was sent."""
        self._sent[digest] = self._now()
        self._sent.move_to_end(digest)
        while len(self._sent) > self._settings.staged_max:
            self._sent.popitem(last=False)

    def __contains__(self, digest: Digest) -> bool:
        sent_at = self._sent.get(digest)
        return sent_at is not None and self._now() - sent_at < self._settings.staged_s
