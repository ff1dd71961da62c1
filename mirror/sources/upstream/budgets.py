"""What registries still let the members ask, known to all of them: one that was told 429 speaks for all.

Docker Hub counts GETs of manifests by address and six hours, or by account, and says with each answer how many are
left; it blocks who goes on asking after a 429. A site's nodes mostly have one address, so that they have one budget.
What a registry says to one member is a note, which that member tells the others. Of a budget the newest note counts.

Whose budget it is, a registry may say: the address or account that it counts by (`Docker-RateLimit-Source`). A node
that has been told another one than a note has does not mind that note; one that has not been told yet minds them all.

Notes travel with ages and not with times, so that clocks need not agree. What a member says is bounded: by its length,
its number of budgets, and the time for which it can keep all others from asking. Pure: told the time, in seconds of any
clock that does not jump.

Sources: Docker Hub, "Usage and limits"; RFC 9110 section 10.2.3 (Retry-After); IETF draft "RateLimit header fields".
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from ...settings import BudgetSettings

URL_MAX_BYTES: Final = 400
"""Bounds the URL of a registry, in bytes: one note has to fit into a rumour of gossip."""

_COUNT: Final = re.compile(r"\s*(\d{1,9})\s*(?:;\s*w\s*=\s*(\d{1,9})\s*)?(?:[;,].*)?")
_SAME_S: Final = 1.0
"""Time within which it is not known which of two notes is the newer one, s: a note ages while it travels."""
_COUNT_MAX: Final = 10**9
_SOURCE: Final = re.compile(r"[!-~]{1,100}")


class _Wire(msgspec.Struct, frozen=True, array_like=True):
    """A note as it travels; -1 stands for what is not known."""

    url: str
    source: str
    age_s: float
    blocked_s: float
    remaining: int = -1
    limit: int = -1
    window_s: int = -1


@dataclass(frozen=True, slots=True)
class Note:
    """What a registry said of a budget.

    Args:
        url: of the registry.
        source: whose budget it is, as the registry says; empty if it does not.
        at: when it said so.
        blocked_until: until when it is not to be asked; a time that has gone by if it may be.
        remaining: requests that are left; None if it does not say.
        limit: of how many.
        window_s: within which time.
    """

    url: str
    source: str
    at: float
    blocked_until: float
    remaining: int | None = None
    limit: int | None = None
    window_s: int | None = None

    def merged(self, other: "Note") -> "Note":
        """The more cautious of two that are of about the same time."""
        left = [count for count in (self.remaining, other.remaining) if count is not None]
        blocked_until = max(self.blocked_until, other.blocked_until)
        return replace(self, blocked_until=blocked_until, remaining=min(left, default=None))


class Budgets:
    """The newest notes.

    Args:
        settings: bounds.
        tell: tells a note to all other members.
    """

    def __init__(self, settings: BudgetSettings | None = None, tell: Callable[[bytes], None] | None = None) -> None:
        self._settings = settings or BudgetSettings()
        self._tell = tell or (lambda note: None)
        self._notes: OrderedDict[tuple[str, str], Note] = OrderedDict()
        self._sources: dict[str, str] = {}
        """Whose budget this node's requests count on, by URL, as far as it was told."""
        self._told: dict[tuple[str, str], Note] = {}

    # What registries say to this node.

    def answered(self, url: str, headers: Mapping[str, str], now: float) -> None:
        """Take note of what an answer says of its budget, if it says anything."""
        remaining, window_s = _count(headers.get("RateLimit-Remaining"))
        limit, limit_window_s = _count(headers.get("RateLimit-Limit"))
        if remaining is None:
            return
        note = Note(url, self._source(url, headers), now, now, remaining, limit, window_s or limit_window_s)
        self._keep(note)
        if self._is_news(note):
            self._pass_on(note, now)

    def limited(self, url: str, headers: Mapping[str, str], retry_after_s: float, now: float) -> None:
        """Take note of an answer of 429: nobody asks again before that time."""
        known = self._notes.get((url, source := self._source(url, headers)))
        until = max(now + retry_after_s, known.blocked_until if known else now)
        limit, window_s = (known.limit, known.window_s) if known else (None, None)
        note = Note(url, source, now, until, 0, limit, window_s)
        self._keep(note)
        self._pass_on(note, now)

    # What members say.

    def heard(self, payload: bytes, now: float) -> list[Note]:
        """Take in the notes of another member; what is none is dropped.

        Returns:
            Those that keep this node from asking, and did not before.
        """
        try:
            wires = msgspec.msgpack.decode(payload, type=list[_Wire])
        except msgspec.MsgspecError:
            return []
        new = []
        for wire in wires[: self._settings.budgets_max]:
            note = self._note(wire, now)
            known = note and self._notes.get((note.url, note.source))
            if note is None or (known is not None and known.at - _SAME_S > note.at):
                continue
            if known is not None and abs(known.at - note.at) <= _SAME_S:
                note = known.merged(note)
            was_blocked = self.wait_s(note.url, now) > 0
            self._keep(note)
            if not was_blocked and self.wait_s(note.url, now) > 0:
                new.append(note)
        return new

    def state(self, now: float) -> bytes:
        """All notes, for a member that has just come."""
        return msgspec.msgpack.encode([_wire(note, now) for note in self._notes.values()])

    # What follows.

    def wait_s(self, url: str, now: float) -> float:
        """For how long a registry is not to be asked; 0 if it may be."""
        return max((note.blocked_until - now for note in self._ours(url)), default=0.0)

    def shown(self, now: float) -> list[Note]:
        """The newest note of each URL that counts for this node, of those whose window is not over."""
        newest: dict[str, Note] = {}
        for note in self._notes.values():
            if note in self._ours(note.url) and not self._is_over(note, now):
                newest[note.url] = max(newest.get(note.url, note), note, key=lambda note: note.at)
        return list(newest.values())

    def _ours(self, url: str) -> list[Note]:
        mine = self._sources.get(url, "")
        return [note for (of, source), note in self._notes.items() if of == url and (not mine or source in ("", mine))]

    def _is_over(self, note: Note, now: float) -> bool:
        return now >= max(note.blocked_until, note.at + (note.window_s or self._settings.window_s))

    def _source(self, url: str, headers: Mapping[str, str]) -> str:
        said = headers.get("Docker-RateLimit-Source", "")
        if _SOURCE.fullmatch(said):
            self._sources[url] = said
        return self._sources.get(url, "")

    def _keep(self, note: Note) -> None:
        key = note.url, note.source
        self._notes[key] = note
        self._notes.move_to_end(key)
        while len(self._notes) > self._settings.budgets_max:
            gone, _ = self._notes.popitem(last=False)
            self._told.pop(gone, None)

    def _is_news(self, note: Note) -> bool:
        """Whether the others should know: what is left has changed by a good part, or is nearly nothing."""
        told = self._told.get((note.url, note.source))
        if told is None or told.remaining is None or note.remaining is None:
            return True
        if note.at - told.at >= self._settings.told_s:
            return note.remaining != told.remaining
        part = (note.limit or 0) * self._settings.told_part
        return abs(told.remaining - note.remaining) >= max(1.0, part)

    def _pass_on(self, note: Note, now: float) -> None:
        self._told[note.url, note.source] = note
        payload = msgspec.msgpack.encode([_wire(note, now)])
        self._tell(payload)

    def _note(self, wire: _Wire, now: float) -> Note | None:
        """What another member says, within bounds; None if it cannot be so."""
        if not (0 <= wire.age_s < self._settings.window_s * 2 and 0 <= wire.blocked_s < float("inf")):
            return None
        if len(wire.url) > URL_MAX_BYTES or not wire.url.startswith(("http://", "https://")):
            return None
        if wire.source and not _SOURCE.fullmatch(wire.source):
            return None
        blocked_s = min(wire.blocked_s, self._settings.blocked_max_s)
        remaining, limit = (number if 0 <= number < _COUNT_MAX else None for number in (wire.remaining, wire.limit))
        window_s = wire.window_s if 0 < wire.window_s <= self._settings.window_s else None
        return Note(wire.url, wire.source, now - wire.age_s, now + blocked_s, remaining, limit, window_s)


def _count(header: str | None) -> tuple[int | None, int | None]:
    """Read a count and its window in seconds, as in `100;w=21600`."""
    found = _COUNT.fullmatch(header or "")
    return (int(found[1]), int(found[2]) if found[2] else None) if found else (None, None)


def _wire(note: Note, now: float) -> _Wire:
    counts = [-1 if number is None else number for number in (note.remaining, note.limit, note.window_s)]
    return _Wire(note.url, note.source, max(0.0, now - note.at), max(0.0, note.blocked_until - now), *counts)
