"""Failure detection: one probe at a time, one member per interval.

    IDLE ──next interval──▶ DIRECT ──timeout──▶ INDIRECT ──end of interval──▶ the target is suspect
      ▲                        │                    │
      └────────── ack ─────────┴─────── ack ────────┘

In INDIRECT k other members and a stream are asked at once. A node that doubts itself has longer intervals. A round
that was interrupted by this node's own pause is discarded: it says nothing about its target. This module also relays
the probes of others.

Source: SWIM section 4.1 and 4.3; Lifeguard section IV-A.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ..context import Context
from ..events import Answered
from ..messages import Ack, Message, Nack, Ping, ProbeRequest
from ..packets.codec import U32_MAX
from ..streams.purpose import Dial, Purpose
from ..timers import Timer
from .member import Address, Member, State
from .statements import statement

_RELAYS_MAX: Final = 256
"""Probes relayed for others at once; more are refused with a nack. It bounds what others make this node remember."""
_PINGS_MAX: Final = 256
"""The application's own pings that may wait for an answer; beyond it the oldest is forgotten."""
_RTT_MEMORY: Final = 7 / 8
"""How much of the smoothed round-trip time stays at each measurement. Source: RFC 6298 section 2, alpha = 1/8."""
_RELAY_SHARE: Final = 0.8
"""The share of the probe timeout after which a relay sends its nack, so that it arrives within the asker's interval."""


class Phase(enum.Enum):
    """Where the current round is."""

    IDLE = "idle"
    DIRECT = "direct"
    INDIRECT = "indirect"


@dataclass(slots=True)
class _Round:
    target: str
    number: int
    sent_at: float
    relays: set[str] = field(default_factory=set)
    nacked: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Relay:
    number: int
    asker: Address
    nack_at: float


