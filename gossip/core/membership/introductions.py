"""Who is heard of has to answer before anything rests on it.

A record of a member is hearsay: who forges one packet could invent members, or say that a member has moved. So a record
of somebody unknown, gone, restarted or moved is a candidate only. It is asked at the address that it states, at once,
and is believed, counted and passed on when the answer comes from there, under that name and of that run:

    A ◀── Alive C ── B        A ── Ping; Alive A ──▶ C        A ◀── Ack ── C        A believes, and tells others

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
_TRY_SHARE: Final = 0.5
"""The share of the probe timeout between two questions."""
_BURST: Final = 128
"""Questions that are asked at once, as a node does that joins a cluster of that size."""
_RATE_HZ: Final = 512.0
"""Questions a second beyond that: 1,000 members are known within 2 s. It bounds what is sent where others say."""
_STEP_S: Final = 0.01
"""Seconds between two looks at who is to be asked, at least."""
_PER_NAME: Final = 4
"""Candidates of one name: a member that moves and restarts has two."""
_PROOFS: Final = 64
"""Answers to other questions that are remembered, each for a probe timeout."""

_Key = tuple[str, Address, int]


@dataclass(slots=True)
class _Candidate:
    heard: Alive
    number: int
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
        return [(Ping(it.number, it.heard.name), it.heard) for it in self._candidates.values()]

    def hear(self, heard: Alive, now: float) -> None:
        """A record of somebody who is not known to be there."""
        key = (heard.name, heard.address, heard.epoch)
        if self._is_proven(key, now):
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
        candidate = self._candidates[key] = _Candidate(heard, number, due_at=now)
        self._by_number[number] = key
        self._by_name.setdefault(heard.name, []).append(key)
        self._expect(heard.name, heard.epoch)
        self._ask(key, candidate, now)

    def hear_answers(self, packet: Packet, source: Address, now: float) -> bool:
        """Take the answers in a packet. Returns whether one of them is a candidate's."""
        found = False
        for message in packet.messages:
            key = self._by_number.get(message.number) if isinstance(message, Ack) else None
            if key is None or key[:2] != (packet.sender, source):
                continue
            found = True
            if key[2] != packet.epoch:  # that run is over, or never was
                self._drop(key)
            self.prove(packet.sender, source, packet.epoch, now)
        return found

    def prove(self, name: str, address: Address, epoch: int, now: float) -> None:
        """A member of that name and run answered a question of this node's at that address."""
        candidate = self._candidates.get((name, address, epoch))
        if candidate is not None:
            self._drop((name, address, epoch), believed=True)
            self._believe(candidate.heard, now)
            return
        self._proofs.pop((name, address), None)
        if len(self._proofs) >= _PROOFS:
            del self._proofs[next(iter(self._proofs))]
        self._proofs[name, address] = (epoch, now)

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
        del self._by_number[self._candidates.pop(key).number]
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
            if candidate.tries >= _TRIES:
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
        if self._allowance < 1:
            candidate.due_at = now + _STEP_S
        else:
            self._allowance -= 1
            candidate.tries += 1
            pause_s = self._config.probe_timeout_s * (1 if candidate.tries == _TRIES else _TRY_SHARE)
            candidate.due_at = now + pause_s
            ping = Ping(candidate.number, key[0])
            self._outbox.send_bare(candidate.heard.address, [ping, alive_message(self._own.me)])
        self._timers.bring_forward(Timer.INTRODUCE, candidate.due_at)

    def _give_up(self, key: _Key, now: float) -> None:
        """A candidate did not answer: it is left alone for a while, though others may speak of it."""
        self._emit(MemberUnreached(member_of(self._candidates[key].heard, State.ALIVE, now)))
        self._drop(key)
        if len(self._silent_until) >= self._config.members_max:
            del self._silent_until[next(iter(self._silent_until))]
        self._silent_until[key] = now + self._config.heal_interval_s
