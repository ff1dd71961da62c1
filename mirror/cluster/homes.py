"""Homes: which member fetches which piece for the whole cluster. Pure: all that see the same members agree.

The members, ordered by sha256(key of the content, name), are the ring of the content. The home of piece i is member
i mod n. So any n pieces in a row have n different homes, and no member has to ask who has which piece.

A member that cannot be asked keeps its place, so its failure moves only its own pieces. These go to all other members:
the one that follows changes with every n pieces, so no single neighbour takes the whole load.

What a home says of a blob is checked by the digest; what it says of a tag is not. So the ring of a tag turns: it has
another order in every window of time, and no choice of a name makes a member the first for longer than that.

Source: the word is from Iyer, Rowstron, Druschel, "Squirrel: a decentralized peer-to-peer web cache", PODC 2002.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..oci.pieces import MEBIBYTE, piece_size

__all__ = ["MEBIBYTE", "Ring", "piece_size"]


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
