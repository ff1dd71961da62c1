"""Homes: which member fetches which piece for the whole cluster. Pure: all that see the same members agree.

The members, ordered by sha256(key of the content, name), are the ring of the content. The home of piece i is member
i mod n. So any n pieces in a row have n different homes, and no member has to ask who has which piece.

A member that cannot be asked keeps its place, so its failure moves only its own pieces. These go to all other members:
the one that follows changes with every n pieces, so no single neighbour takes the whole load.

Source: the word is from Iyer, Rowstron, Druschel, "Squirrel: a decentralized peer-to-peer web cache", PODC 2002.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..oci.pieces import MEBIBYTE, piece_size

__all__ = ["MEBIBYTE", "Ring", "piece_size"]


@dataclass(frozen=True, slots=True)
class Ring:
    """The members that serve one piece of content as homes, in its order.

    Args:
        members: names; never empty.
    """

    members: tuple[str, ...]

    @classmethod
    def of(cls, key: bytes, names: Iterable[str]) -> "Ring":
        """Order members for the content of a key (`Digest.key`, `Reference.key`)."""
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
