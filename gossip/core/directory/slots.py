"""Members as small numbers: an index keeps many of them in one integer, or one of them in a few bits."""

import heapq


class Slots:
    """A number for each member, and whether it counts in lookups; numbers of forgotten members are used again.

    `counted` is a bitmap of the numbers that count.
    """

    def __init__(self) -> None:
        self.counted = 0
        self._slots: dict[str, int] = {}
        self._names: list[str] = []
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._slots)

    def __getitem__(self, name: str) -> int:
        return self._slots[name]

    @property
    def width(self) -> int:
        """All numbers are below this one."""
        return len(self._names)

    @property
    def next_width(self) -> int:
        """The same with one member more."""
        return len(self._names) + (not self._free)

    def take(self, name: str) -> int:
        """Give a new member a number; it counts."""
        if not self._free:
            self._free.append(len(self._names))
            self._names.append("")
        slot = heapq.heappop(self._free)
        self._names[slot] = name
        self._slots[name] = slot
        self.counted |= 1 << slot
        return slot

    def give_back(self, name: str) -> None:
        """Forget a member."""
        self.count(name, False)
        heapq.heappush(self._free, self._slots.pop(name))

    def count(self, name: str, counted: bool) -> None:
        """Say whether a member counts."""
        bit = 1 << self._slots[name]
        self.counted = self.counted | bit if counted else self.counted & ~bit

    def name(self, slot: int) -> str:
        """Whose number that is."""
        return self._names[slot]

    def names(self, bitmap: int) -> list[str]:
        """Whose numbers those are."""
        names, found = self._names, list[str]()
        while bitmap:
            slot = bitmap.bit_length() - 1
            found.append(names[slot])
            bitmap ^= 1 << slot
        return found
