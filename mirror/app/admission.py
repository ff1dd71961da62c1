"""Admission: which members a holder sends its blobs to, and which it sends to the homes. Pure.

A holder that sends its copy to everybody who asks is as slow as all of them together. So it serves one member at a
time. As soon as several want the same blob, they get each piece from that piece's home. The holder then sends every
piece once, to the home, which asks on behalf of the others. A member wants a blob as long as it is sent some of it,
however thin the link is, and for a moment after it has asked.
"""

import contextlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator

from ..settings import AppSettings
from ..sources import Role


class Admission:
    """Decides which members' requests for held blobs are served.

    Args:
        settings: windows and bounds.
    """

    def __init__(self, settings: AppSettings | None = None) -> None:
        self._settings = settings or AppSettings()
        self._askers: OrderedDict[str, dict[str, float]] = OrderedDict()
        """By blob: who asked, and when last, monotonic seconds."""
        self._transfers: Counter[tuple[str, str]] = Counter()
        """By blob and member: those under way."""

    def admits(self, blob: str, size: int, asker: str, now: float, role: Role) -> bool:
        """Whether a request is served now.

        Args:
            blob: hexadecimal digest.
            size: of the blob, in bytes.
            asker: name of the member that asks.
            now: monotonic seconds.
            role: as what it asks this node. Only a `HOLDER` is asked on behalf of the asker alone.
        """
        settings = self._settings
        if self._transfers.total() >= settings.transfers_max:
            return False
        if size <= settings.small_blob_bytes:
            return True
        askers = self._askers.setdefault(blob, {})
        self._askers.move_to_end(blob)
        while len(self._askers) > settings.admission_blobs_max:
            self._askers.popitem(last=False)
        for name in [name for name, at in askers.items() if now - at > settings.admission_window_s]:
            del askers[name]
        served = {name for served_blob, name in self._transfers if served_blob == blob}
        others = (askers.keys() | served) - {asker}
        askers[asker] = now
        return role is not Role.HOLDER or not others

    @contextlib.contextmanager
    def transfer(self, blob: str, asker: str, clock: Callable[[], float]) -> Iterator[None]:
        """Count a request that is served, for as long as it is; `clock` gives monotonic seconds."""
        self._transfers[blob, asker] += 1
        try:
            yield
        finally:
            self._transfers[blob, asker] -= 1
            self._transfers += Counter()  # without those that are over
            if blob in self._askers:
                self._askers[blob][asker] = clock()
