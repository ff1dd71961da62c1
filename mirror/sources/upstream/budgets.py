"""What registries still let the members ask, known to all of them: one that was told 429 speaks for all.

Docker Hub counts GETs of manifests by address and six hours, or by account, and says with each answer how many are
left; it blocks who goes on asking after a 429. A site's nodes mostly have one address, so that they have one budget.
What a registry says to one member is a note, which that member tells the others. Of a budget the newest note counts.

Whose budget it is, a registry may say: the address or account that it counts by (`Docker-RateLimit-Source`). A node
that has been told another one than a note has does not mind that note; one that has not been told yet minds them all.

A registry that says how many pulls are left counts pulls alone, which are GETs of manifests. So when it has none left,
or answers a pull with 429 and says so with it, everything else is still asked of it: what tags mean, by HEAD, and
blobs. One that says nothing of the kind is not asked for anything after a 429: Docker Hub answers so who asks too
often. A budget without a pull left is taken to get one back after the part of its window that one pull has. That is a
guess; one member finds out (`homes.registry_key`).

Notes travel with ages and not with times, so that clocks need not agree. What a member says is bounded: by its length,
its number of budgets, and the time for which it can keep all others from asking. Pure: told the time, in seconds of any
clock that does not jump.

Sources: Docker Hub, "Usage and limits"; RFC 9110 section 10.2.3 (Retry-After); IETF draft "RateLimit header fields".
"""

import enum
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from ...routers import read_note
from ...settings import BudgetSettings

URL_MAX_BYTES: Final = 400
"""Bounds the URL of a registry, in bytes: one note has to fit into a rumour of gossip."""

_COUNT: Final = re.compile(r"\s*(\d{1,9})\s*(?:;\s*w\s*=\s*(\d{1,9})\s*)?(?:[;,].*)?")
_SAME_S: Final = 1.0
"""Time within which it is not known which of two notes is the newer one, s: a note ages while it travels."""
_COUNT_MAX: Final = 10**9
_SOURCE: Final = re.compile(r"[!-~]{1,100}")


class Refused(enum.IntEnum):
    """What a registry answered with 429; the number travels."""

    NOTHING = 0
    PULLS = 1
    """A pull, by a registry that counts pulls: everything else may be asked."""
    ALL = 2
    """Something else, or a pull by a registry of which it is not known what it counts."""


