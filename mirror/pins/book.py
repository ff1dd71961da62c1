"""The book: the newest record of each pin. Pure: it is told what was ordered and heard, and says what is new.

Every member keeps the same book in the end, for all take the same one of two records, and drop the same ones beyond
the bounds: of pins the latest, of what is gone the oldest.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from ..errors import MirrorError
from ..oci.digest import Digest
from ..settings import PinSettings
from .records import VERSION_MAX, Record, decode, encode


class PinRefused(MirrorError):
    """An order about pins cannot be carried out; the message says why."""


class Book:
    """What is pinned.

    Args:
        me: this node's name.
        settings: bounds.
        now: Unix time, s.
    """

    def __init__(self, me: str, settings: PinSettings, now: Callable[[], float] = time.time) -> None:
        self._me = me
        self._settings = settings
        self._now = now
        self._records: dict[str, Record] = {}
        self._version = 0
        self.changes = 0
        """Grows with every change."""
        self._state = (0, encode([]))
        """All records as they were after so many changes."""

    def pins(self) -> list[Record]:
        """What is pinned now, the oldest first. What follows from a pattern is as long as the pattern is."""
        live = [record for record in self._records.values() if not record.is_removed]
        names = {record.name for record in live}
        pins = [record for record in live if not record.pattern or record.pattern in names]
        return sorted(pins, key=lambda record: (record.version, record.name))

    def record(self, name: str) -> Record | None:
        """The newest record of a name, also if it says that the pin is gone."""
        return self._records.get(name)

    def pin(
        self,
        name: str,
        copies: int,
        *,
        digest: Digest | None = None,
        platforms: Sequence[str] = (),
        pattern: str = "",
        configured_by: str = "",
    ) -> Record:
        """Pin something, or change its pin; return the record that all members should know.

        Args:
            name: canonical.
            copies: on how many members; see `Record`.
            digest: what a tag means, if that is known.
            platforms: those that are kept of an index.
            pattern: the pattern from which it follows.
            configured_by: the member whose settings say it; empty: as before.

        Raises:
            PinRefused: there are too many pins.
        """
        known = self._records.get(name)
        record = Record(
            name=name,
            version=self._next_version(),
            author=self._me,
            copies=copies,
            digest=digest,
            platforms=tuple(platforms),
            pattern=pattern,
            configured_by=configured_by or (known.configured_by if known is not None else ""),
            made_unix_s=self._now(),
        )
        live = [it for it in self._records.values() if not it.is_removed and it.name != name]
        if len(live) >= self._settings.pins_max:
            raise PinRefused(f"{len(live)} pins are there, and no more are kept: unpin some")
        size = len(encode([*live, record]))
        if size > self._settings.pins_max_bytes:
            raise PinRefused(f"the pins would take {size} bytes, and {self._settings.pins_max_bytes} are allowed")
        self._take(record)
        return record

    def unpin(self, name: str, *, is_forced: bool = False) -> list[Record]:
        """Pin something no more, nor what follows from it; return the records that all members should know.

        Args:
            name: canonical.
            is_forced: whether it goes also if it stands in the settings of a node, which may be gone for good; one that
                is not pins it again.

        Raises:
            PinRefused: it is not pinned, or stands in the settings of a node.
        """
        known = self._records.get(name)
        if known is None or known.is_removed:
            raise PinRefused(f"{name} is not pinned: `skvaller pins` shows what is")
        if known.configured_by and not is_forced:
            raise PinRefused(
                f"{name} is pinned by the settings of {known.configured_by}: take it out of `pin` there, or give "
                "--force if that node is gone"
            )
        return self._remove([*self._followers(name), known])

    def remove(self, record: Record) -> Record:
        """Replace the record of a pin by one that says that it is gone."""
        return self._remove([record])[0]

    def _remove(self, records: Iterable[Record]) -> list[Record]:
        gone = [self._removed(record) for record in records]
        self._hold_bounds()
        return gone

    def _removed(self, record: Record) -> Record:
        gone = replace(
            record,
            version=self._next_version(),
            author=self._me,
            is_removed=True,
            configured_by="",
            digest=None,
            platforms=(),
            made_unix_s=self._now(),
        )
        self._take(gone)
        return gone

    def hear(self, payload: bytes) -> list[Record]:
        """Take in what another member says, or what was on disk; return what is new."""
        records_max = 2 * (self._settings.pins_max + self._settings.gone_max)
        new = []
        for record in decode(payload, records_max):
            if self._is_news(record):
                self._take(record)
                new.append(record)
        if new:
            self._hold_bounds()
        return new

    def state(self) -> bytes:
        """All records, in the form that `hear` takes."""
        if self._state[0] != self.changes:
            self._state = self.changes, encode(list(self._records.values()))
        return self._state[1]

    def _next_version(self) -> int:
        return min(self._version + 1, VERSION_MAX)

    def _followers(self, name: str) -> list[Record]:
        return [it for it in self._records.values() if it.pattern == name and not it.is_removed]

    def _is_news(self, record: Record) -> bool:
        known = self._records.get(record.name)
        return known is None or record.replaces(known)

    def _take(self, record: Record) -> None:
        self._records[record.name] = record
        self._version = max(self._version, record.version)
        self.changes += 1

    def _hold_bounds(self) -> None:
        """Drop what is too much. Members that pinned apart from each other may have twice as much together."""
        settings, records = self._settings, self._records.values()
        live = _in_order(it for it in records if not it.is_removed)
        gone = _in_order(it for it in records if it.is_removed)
        kept = _within(live, 2 * settings.pins_max, 2 * settings.pins_max_bytes)
        kept += _within(reversed(gone), settings.gone_max, settings.gone_max_bytes)
        if len(kept) < len(records):
            names = {record.name for record in kept}
            self._records = {name: record for name, record in self._records.items() if name in names}


def _within(records: Iterable[Record], count_max: int, bytes_max: int) -> list[Record]:
    """The first of some records, so many and with so many bytes at most."""
    kept: list[Record] = []
    for record in itertools.islice(records, count_max):
        bytes_max -= len(encode([record]))
        if bytes_max < 0:
            break
        kept.append(record)
    return kept


def _in_order(records: Iterable[Record]) -> list[Record]:
    """The oldest first, by a rule that every member applies alike."""
    return sorted(records, key=lambda record: (record.version, record.name))
