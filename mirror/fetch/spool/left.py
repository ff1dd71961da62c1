"""Left: what a fetch that ends leaves of a blob for the next one, beyond the whole pieces that were hashed.

Clients that pull lazily read here and there. Only what may be given to clients is left: upstream sent it, or somebody
vouched for it. So the next fetch may give it to clients, once its sha256 was found to be the same.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...stores import HashedRange

if TYPE_CHECKING:
    from ...oci.ranges import Span
    from .spool import Spool

_HASHED_MAX_BYTES = 256 * 1024 * 1024
"""Bounds what is hashed of one blob when its fetch ends, in bytes: a second, for which an agent that stops waits."""


async def resume_ranges(spool: "Spool", ranges: Sequence[HashedRange]) -> None:
    """Take over what an earlier fetch left here and there, as far as hashing proves that it is what that left.

    Raises:
        OSError: the disk failed.
    """
    backing = spool.backing
    if backing is None:
        return
    missing = [part for part in ranges if not spool.present.touches(part.start, part.stop)]
    found = await spool.hash_ranges([(part.start, part.stop) for part in missing])
    for part, sha256 in zip(missing, found, strict=True):
        if sha256 == part.sha256:
            backing.claim(part.start, part.stop)
            spool.vouching.release(part.start, part.stop)
            spool.arrived(part.start, part.stop)


async def ranges_to_leave(spool: "Spool") -> list[HashedRange]:
    """What is here beyond the whole pieces that were hashed, and may be given to clients, the largest first.

    Raises:
        OSError: the disk failed.
    """
    backing = spool.backing
    if backing is None or spool.is_complete:
        return []
    spans = spool.present & spool.vouching.free
    spans.remove(0, spool.hasher.position // backing.piece_bytes * backing.piece_bytes)
    largest: list[Span] = []
    left = _HASHED_MAX_BYTES
    for start, stop in sorted(spans, key=lambda span: span[0] - span[1]):
        if stop - start <= left:
            largest.append((start, stop))
            left -= stop - start
    return [HashedRange(*span, sha256) for span, sha256 in zip(largest, await spool.hash_ranges(largest), strict=True)]