class _Wire(msgspec.Struct, frozen=True, array_like=True):
    """A note as it travels; -1 stands for what is not known. Who does not say what was refused means everything."""

    url: str
    source: str
    age_s: float
    blocked_s: float
    remaining: int = -1
    limit: int = -1
    window_s: int = -1
    refused: Refused = Refused.ALL


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
        refused: what it answered with 429.
    """

    url: str
    source: str
    at: float
    blocked_until: float
    remaining: int | None = None
    limit: int | None = None
    window_s: int | None = None
    refused: Refused = Refused.NOTHING

    def wait_s(self, now: float, *, is_pull: bool) -> float:
        """For how long it keeps from asking; 0 if it does not."""
        until = now
        if self.refused is Refused.ALL or (is_pull and self.refused is Refused.PULLS):
            until = self.blocked_until
        elif is_pull and self.remaining == 0 and self.limit and self.window_s:
            until = self.at + self.window_s / self.limit
        return max(0.0, until - now)

    def is_over(self, now: float, window_s: float) -> bool:
        """Whether its window is over, which is `window_s` long if it does not say, and its wait as well."""
        return now >= max(self.blocked_until, self.at + (self.window_s or window_s))

    def left(self, now: float, window_s: float) -> int | None:
        """How many pulls are left, if it says so: all of them again when it is over, which may be few as well."""
        return self.limit if self.is_over(now, window_s) else self.remaining

    def merged(self, other: "Note") -> "Note":
        """The more cautious of two that are of about the same time."""
        left = [count for count in (self.remaining, other.remaining) if count is not None]
        blocked_until = max(self.blocked_until, other.blocked_until)
        refused = max(self.refused, other.refused)
        return replace(self, blocked_until=blocked_until, remaining=min(left, default=None), refused=refused)


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
        """What the others know of each budget: the last note that was told to all, by this node or by another."""
        self._on_change: Callable[[str], object] = lambda url: None

    def follow(self, on_change: Callable[[str], object]) -> None:
        """Have somebody told the URL of each registry of which there is a new note."""
        self._on_change = on_change

    # What registries say to this node.

    def answered(self, url: str, headers: Mapping[str, str], now: float) -> None:
        """Take note of what an answer says of its budget, if it says anything."""
        remaining, window_s = _count(headers.get("RateLimit-Remaining"))
        limit, limit_window_s = _count(headers.get("RateLimit-Limit"))
        if remaining is None:
            return
        source = self._source(url, headers)
        note = Note(url, source, now, now, remaining, limit, window_s or limit_window_s)
        known = self._notes.get((url, source))
        if known is not None and known.blocked_until > now:  # an answer to what is still asked ends no wait
            note = replace(note, blocked_until=known.blocked_until, refused=known.refused)
        self._keep(note)
        if self._is_news(note):
            self._pass_on(note, now)

    def limited(
        self, url: str, headers: Mapping[str, str], retry_after_s: float, now: float, *, is_pull: bool = False
    ) -> None:
        """Take note of an answer of 429, to a pull or to something else: nobody asks again before that time."""
        known = self._notes.get((url, source := self._source(url, headers)))
        limit, window_s = _count(headers.get("RateLimit-Limit"))
        is_of_pulls = limit is not None or (known is not None and known.remaining == 0)
        if limit is None and known is not None:
            limit, window_s = known.limit, known.window_s
        refused = Refused.PULLS if is_pull and is_of_pulls else Refused.ALL
        until = now + retry_after_s
        if known is not None and known.blocked_until > now:
            until, refused = max(until, known.blocked_until), max(refused, known.refused)
        note = Note(url, source, now, until, 0, limit, window_s, refused)
        self._keep(note)
        self._pass_on(note, now)

    # What members say.

    def heard(self, payload: bytes, now: float) -> list[Note]:
        """Take in the notes of another member; what is none is dropped.

        Returns:
            Those that keep this node from asking, and did not before.
        """
        new = []
        for wire in read_note(payload, _Wire, self._settings.budgets_max):
            note = self._note(wire, now)
            known = note and self._notes.get((note.url, note.source))
            if note is None or (known is not None and known.at - _SAME_S > note.at):
                continue
            self._told[note.url, note.source] = note
            if known is not None and abs(known.at - note.at) <= _SAME_S:
                note = known.merged(note)
            was_blocked = self.is_blocked(note.url, now)
            self._keep(note)
            if not was_blocked and self.is_blocked(note.url, now):
                new.append(note)
        return new

    def state(self, now: float) -> bytes:
        """All notes, for a member that has just come."""
        return msgspec.msgpack.encode([_wire(note, now) for note in self._notes.values()])

    # What follows.

    def wait_s(self, url: str, now: float, *, is_pull: bool = True) -> float:
        """For how long a registry is not to be asked for a pull, or for something else; 0 if it may be."""
        return max((note.wait_s(now, is_pull=is_pull) for note in self._ours(url)), default=0.0)

    def may_be_anothers(self, url: str, now: float) -> bool:
        """Whether pulls are kept back for a budget that is perhaps not this node's: a free question would tell."""
        if url in self._sources or not any(note.source for note in self._ours(url)):
            return False
        return self.wait_s(url, now) > 0 and self.wait_s(url, now, is_pull=False) == 0

    def left(self, url: str, now: float) -> int | None:
        """How many pulls are left, as far as a registry says so; else None."""
        left = [note.left(now, self._settings.window_s) for note in self._ours(url)]
        return min((count for count in left if count is not None), default=None)

    def is_scarce(self, url: str, now: float) -> bool:
        """Whether so few pulls are left that members must not spend them at the same moment."""
        return any(self._is_few(note, note.left(now, self._settings.window_s)) for note in self._ours(url))

    def _is_few(self, note: Note, left: int | None) -> bool:
        few = max(self._settings.scarce_min, (note.limit or 0) * self._settings.scarce_part)
        is_counted = note.limit is not None or note.refused is Refused.NOTHING
        return is_counted and left is not None and left <= few

    def is_blocked(self, url: str, now: float) -> bool:
        """Whether a registry answered 429, and its time is not over."""
        return any(note.blocked_until > now for note in self._ours(url))

    def shown(self, now: float) -> list[Note]:
        """The newest note of each URL that counts for this node, of those whose window is not over."""
        newest: dict[str, Note] = {}
        for note in self._notes.values():
            if note in self._ours(note.url) and not note.is_over(now, self._settings.window_s):
                newest[note.url] = max(newest.get(note.url, note), note, key=lambda note: note.at)
        return list(newest.values())

    def _ours(self, url: str) -> list[Note]:
        mine = self._sources.get(url, "")
        return [note for (of, source), note in self._notes.items() if of == url and (not mine or source in ("", mine))]

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
        self._on_change(note.url)

    def _is_news(self, note: Note) -> bool:
        """Whether the others should know: what is left has changed by a good part, or is nearly nothing."""
        told = self._told.get((note.url, note.source))
        if told is None or told.remaining is None or note.remaining is None:
            return True
        if note.at - told.at >= self._settings.told_s:
            return note.remaining != told.remaining
        part = (note.limit or 0) * self._settings.told_part
        if self._is_few(note, note.remaining):
            part = 1.0
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
        at = now - wire.age_s
        return Note(wire.url, wire.source, at, now + blocked_s, remaining, limit, window_s, wire.refused)


def _count(header: str | None) -> tuple[int | None, int | None]:
    """Read a count and its window in seconds, as in `100;w=21600`."""
    found = _COUNT.fullmatch(header or "")
    return (int(found[1]), int(found[2]) if found[2] else None) if found else (None, None)


def _wire(note: Note, now: float) -> _Wire:
    remaining, limit, window_s = (-1 if it is None else it for it in (note.remaining, note.limit, note.window_s))
    age_s, blocked_s = max(0.0, now - note.at), max(0.0, note.blocked_until - now)
    return _Wire(note.url, note.source, age_s, blocked_s, remaining, limit, window_s, note.refused)
