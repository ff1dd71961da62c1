"""Failure detection: one probe at a time, one member per interval.

    IDLE ──next interval──▶ DIRECT ──timeout──▶ INDIRECT ──end of interval──▶ the target is suspect
      ▲                        │                    │
      └────────── ack ─────────┴─────── ack ────────┘

In INDIRECT k other members and a stream are asked at once. A node that doubts itself has longer intervals. A round
that this node's own pause interrupted is discarded: nobody is judged by it. Relays for others are kept here too.

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
from .member import Address, Member, State

_RELAYS_MAX: Final = 256
_ASKED_MAX: Final = 256
_RTT_MEMORY: Final = 7 / 8
_RELAY_SHARE: Final = 0.8  # of the probe timeout, then a nack; it must arrive before the asker's interval ends


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
    """The rounds of one node.

    Args:
        context: the node's parts.
        dial: opens a stream to a member that does not answer datagrams, with the number of the probe.
        accuse: what to say to a suspect along with a probe, so that it can refute (Lifeguard's buddy system).
    """

    def __init__(
        self, context: Context, dial: Callable[[Member, int], None], accuse: Callable[[Member], Message]
    ) -> None:
        self._config = context.config
        self._members = context.members
        self._awareness = context.awareness
        self._send = context.outbox.send
        self._emit = context.emit
        self._dial = dial
        self._accuse = accuse
        self._number = context.rng.randint(0, U32_MAX)
        self._round: _Round | None = None
        self._ends_at = 0.0
        self._relays: dict[int, _Relay] = {}
        self._asked: dict[int, tuple[str, float]] = {}
        self._rtts_s: dict[str, float] = {}
        self.phase = Phase.IDLE

    def advance(self, now: float) -> tuple[float, str | None]:
        """Go on to the next phase.

        Returns:
            When to call again, s, and the name of a member that failed its probe, if one did.
        """
        match self.phase:
            case Phase.IDLE:
                return self._begin(now), None
            case Phase.DIRECT:
                return self._ask_others(now), None
            case Phase.INDIRECT:
                failed = self._fail()
                return self._begin(now), failed

    def ping(self, target: Member, now: float) -> int:
        """Ask a member for an answer, out of turn. Returns the number of the ping."""
        number = self._next_number()
        if len(self._asked) >= _ASKED_MAX:
            del self._asked[next(iter(self._asked))]
        self._asked[number] = (target.name, now)
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
        asked = self._asked.get(ack.number)
        if asked is not None and asked[0] == sender:
            del self._asked[ack.number]
            self._measured(ack, sender, now - asked[1])
            return True
        waiting = self._round
        if waiting is None or waiting.number != ack.number or sender not in (waiting.target, *waiting.relays):
            return False
        if sender == waiting.target:
            self._measured(ack, sender, now - waiting.sent_at)
        self._awareness.add(-1)
        self._round = None
        return True

    def _measured(self, ack: Ack, name: str, rtt_s: float) -> None:
        """Note a round trip. Source: RFC 6298 section 2 for the smoothing."""
        member = self._members.get(name)
        if member is not None:
            self._rtts_s[name] = rtt_s + _RTT_MEMORY * (self._rtts_s.get(name, rtt_s) - rtt_s)
            self._emit(Answered(member, ack.number, rtt_s, ack.payload))

    def refuse(self, number: int, sender: str) -> None:
        """A relay says that it is there but the target is silent: this node's own link is good."""
        if self._round is not None and self._round.number == number and sender in self._round.relays:
            self._round.nacked.add(sender)

    def relay(self, request: ProbeRequest, asker: Address, now: float) -> float | None:
        """Probe a member for another. Returns when to nack, s; None if it is nacked already."""
        target = self._members.get(request.target)
        if target is None or len(self._relays) >= _RELAYS_MAX:
            self._send(asker, [Nack(request.number)])
            return None
        number = self._next_number()
        nack_at = now + _RELAY_SHARE * self._config.probe_timeout_s
        self._relays[number] = _Relay(request.number, asker, nack_at)
        self._send(target.address, [Ping(number, target.name)])
        return nack_at

    def nack_overdue(self, now: float) -> float | None:
        """Tell askers that their targets are silent. Returns when the next one is due, s."""
        for number in [number for number, relay in self._relays.items() if relay.nack_at <= now]:
            relay = self._relays.pop(number)
            self._send(relay.asker, [Nack(relay.number)])
        return min((relay.nack_at for relay in self._relays.values()), default=None)

    def discard_round(self, now: float) -> float:
        """Judge nobody by the running round. Returns when to begin the next, s: not before late answers were read."""
        self._round = None
        self.phase = Phase.IDLE
        return now + self._config.probe_timeout_s

    def _begin(self, now: float) -> float:
        self._ends_at = now + self._awareness.scale(self._config.probe_interval_s)
        target = self._members.next_to_probe()
        self.phase = Phase.IDLE
        if target is None:
            return self._ends_at
        self.phase = Phase.DIRECT
        self._round = _Round(target.name, self._next_number(), now)
        messages: list[Message] = [Ping(self._round.number, target.name)]
        if target.state is State.SUSPECT:
            messages.append(self._accuse(target))
        self._send(target.address, messages)
        return min(self._ends_at, now + self._config.probe_timeout_s)

    def _ask_others(self, now: float) -> float:
        waiting = self._round
        target = self._members.get(waiting.target) if waiting is not None else None
        if waiting is None or target is None:
            self.phase = Phase.IDLE
            return self._ends_at
        self.phase = Phase.INDIRECT
        relays = self._members.sample(
            self._config.indirect_probes, lambda member: member.state is State.ALIVE and member.name != target.name
        )
        waiting.relays = {relay.name for relay in relays}
        for relay in relays:
            self._send(relay.address, [ProbeRequest(waiting.number, target.name)])
        self._dial(target, waiting.number)
        return self._ends_at

    def _fail(self) -> str | None:
        if self._round is None:
            return None
        missed = self._round
        self._round = None
        self._awareness.add(len(missed.relays - missed.nacked) if missed.relays else 1)
        return missed.target

    def _next_number(self) -> int:
        self._number = (self._number + 1) & U32_MAX
        return self._number
