"""Homes: which member fetches which piece for the whole cluster. Pure: all that see the same members agree.

The members, ordered by sha256(key of the content, name), are the ring of the content. The home of piece i is member
i mod n. So any n pieces in a row have n different homes, and no member has to ask who has which piece. A blob that has
few pieces for so many homes is cut into smaller ones, as many for each.

A member that cannot be asked keeps its place, so its failure moves only its own pieces. These go to all other members:
the one that follows changes with every n pieces, so no single neighbour takes the whole load.

What a home says of a blob is checked by the digest; what it says of a tag is not. So the ring of a tag turns: it has
another order in every window of time, and no choice of a name makes a member the first for longer than that.

Source: the word is from Iyer, Rowstron, Druschel, "Squirrel: a decentralized peer-to-peer web cache", PODC 2002.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..oci.pieces import MEBIBYTE, piece_size

__all__ = ["MEBIBYTE", "SMALLEST_BYTES", "Ring", "home_piece_size", "piece_size"]

_ROUNDS_MAX = 4
"""Pieces of the usual size for each home from which on a blob is not cut more evenly: at most a home has one more than
others, a quarter of its share."""

SMALLEST_BYTES = 128 * 1024
"""Bounds how small pieces get, in bytes: 20 homes have one each of 2.5 MB. A request costs its two nodes some
milliseconds of a core, for which a link of 100 Mbit/s could send 30 KB."""

_PAGE_BYTES = 4096
"""Pieces begin at multiples of this."""


def home_piece_size(size: int, homes: int) -> int:
    """The bytes of a piece that a home fetches for all; the last one may have fewer.

    A home sends its pieces to all others over one link, so it must not have more of them than others have. Of large
    blobs that is so whatever a piece's size is: `piece_size`. A blob of few pieces is cut so that all homes have as
    many.

    Args:
        size: of the blob, in bytes.
        homes: members of its ring.
    """
    usual = piece_size(size) if size > 4 * MEBIBYTE else MEBIBYTE
    if homes == 1 or size >= _ROUNDS_MAX * homes * usual:
        return piece_size(size)
    rounds = max(math.ceil(size / (homes * usual)), 1)
    pages = math.ceil(size / (homes * rounds * _PAGE_BYTES))
    return max(pages * _PAGE_BYTES, SMALLEST_BYTES)


def turned_key(key: bytes, unix_s: float, window_s: float) -> bytes:
    """The key of a tag's ring at a time: another one in every window, and all tags do not turn at the same moment.

    Members whose clocks differ see different rings around a turn only; then upstream is asked once more.

    Args:
        key: of the tag (`Reference.key`).
        unix_s: Unix time, s.
        window_s: length of a window, s.
    """
    offset_s = int.from_bytes(key[:4], "big") / 2**32 * window_s
    window = int((unix_s + offset_s) // window_s)
    return hashlib.sha256(key + window.to_bytes(8, "big", signed=True)).digest()


def registry_key(registry: str) -> bytes:
    """The key of a ring that is the same for all manifests of a registry.

    Its first member asks for all of them while few pulls are left, so that no two members spend the last one.
    """
    return hashlib.sha256(b"skvaller:registry:" + registry.encode()).digest()


@dataclass(frozen=True, slots=True)
class Ring:
    """The members that serve one piece of content as homes, in its order.

    Args:
        members: names; never empty.
    """

    members: tuple[str, ...]

    @classmethod
    def of(cls, key: bytes, names: Iterable[str]) -> "Ring":
        """Order members for the content of a key (`Digest.key`, `turned_key`)."""
        return cls(tuple(sorted(set(names), key=lambda name: hashlib.sha256(key + name.encode()).digest())))

    def homes(self, piece: int) -> Iterator[str]:
        """All members, in the order in which they are asked for a piece: its home first, the next one if it fails."""
        count = len(self.members)
        home = piece % count
        yield self.members[home]
        turn = piece // count
        for step in range(count - 1):
            yield self.members[(home + 1 + (turn + step) % (count - 1)) % count]

    def __len__(self) -> int:
        return len(self.members)
