"""Blobs: which complete blobs the cache has, and which of them go first when space is needed.

A blob is *ours* when a client of this node asked for it. It is *spare* when only other members did, or when another
store of this node has it too. Spare ones go first, each kind in the order of last use. What is fetched for other
members alone takes the place of spare blobs, and of those that no client of this node has used lately. What is
protected, because it is pinned, never goes to make room.
"""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from enum import StrEnum

from ...oci.digest import Algorithm, Digest


class Withheld(StrEnum):
    """Why a blob is here and is not served."""

    UNPROVEN = "unproven"
    """Nothing says that it was found right; it is hashed in the background."""
    UNREADABLE = "unreadable"
    """The disk does not give it; it is tried again in the background."""


class Blobs:
    """The complete blobs, by the hex of their digests.

    Args:
        lately_s: time after its last use by a client of this node for which a blob gives no way to others, s.
        now: Unix time in seconds, which outlasts restarts.
    """

    def __init__(self, lately_s: float, now: Callable[[], float] = time.time) -> None:
        self.bytes = 0
        """Of all of them."""
        self.spare_bytes = 0
        """Of the spare ones."""
        self._lately_s = lately_s
        self._now = now
        self._ours: OrderedDict[str, int] = OrderedDict()
        self._spare: OrderedDict[str, int] = OrderedDict()
        self._used_unix_s: dict[str, float] = {}
        self._withheld: dict[str, Withheld] = {}
        self.protected: Set[str] = frozenset()
        """Names of those that never go to make room, here or not."""
        self._by_key: dict[bytes, str] = {}
        """Names of those whose keys do not tell it: a key has no room for all digits of a sha512."""

    def __len__(self) -> int:
        return len(self._ours) + len(self._spare)

    def __contains__(self, name: str) -> bool:
        return name in self._ours or name in self._spare

    def __iter__(self) -> Iterator[str]:
        """All names, those that go first first."""
        yield from self._spare
        yield from self._ours

    def named(self, keys: Iterable[bytes]) -> Iterator[str]:
        """The blobs of these keys."""
        names = (self._by_key.get(key, key.hex()) for key in keys)
        return (name for name in names if name in self)

    def size(self, name: str) -> int | None:
        """The size of a blob that may be served, in bytes; None if there is none."""
        return None if name in self._withheld else self.size_on_disk(name)

    def size_on_disk(self, name: str) -> int | None:
        """The size of a blob, in bytes, whether it may be served or not."""
        return self._ours.get(name, self._spare.get(name))

    def used_unix_s(self, name: str) -> float | None:
        """When a client of this node last used a blob, Unix time; None if none did, or it is spare."""
        return self._used_unix_s.get(name)

    @property
    def withheld(self) -> Mapping[str, int]:
        """How many blobs may not be served, by reason."""
        counts = Counter(self._withheld.values())
        return {why.value: counts[why] for why in Withheld}

    def add(self, name: str, size: int, used_unix_s: float | None, withheld: Withheld | None = None) -> None:
        """Take a blob, as the one used last; in place of an older copy, if there is one.

        Args:
            name: its name.
            size: in bytes.
            used_unix_s: when a client of this node last used it, Unix time; None if only other members asked for it.
            withheld: why it may not be served yet; None if it may.
        """
        self.remove(name)
        self.bytes += size
        if len(name) == Algorithm.SHA512.digits:
            self._by_key[Digest(name).key] = name
        if used_unix_s is None:
            self._spare[name] = size
            self.spare_bytes += size
        else:
            self._ours[name] = size
            self._used_unix_s[name] = used_unix_s
        if withheld is not None:
            self._withheld[name] = withheld

    def remove(self, name: str) -> None:
        """Forget a blob, if it is here."""
        self._used_unix_s.pop(name, None)
        self._withheld.pop(name, None)
        if len(name) == Algorithm.SHA512.digits:
            self._by_key.pop(Digest(name).key, None)
        spare = self._spare.pop(name, 0)
        self.spare_bytes -= spare
        self.bytes -= spare + self._ours.pop(name, 0)

    def use(self, name: str) -> None:
        """Note a use by anybody."""
        (self._ours if name in self._ours else self._spare).move_to_end(name)

    def use_here(self, name: str) -> None:
        """Note a use by a client of this node."""
        size = self._spare.pop(name, None)
        if size is not None:
            self._ours[name] = size
            self.spare_bytes -= size
        self._ours.move_to_end(name)
        self._used_unix_s[name] = self._now()

    def spare(self, name: str) -> None:
        """Note that a blob is not needed here: it goes before all others."""
        size = self._ours.pop(name, None)
        if size is not None:
            self._spare[name] = size
            self.spare_bytes += size
            self._used_unix_s.pop(name, None)
        if name in self._spare:
            self._spare.move_to_end(name, last=False)

    def withhold(self, name: str, why: Withheld) -> None:
        """Serve it no more for now; its bytes still count."""
        self._withheld[name] = why

    def release(self, name: str) -> None:
        """Serve it again."""
        self._withheld.pop(name, None)

    def why_withheld(self, name: str) -> Withheld | None:
        """Why it may not be served, if it is here and may not."""
        return self._withheld.get(name)

    def first_to_go(self, *, for_others: bool, spare_only: bool = False) -> str | None:
        """Whose place is taken next; None if nothing gives way.

        Args:
            for_others: whether the space is for what only other members asked for.
            spare_only: whether none of ours may go.
        """
        if (spare := self._first_free(self._spare)) is not None:
            return spare
        name = None if spare_only else self._first_free(self._ours)
        if name is None:
            return None
        is_old = self._now() - self._used_unix_s[name] > self._lately_s
        return name if is_old or not for_others else None

    @property
    def protected_bytes(self) -> int:
        """Bytes of those that are here and protected. It looks at all protected ones, a thousand in some 100 µs."""
        return sum(self.size_on_disk(name) or 0 for name in self.protected)

    def _first_free(self, blobs: OrderedDict[str, int]) -> str | None:
        """The first that is not protected. Those before it come last from now on, and are passed over no more."""
        for _ in range(len(blobs)):
            name = next(iter(blobs))
            if name not in self.protected:
                return name
            blobs.move_to_end(name)
        return None
