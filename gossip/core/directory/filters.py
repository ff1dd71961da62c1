"""What every kind of filter offers, so that replicas, versions, repairs and bounds are the same for all kinds.

A filter is a set of keys that never says no to a key that it has. It is seen as 2 ** `bits_log2` bits, of which a key
sets one or more: those at its positions. Two filters with the same keys are the same, byte for byte.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from ..messages import KEY_BYTES


class Filter(Protocol):
    """The keys of one member.

    `bits_log2` is its size, as messages state it. `together` says whether it is small enough for lookups to read it
    together with those of other members (`Index`).
    """

    @property
    def bits_log2(self) -> int: ...  # noqa: D102 -- the class says it

    @property
    def together(self) -> bool: ...  # noqa: D102 -- the class says it

    @property
    def memory_bytes(self) -> int:
        """What it takes at most."""
        ...

    def growth_bytes(self, key_count: int) -> int:
        """By how much that grows at most with so many keys more."""
        ...

    def __contains__(self, key: bytes) -> bool: ...

    def add(self, key: bytes) -> Sequence[int]:
        """Add a key of 8 bytes. Returns its positions."""
        ...

    def packed(self) -> bytes:
        """The filter as it travels over streams."""
        ...


class Index(Protocol):
    """Filters of several members in one form, in which a single lookup finds all that have a key."""

    def __len__(self) -> int: ...

    @property
    def memory_bytes(self) -> int:
        """What it takes at most, without the filters themselves."""
        ...

    def growth_bytes(self, known: Filter | None, filled: Filter) -> int:
        """By how much that grows at most with a member's filter, perhaps in place of one that is known."""
        ...

    def extension_bytes(self, key_count: int) -> int:
        """By how much that grows at most with so many keys more of a member that is in it."""
        ...

    def add(self, name: str, filled: Filter) -> None:
        """Take in a new member's filter; it counts in lookups."""
        ...

    def replace(self, name: str, known: Filter, filled: Filter) -> None:
        """Put a member's filter in the place of the one that is known."""
        ...

    def set(self, name: str, positions: Sequence[int]) -> None:
        """Set some bits of a member."""
        ...

    def drop(self, name: str, known: Filter) -> None:
        """Forget a member, whose filter is known."""
        ...

    def count(self, name: str, counted: bool) -> None:
        """Say whether a member counts in lookups."""
        ...

    def holders(self, key: bytes) -> list[str]:
        """The counted members whose filters have a key of at least 8 bytes."""
        ...


class FilterRules(Protocol):
    """How filters of one kind are sized, checked and made, by the settings of one node."""

    @property
    def smallest(self) -> int:
        """The size of an empty filter, as `bits_log2`."""
        ...

    @property
    def room(self) -> int:
        """How many keys a node publishes at most."""
        ...

    def size_for(self, key_count: int) -> int:
        """The size of a new filter for so many keys, as `bits_log2`."""
        ...

    def is_outgrown(self, bits_log2: int, key_count: int) -> bool:
        """Whether a larger filter is to take the place of this node's own, which has so many keys."""
        ...

    def packed_bytes(self, bits_log2: int, key_count: int) -> int:
        """The length of a filter as it travels."""
        ...

    def check(self, bits_log2: int, key_count: int) -> None:
        """Refuse a filter that no node makes: of another kind, larger than its keys need, or too full.

        Raises:
            WireError: it is one, with the reason `filter`.
        """
        ...

    def excess(self, bits_log2: int, key_count: int) -> str:
        """By what a filter is larger than this node's settings allow, in words; nothing if it is not."""
        ...

    def empty(self, bits_log2: int) -> Filter:
        """A filter without keys."""
        ...

    def unpack(self, bits_log2: int, key_count: int, packed: bytes) -> Filter:
        """A filter that came over a stream.

        Raises:
            WireError: it is none, or says yes to more than its keys, with the reason `filter`.
        """
        ...

    def index(self, bits_log2: int) -> Index:
        """An empty index for filters of that size."""
        ...


class NoFilter:
    """Stands for a filter of which only the version is known: no key seems to be in."""

    bits_log2 = 0
    together = False
    memory_bytes = 0

    def growth_bytes(self, key_count: int) -> int:
        """Nothing is ever added."""
        return 0

    def __contains__(self, key: bytes) -> bool:
        return False

    def add(self, key: bytes) -> Sequence[int]:
        """Nothing is ever added."""
        return ()

    def packed(self) -> bytes:
        """Nothing."""
        return b""


NO_FILTER: Final = NoFilter()
"""The filter of all members of whom only the version is known."""


def split_keys(keys: bytes) -> list[bytes]:
    """Single keys from bytes in which they follow each other."""
    return [keys[i : i + KEY_BYTES] for i in range(0, len(keys), KEY_BYTES)]