class Prober:
    """The rounds of one node, and its relays for others.

    Args:
        context: the node's parts; rounds and nacks are timers there.
        name: of this node.
        dial: opens a stream to a member that does not answer datagrams.
        suspect: called with the name of a member that failed its probe.
    """

    def __init__(
        self,
        context: Context,
        name: str,
        dial: Dial,
        suspect: Callable[[str, float], None],
    ) -> None:
        self._config = context.config
        self._rng = context.rng
        self._members = context.members
        self._awareness = context.awareness
        self._timers = context.timers
        self._send = context.outbox.send
        self._emit = context.emit
        self._name = name
        self._dial = dial
        self._suspect = suspect
        self._number = context.rng.randint(0, U32_MAX)
        self._round: _Round | None = None
        self._interval_ends_at = 0.0
        self._relays: dict[int, _Relay] = {}
        self._pings: dict[int, tuple[str, float]] = {}
        self._rtts_s: dict[str, float] = {}
        self.phase = Phase.IDLE
        self._timers.register(Timer.PROBE, self._advance)
        self._timers.register(Timer.RELAY, self._nack_overdue)

    def start(self, now: float) -> None:
        """Begin with the rounds, at a random time within the first interval: nodes started together spread out."""
        self._timers.set(Timer.PROBE, now + self._rng.random() * self._config.probe_interval_s)

    def stop(self) -> None:
        """Send no more probes; those of others are still relayed."""
        self._timers.cancel(Timer.PROBE)

    def discard_round(self, now: float) -> None:
        """Discard the running round; the next begins a probe timeout later, when late answers have been read."""
        self._round = None
        self.phase = Phase.IDLE
        self._timers.set(Timer.PROBE, now + self._config.probe_timeout_s)

    def ping(self, target: Member, now: float) -> int:
        """Ask a member for an answer, out of turn. Returns the number of the ping."""
        number = self._next_number()
        if len(self._pings) >= _PINGS_MAX:
            del self._pings[next(iter(self._pings))]
        self._pings[number] = (target.name, now)
        self._send(target.address, [Ping(number, target.name)])
        return number

    def rtt_s(self, name: str) -> float | None:
        """The smoothed round-trip time to a member, s, if it was ever measured."""
        return self._rtts_s.get(name)

    def forget(self, name: str) -> None:
        """The member is no more."""
        self._rtts_s.pop(name, None)

    def acknowledge(self, ack: Ack, sender: str, now: float) -> bool:
        """An answer arrived. Returns whether anybody waited for it."""
        relay = self._relays.pop(ack.number, None)
        if relay is not None:
            self._send(relay.asker, [Ack(relay.number)])
            return True
        pinged = self._pings.get(ack.number)
        if pinged is not None and pinged[0] == sender:
            del self._pings[ack.number]
            self._note_answer(ack, sender, now - pinged[1])
            return True
        waiting = self._round
        if waiting is None or waiting.number != ack.number or sender not in (waiting.target, *waiting.relays):
            return False
        if sender == waiting.target:
            self._note_answer(ack, sender, now - waiting.sent_at)
        self._awareness.add(-1)
        self._round = None
        return True

    def hear_nack(self, number: int, sender: str) -> None:
        """A relay says that it is there but the target is silent: this node's own link is good."""
        if self._round is not None and self._round.number == number and sender in self._round.relays:
            self._round.nacked.add(sender)

    def relay(self, request: ProbeRequest, asker: Address, now: float) -> None:
        """Probe a member for another; refuse at once with a nack if that is not possible."""
        target = self._members.get(request.target)
        if target is None or len(self._relays) >= _RELAYS_MAX:
            self._send(asker, [Nack(request.number)])
            return
        number = self._next_number()
        nack_at = now + _RELAY_SHARE * self._config.probe_timeout_s
        self._relays[number] = _Relay(request.number, asker, nack_at)
        self._send(target.address, [Ping(number, target.name)])
        self._timers.bring_forward(Timer.RELAY, nack_at)

    def _advance(self, now: float) -> None:
        """Go on to the next phase."""
        missed = self._end_round() if self.phase is Phase.INDIRECT else None
        next_at = self._ask_others(now) if self.phase is Phase.DIRECT else self._begin_round(now)
        self._timers.set(Timer.PROBE, next_at)
        if missed is not None:
            self._suspect(missed, now)

    def _begin_round(self, now: float) -> float:
        self._interval_ends_at = now + self._awareness.scale(self._config.probe_interval_s)
        target = self._members.next_to_probe()
        self.phase = Phase.IDLE
        if target is None:
            return self._interval_ends_at
        self.phase = Phase.DIRECT
        self._round = _Round(target.name, self._next_number(), now)
        messages: list[Message] = [Ping(self._round.number, target.name)]
        if target.state is State.SUSPECT:  # so that it can refute. Source: Lifeguard section IV-C, buddy system
            messages.append(statement(target, self._name))
        self._send(target.address, messages)
        return min(self._interval_ends_at, now + self._config.probe_timeout_s)

    def _ask_others(self, now: float) -> float:
        waiting = self._round
        target = self._members.get(waiting.target) if waiting is not None else None
        if waiting is None or target is None:
            self.phase = Phase.IDLE
            return self._interval_ends_at
        self.phase = Phase.INDIRECT
        relays = self._members.sample(
            self._config.indirect_probes, lambda member: member.state is State.ALIVE and member.name != target.name
        )
        waiting.relays = {relay.name for relay in relays}
        for relay in relays:
            self._send(relay.address, [ProbeRequest(waiting.number, target.name)])
        self._dial(target.address, Purpose.PROBE, Ping(waiting.number, target.name))
        return self._interval_ends_at

    def _end_round(self) -> str | None:
        """The interval is over. Returns the name of the target if it did not answer."""
        if self._round is None:
            return None
        missed, self._round = self._round, None
        # Relays that sent no nack either suggest that this node's own link is bad. Source: Lifeguard section IV-A
        self._awareness.add(len(missed.relays - missed.nacked) if missed.relays else 1)
        return missed.target

    def _nack_overdue(self, now: float) -> None:
        """Tell askers that their targets are silent."""
        for number in [number for number, relay in self._relays.items() if relay.nack_at <= now]:
            relay = self._relays.pop(number)
            self._send(relay.asker, [Nack(relay.number)])
        if self._relays:
            self._timers.set(Timer.RELAY, min(relay.nack_at for relay in self._relays.values()))

    def _note_answer(self, ack: Ack, name: str, rtt_s: float) -> None:
        member = self._members.get(name)
        if member is not None:
            self._rtts_s[name] = rtt_s + _RTT_MEMORY * (self._rtts_s.get(name, rtt_s) - rtt_s)
            self._emit(Answered(member, ack.number, rtt_s, ack.payload))

    def _next_number(self) -> int:
        self._number = (self._number + 1) & U32_MAX
        return self._number
