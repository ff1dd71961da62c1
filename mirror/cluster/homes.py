"""Homes: which member fetches which piece for the cluster. Pure arithmetic: all who see the same members agree.

Members, ordered by sha256(key of the content, name), form the content's ring. Piece i's home is member i mod n of it.
Any n pieces in a row thereby have n different homes, and nobody has to be asked who has what.

A member that cannot be asked keeps its place, so that its failure moves its own pieces only. Which of the other members
is asked next changes with every n pieces, so that no single neighbour takes over the whole load.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MEBIBYTE = 1024 * 1024


def piece_size(size: int) -> int:
    """The bytes of a piece of a blob of `size` bytes; its last piece may be shorter.

    A 256th of the blob, rounded down to a power of two, 1 to 16 MiB; a blob up to 4 MiB is one piece.
    """
    if size <= 4 * MEBIBYTE:
        return 4 * MEBIBYTE
    return min(max(1 << (size // 256).bit_length() - 1, MEBIBYTE), 16 * MEBIBYTE)


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
        """All members, in the order in which they are asked for a piece: its home first, the next one if that fails."""
        count = len(self.members)
        home = piece % count
        yield self.members[home]
        turn = piece // count
        for step in range(count - 1):
            yield self.members[(home + 1 + (turn + step) % (count - 1)) % count]

    def __len__(self) -> int:
        return len(self.members)
