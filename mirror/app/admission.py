"""Admission: which members a holder sends its blobs to, and which it sends to the homes. Pure.

A holder that sends its copy to everybody who asks is as slow as all of them together. So it serves one member at a
time. As soon as several want the same blob, they get each piece from that piece's home. The holder then sends every
piece once, to the home, which asks on behalf of the others.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Iterator

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
        self._transfers = 0

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
        if self._transfers >= settings.transfers_max:
            return False
        if size <= settings.small_blob_bytes:
            return True
        askers = self._askers.setdefault(blob, {})
        self._askers.move_to_end(blob)
        while len(self._askers) > settings.admission_blobs_max:
            self._askers.popitem(last=False)
        for name in [name for name, at in askers.items() if now - at > settings.admission_window_s]:
            del askers[name]
        others = askers.keys() - {asker}
        askers[asker] = now
        return role is not Role.HOLDER or not others

    @contextlib.contextmanager
    def transfer(self) -> Iterator[None]:
        """Count a request that is served, for as long as it is."""
        self._transfers += 1
        try:
            yield
        finally:
            self._transfers -= 1
