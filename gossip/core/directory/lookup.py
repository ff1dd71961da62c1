"""Filters as lookups read them: small ones together, in an index of all of one size, large ones one by one.

To take a filter into an index takes milliseconds, and an index of large ones takes much memory. So large filters are
kept as they are, and a lookup looks into one after the other, which takes about 1 us each. To take one in is then one
assignment, however large it is.
"""

from collections.abc import Callable, Sequence

from .filters import Filter, Index


class Lookup:
    """The filters in which lookups look, of any sizes.

    Args:
        make: makes an empty index for filters of one size.

    `indexes` are those that are in use, by the size of their filters.
    """

    def __init__(self, make: Callable[[int], Index]) -> None:
        self.indexes: dict[int, Index] = {}
        self._make = make
        self._large: dict[str, Filter] = {}
        self._filters: dict[str, Filter] = {}
        self._uncounted: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._filters

    @property
    def memory_bytes(self) -> int:
        """What the indexes take at most, without the filters themselves."""
        return sum(index.memory_bytes for index in self.indexes.values())

    def is_indexed(self, name: str) -> bool:
        """Whether a member's filter is read together with others."""
        return name in self._filters and name not in self._large

    def growth_bytes(self, name: str, filled: Filter) -> int:
        """By how much the indexes grow at most when a member's filter comes."""
        if not filled.together:
            return 0
        index = self.indexes.get(filled.bits_log2) or self._make(filled.bits_log2)
        known = self._filters[name] if self.is_indexed(name) else None
        same = known is not None and known.bits_log2 == filled.bits_log2
        return index.growth_bytes(known if same else None, filled)

    def extension_bytes(self, name: str, key_count: int) -> int:
        """By how much the indexes grow at most when keys are added to a member's filter."""
        if not self.is_indexed(name):
            return 0
        return self.indexes[self._filters[name].bits_log2].extension_bytes(key_count)

    def put(self, name: str, filled: Filter) -> None:
        """Let lookups look into a member's filter, in place of the one that it had."""
        known, size = self._filters.get(name), filled.bits_log2
        if known is not None and self.is_indexed(name) and filled.together and known.bits_log2 == size:
            self.indexes[size].replace(name, known, filled)
        else:
            self._drop(name)
            if not filled.together:
                self._large[name] = filled
            else:
                if size not in self.indexes:
                    self.indexes[size] = self._make(size)
                self.indexes[size].add(name, filled)
        self._filters[name] = filled
        self.count(name, name not in self._uncounted)

    def set(self, name: str, positions: Sequence[int]) -> None:
        """Some bits of a member's filter were set; one into which lookups do not look is fine."""
        if not self.is_indexed(name):
            return
        known = self._filters[name]
        if known.together:
            self.indexes[known.bits_log2].set(name, positions)
        else:
            self.put(name, known)

    def empty(self, name: str) -> None:
        """A member's filter is not here: lookups do not find it until there is another; unknown names are fine."""
        self._drop(name)
        self._filters.pop(name, None)

    def drop(self, name: str) -> None:
        """Look into a member's filter no more; unknown names are fine."""
        self.empty(name)
        self._uncounted.discard(name)

    def count(self, name: str, counted: bool) -> None:
        """Say whether a member counts in lookups."""
        (self._uncounted.discard if counted else self._uncounted.add)(name)
        if self.is_indexed(name):
            self.indexes[self._filters[name].bits_log2].count(name, counted)

    def holders(self, key: bytes) -> list[str]:
        """The names of counted members that may hold the key of at least 8 bytes."""
        found: list[str] = []
        for index in self.indexes.values():
            found += index.holders(key)
        if self._large:
            found += [name for name, it in self._large.items() if key in it and name not in self._uncounted]
        return found

    def _drop(self, name: str) -> None:
        known = self._filters.get(name)
        if known is None or self._large.pop(name, None) is not None:
            return
        index = self.indexes[known.bits_log2]
        index.drop(name, known)
        if not len(index):
            del self.indexes[known.bits_log2]
