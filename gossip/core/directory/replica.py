"""One member's filter at one version, with its newest keys."""

from collections.abc import Sequence
from typing import Final

from ..messages import KEY_BYTES, Entry
from .filters import NO_FILTER, Filter, split_keys

REPLICA_BYTES: Final = 1024
"""Bytes of a replica's objects, besides its filter and its log: all that a blank one takes."""


class Replica:
    """One member's filter at one version.

    Args:
        epoch: the run of the member.
        generation: counts the member's rebuilds; each starts with an empty filter.
        filled: the filter at sequence 0, or at the one that is set then.
        log_keys: newest keys to keep for the repair of others.

    `blank` says that only the version is known, for want of memory: no key seems to be in the filter.
    """

    def __init__(self, epoch: int, generation: int, filled: Filter, log_keys: int) -> None:
        self.epoch = epoch
        self.generation = generation
        self.sequence = 0
        self.filter = filled
        self.blank = False
        self._log = bytearray()
        self._log_max_bytes = log_keys * KEY_BYTES

    @property
    def version(self) -> tuple[int, int, int]:
        """(epoch, generation, sequence); of two the greater is newer."""
        return (self.epoch, self.generation, self.sequence)

    def entry(self, name: str, incarnation: int) -> Entry:
        """The version as messages state it."""
        return Entry(name, self.epoch, incarnation, self.generation, self.sequence)

    @property
    def memory_bytes(self) -> int:
        """What it takes at most."""
        return REPLICA_BYTES if self.blank else REPLICA_BYTES + self.filter.memory_bytes + self._log_max_bytes

    def extend(self, keys: bytes) -> Sequence[int]:
        """Add keys. Returns the positions of their bits."""
        self.sequence += len(keys) // KEY_BYTES
        if self.blank:
            return ()
        positions: list[int] = []
        for key in split_keys(keys):
            positions += self.filter.add(key)
        self._log += keys
        del self._log[: max(0, len(self._log) - self._log_max_bytes)]
        return positions

    def since(self, sequence: int) -> bytes | None:
        """The keys added after `sequence`, or None if the log does not reach back that far."""
        if self.blank:
            return None
        missing = (self.sequence - sequence) * KEY_BYTES
        if not 0 <= missing <= len(self._log):
            return None
        return bytes(self._log[len(self._log) - missing :])

    def erase(self) -> None:
        """Keep the version only."""
        self.blank = True
        self.filter = NO_FILTER
        self._log = bytearray()
