"""Admission: whom a holder serves itself, and whom it sends to the homes. Pure.

A holder that sends its copy to everybody who asks is as slow as all of them together. So it serves one member at a time
for itself; as soon as several want the same blob, they get each piece from its home, and the holder sends every piece
once, to the home that asks for the others.
"""

from collections import OrderedDict

LINGER_S = 1.0
"""A member that asked counts as wanting the blob for so long after."""

TRANSFERS_MAX = 256
"""Transfers to other members at once; one more is told to try elsewhere."""

SMALL_BYTES = 4 * 1024 * 1024
"""Blobs up to here are given to everybody: sending them round would take longer."""

_BLOBS_MAX = 1024


class Admission:
    """Decides which members' requests for held blobs are served."""

    def __init__(self) -> None:
        self._askers: OrderedDict[str, dict[str, float]] = OrderedDict()
        self.transfers = 0

    def admits(self, blob: str, size: int, asker: str, now: float, *, for_others: bool) -> bool:
        """Whether a request is served now.

        Args:
            blob: hexadecimal digest.
            size: of the blob, in bytes.
            asker: name of the member that asks.
            now: monotonic seconds.
            for_others: whether it asks as a home.
        """
        if self.transfers >= TRANSFERS_MAX:
            return False
        if size <= SMALL_BYTES:
            return True
        askers = self._askers.setdefault(blob, {})
        self._askers.move_to_end(blob)
        while len(self._askers) > _BLOBS_MAX:
            self._askers.popitem(last=False)
        for name in [name for name, at in askers.items() if now - at > LINGER_S]:
            del askers[name]
        others = askers.keys() - {asker}
        askers[asker] = now
        return for_others or not others
