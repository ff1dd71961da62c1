"""Who is heard of has to answer before anything rests on it.

A record of a member is hearsay: who forges one packet could invent members, or say that a member has moved. So a record
of somebody unknown, gone, restarted or moved is a candidate only. It is asked at the address that it states, at once,
and is believed, counted and passed on when the answer comes from there, under that name and of that run:

    A ◀── Alive C ── B        A ── Ping; Alive A ──▶ C        A ◀── Ack ── C        A believes, and tells others

A live member that is said to have moved is asked where it is known to be, too, and stays there while it answers: one
that moved has left that address. So nobody takes the name of a member that lives, be it by malice or because it was
given twice; whoever tries is told where the member is.

The question bears this node's own record, so that both get to know each other in one round trip. It is asked some times
and then given up. Questions are short, and few in a second: nobody can aim a flood at an address by naming it.

Nobody can guess the number of a question: who does not see the packet cannot answer it for another. Whoever has just
answered another question of this node's, at that address, needs no further one: it dialled that address, or the run
has proven that it is no recording (module `replay`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..context import Context
from ..events import MemberUnreached
from ..messages import Ack, Alive, Packet, Ping
from ..timers import Timer
from .member import Address, State
from .own_record import OwnRecord
from .statements import alive_message, member_of

_TRIES: Final = 5
"""Questions until a candidate is given up: with 30 % loss both ways one in 30 is missed, until it is heard of again."""
_KNOWN_TRIES: Final = 3
"""Questions to a member where it is known to be, until it is believed to have moved, 0.75 s after the first at least.
With 10 % loss both ways one in 150 did not move at all; then the two settle it (module `name_conflict`)."""
_TRY_SHARE: Final = 0.5
"""The share of the probe timeout between two questions."""
_BURST: Final = 128
"""Packets that are sent at once, a question each, as a node does that joins a cluster of that size."""
_RATE_HZ: Final = 512.0
"""Packets a second beyond that: 1,000 members are known within 2 s. It bounds what is sent where others say."""
_STEP_S: Final = 0.01
"""Seconds between two looks at who is to be asked, at least."""
_PER_NAME: Final = 4
"""Candidates of one name: a member that moves and restarts has two."""
_PROOFS: Final = 64
"""Answers to other questions that are remembered, each for a probe timeout."""

_Key = tuple[str, Address, int]


@dataclass(slots=True)
class _Candidate:
    """Who has yet to be believed.

    Args:
        heard: its record.
        number: of the question to it.
        known_number: of the question to the live member of that name where that is known to be, if it was asked.
        answered: whether it has answered.
        kept: whether that member has answered, and so stays where it is.
        tries: how often they were asked.
        due_at: when they are asked again, or asked no longer.
    """

    heard: Alive
    number: int
    known_number: int | None = None
    answered: bool = False
    kept: bool = False
    tries: int = 0
    due_at: float = 0.0


class Introductions:
    """The candidates of one node.

    Args:
        context: the node's parts; questions are a timer there.
        own: this node's record.
        believe: called with a record whose member has answered.
        expect: called with the name and the epoch of a new candidate: its filter may come before its answer.
        forget: called with the name of one that did not answer.
    """

    def __init__(
        self,
        context: Context,
        own: OwnRecord,
        *,
        believe: Callable[[Alive, float], None],
        expect: Callable[[str, int], None],
        forget: Callable[[str], None],
    ) -> None:
        self._config = context.config
        self._members = context.members
        self._outbox = context.outbox
        self._timers = context.timers
        self._emit = context.emit
        self._own = own
        self._believe = believe
        self._expect = expect
        self._forget = forget
        self._draw = context.draw
        self._candidates: dict[_Key, _Candidate] = {}
        self._by_number: dict[int, _Key] = {}
        self._by_name: dict[str, list[_Key]] = {}
        self._silent_until: dict[_Key, float] = {}
        self._proofs: dict[tuple[str, Address], tuple[int, float]] = {}
        self._allowance, self._allowed_at = float(_BURST), 0.0
        self._timers.register(Timer.INTRODUCE, self._ask_due)

    def __len__(self) -> int:
        """Candidates that have yet to answer."""
        return len(self._candidates)

    @property
    def questions(self) -> list[tuple[Ping, Alive]]:
        """What is asked, and the record whose member is to answer."""
        return [(Ping(it.number, it.heard.name), it.heard) for it in self._candidates.values() if not it.answered]

    def hear(self, heard: Alive, now: float) -> None:
        """A record of somebody who is not known to be there."""
        key = (heard.name, heard.address, heard.epoch)
        proven = self._is_proven(key, now)
        if proven and self._elsewhere(heard) is None:
            self._believe(heard, now)
            return
        known = self._candidates.get(key)
        if known is not None:
            if heard.incarnation > known.heard.incarnation:
                known.heard = heard
            return
        if self._own.me.state is State.LEFT or now < self._silent_until.get(key, now):
            return
        self._make_room(heard.name)
        number = self._draw()
        candidate = self._candidates[key] = _Candidate(heard, number, answered=proven, due_at=now)
        self._by_number[number] = key
        self._by_name.setdefault(heard.name, []).append(key)
        self._expect(heard.name, heard.epoch)
        self._ask(key, candidate, now)

    def hear_answers(self, packet: Packet, source: Address, now: float) -> bool:
        """Take the answers in a packet. Returns whether one of them was waited for."""
        found = False
        for number in (message.number for message in packet.messages if isinstance(message, Ack)):
            key = self._by_number.get(number)
            if key is None or key[0] != packet.sender:
                continue
            candidate = self._candidates[key]
            if number == candidate.number and key[1] == source:
                found = True
                if key[2] != packet.epoch:  # that run is over, or never was
                    self._drop(key)
                self.prove(packet.sender, source, packet.epoch, now)
            elif number == candidate.known_number and source == self._elsewhere(candidate.heard):
                found, candidate.kept = True, True
                self._settle(key, now)
        return found

    def prove(self, name: str, address: Address, epoch: int, now: float) -> None:
        """A member of that name and run answered a question of this node's at that address."""
        candidate = self._candidates.get((name, address, epoch))
        if candidate is not None and self._elsewhere(candidate.heard) is not None:
            candidate.answered = True
            self._settle((name, address, epoch), now)
        elif candidate is not None:
            self._accept((name, address, epoch), now)
            return
        self._proofs.pop((name, address), None)
        if len(self._proofs) >= _PROOFS:
            del self._proofs[next(iter(self._proofs))]
        self._proofs[name, address] = (epoch, now)

    def _settle(self, key: _Key, now: float) -> None:
        """Drop a candidate for the name of a live member if both have answered: the two have to settle it."""
        candidate = self._candidates[key]
        if candidate.answered and candidate.kept:
            self._drop(key)
            self._silence(key, now)

    def _accept(self, key: _Key, now: float) -> None:
        heard = self._candidates[key].heard
        self._drop(key, believed=True)
        self._believe(heard, now)

    def _elsewhere(self, heard: Alive) -> Address | None:
        """Where the live member of a candidate's name is known to be, if that is another address."""
        known = self._members.get(heard.name)
        return known.address if known is not None and known.live and known.address != heard.address else None

    def _is_proven(self, key: _Key, now: float) -> bool:
        epoch, proven_at = self._proofs.get(key[:2], (None, 0.0))
        return epoch == key[2] and now - proven_at <= self._config.probe_timeout_s

    def _make_room(self, name: str) -> None:
        namesakes = self._by_name.get(name, ())
        if len(namesakes) >= _PER_NAME:
            self._drop(namesakes[0])
        elif len(self._candidates) >= self._config.members_max:
            self._drop(next(iter(self._candidates)))

    def _drop(self, key: _Key, *, believed: bool = False) -> None:
        candidate = self._candidates.pop(key)
        del self._by_number[candidate.number]
        if candidate.known_number is not None:
            del self._by_number[candidate.known_number]
        namesakes = self._by_name[key[0]]
        namesakes.remove(key)
        if not namesakes:
            del self._by_name[key[0]]
            if not believed:
                self._forget(key[0])

    # Questions

    def _ask_due(self, now: float) -> None:
        for key, candidate in list(self._candidates.items()):
            if candidate.due_at > now:
                continue
            if candidate.answered and candidate.tries >= _KNOWN_TRIES:
                self._accept(key, now)
            elif candidate.tries >= _TRIES:
                self._give_up(key, now)
            else:
                self._ask(key, candidate, now)
        if self._candidates:
            next_at = min(candidate.due_at for candidate in self._candidates.values())
            self._timers.set(Timer.INTRODUCE, max(next_at, now + _STEP_S))

    def _ask(self, key: _Key, candidate: _Candidate, now: float) -> None:
        """Ask a candidate, if as many questions may be asked now."""
        self._allowance = min(_BURST, self._allowance + _RATE_HZ * (now - self._allowed_at))
        self._allowed_at = now
        packets = 1 if self._elsewhere(candidate.heard) is None else 3
        if self._allowance < packets:
            candidate.due_at = now + _STEP_S
        else:
            self._allowance -= packets
            candidate.tries += 1
            pause_s = self._config.probe_timeout_s * (1 if candidate.tries == _TRIES else _TRY_SHARE)
            candidate.due_at = now + pause_s
            if not candidate.answered:
                ping = Ping(candidate.number, key[0])
                self._outbox.send_bare(candidate.heard.address, [ping, alive_message(self._own.me)])
            self._ask_known(key, candidate)
        self._timers.bring_forward(Timer.INTRODUCE, candidate.due_at)

    def _ask_known(self, key: _Key, candidate: _Candidate) -> None:
        """Ask the live member of a candidate's name where it is known to be, and tell the candidate once of it."""
        heard = candidate.heard
        known = self._members.get(heard.name)
        if candidate.kept or known is None or self._elsewhere(heard) is None:
            return
        if candidate.known_number is None:
            candidate.known_number = self._draw()
            self._by_number[candidate.known_number] = key
        self._outbox.send_bare(known.address, [Ping(candidate.known_number, heard.name)])
        if candidate.tries == 1:
            self._outbox.send_bare(heard.address, [alive_message(known)])

    def _give_up(self, key: _Key, now: float) -> None:
        """A candidate did not answer: it is left alone for a while, though others may speak of it.

        If a live member has its name, somebody believes something of that one that it never said. It is told, so that
        it goes on as a newer run.
        """
        candidate = self._candidates[key]
        known_at = self._elsewhere(candidate.heard)
        if known_at is None:
            self._emit(MemberUnreached(member_of(candidate.heard, State.ALIVE, now)))
        elif candidate.kept:
            self._outbox.send_bare(known_at, [candidate.heard])
        self._drop(key)
        self._silence(key, now)

    def _silence(self, key: _Key, now: float) -> None:
        if len(self._silent_until) >= self._config.members_max:
            del self._silent_until[next(iter(self._silent_until))]
        self._silent_until[key] = now + self._config.heal_interval_s
