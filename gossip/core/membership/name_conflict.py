"""Two nodes under one name: by a mistake in their settings, or because an old one has not ended yet.

Others keep to the one that they know as long as it answers (module `introductions`), and follow the higher epoch once
it does not, so that a node that comes back at another address takes its name over. Whoever hears of another under its
name claims the name there. A newcomer gives way to one that has been there for a while, and else the one that started
later: an operator who has just started a node is likely to notice.

A claim alone stops nobody: anybody can write one. Beside each claim a question is asked, and only a claim from where
that was answered counts. Both are repeated, since they may be lost, and since a node that seals its packets first has
to prove that it is no recording.
"""

from dataclasses import dataclass
from typing import Final

from ..context import Context
from ..errors import Rejection, WireError
from ..events import NameConflict
from ..messages import Ack, NameClaim, Packet, Ping
from ..timers import Timer
from .member import Address, State
from .own_record import OwnRecord

_CLAIM_INTERVAL_S: Final = 1.0
"""Seconds between two claims. A claim goes to an address that others state, so this bounds what they can aim there."""
_TRIES: Final = 10
"""Claims at one address: with 30 % loss both ways one in 800 is missed, until the other is heard of again."""
_AGAIN_S: Final = 60.0
"""Seconds for which an address is left alone at which nobody answered: perhaps this node has moved from there."""
_ADDRESSES_MAX: Final = 16
"""Addresses at which this node claims its name, or did; beyond them the one heard of first is forgotten."""
_NEW_FOR_S: Final = 10.0
"""Seconds from its start for which a node is a newcomer: it has met a node that has its name by then, if it can."""


@dataclass(slots=True)
class _Namesake:
    """Where another of this node's name may be.

    Args:
        number: of the question that is asked there.
        forget_at: when it may be heard of anew, if it did not answer.
        tries: how often it was asked.
    """

    number: int
    forget_at: float
    tries: int = 0


class NameConflicts:
    """What one node knows of others with its name.

    Args:
        context: the node's parts; claims are a timer there.
        own: this node's record.
        now: monotonic time of this node's start, s.

    `gave_way_to` is the address of the node for which this one gave up its name: it takes part no longer, and answers
    that one only.
    """

    def __init__(self, context: Context, own: OwnRecord, now: float) -> None:
        self._context = context
        self._own = own
        self._timers = context.timers
        self._started = own.me.epoch
        self._token = context.rng.getrandbits(63) << 1
        self._new_until = now + _NEW_FOR_S
        self._claimed_at = float("-inf")
        self._namesakes: dict[Address, _Namesake] = {}
        self.gave_way_to: Address | None = None
        self._timers.register(Timer.CLAIM, self._claim_due)

    def claim(self, address: Address, now: float) -> None:
        """Claim this node's name at an address where others say that one of it is, and ask there."""
        self._meet(address, now)

    def answers(self, packet: Packet, source: Address) -> bool:
        """Whether a packet under this node's own name answers what was asked there."""
        namesake = self._namesakes.get(source)
        return namesake is not None and any(
            isinstance(it, Ack) and it.number == namesake.number for it in packet.messages
        )

    def receive(self, packet: Packet, source: Address, now: float) -> None:
        """Take a packet under this node's own name.

        Raises:
            WireError: it is this node's own, or this node has left and needs its name no longer.
        """
        me = self._own.me
        if source == me.address or me.state is State.LEFT:
            raise WireError(Rejection.SELF, "a packet under this node's own name")
        answer = next((Ack(it.number) for it in packet.messages if isinstance(it, Ping) and it.target == me.name), None)
        if answer is not None:
            self._context.outbox.answer(source, [answer, self._claim(now)], [answer])
        claims = [it for it in packet.messages if isinstance(it, NameClaim) and it.token >> 1 != self._token >> 1]
        if self.gave_way_to is not None:
            return
        if claims and self.answers(packet, source):
            del self._namesakes[source]
            self._settle(claims[0], source, now)
        else:
            self._meet(source, now, speaks=True)

    def _meet(self, address: Address, now: float, *, speaks: bool = False) -> None:
        """Another of this node's name may be there; one that speaks is asked however often it did not answer."""
        if address == self._own.me.address or self._own.me.state is State.LEFT:
            return
        known = self._namesakes.get(address)
        if known is not None and (known.tries < _TRIES if speaks else now < known.forget_at):
            return
        self._namesakes.pop(address, None)
        if len(self._namesakes) >= _ADDRESSES_MAX:
            del self._namesakes[next(iter(self._namesakes))]
        self._namesakes[address] = _Namesake(self._context.draw(), now + _AGAIN_S)
        self._schedule(now)

    def _schedule(self, now: float) -> None:
        """Make the next claim, now or when a second has gone by since the last one."""
        due_at = self._claimed_at + _CLAIM_INTERVAL_S
        if due_at <= now:
            self._claim_due(now)
        else:
            self._timers.bring_forward(Timer.CLAIM, due_at)

    def _claim_due(self, now: float) -> None:
        """Claim the name at the address where that was done least often."""
        waiting = [(it.tries, address) for address, it in self._namesakes.items() if it.tries < _TRIES]
        if not waiting or self._own.me.state is State.LEFT:
            return
        _, address = min(waiting, key=lambda it: it[0])
        namesake = self._namesakes[address]
        namesake.tries += 1
        self._claimed_at = now
        self._context.outbox.send_bare(address, [self._claim(now), Ping(namesake.number, self._own.name)])
        self._timers.set(Timer.CLAIM, now + _CLAIM_INTERVAL_S)

    def _claim(self, now: float) -> NameClaim:
        """The claim of this run. One that has given way stays the weaker one, or the other might give way as well."""
        is_weak = now < self._new_until or self.gave_way_to is not None
        return NameClaim(self._started, self._token | is_weak)

    def _settle(self, theirs: NameClaim, source: Address, now: float) -> None:
        """The other has answered for itself and made its claim: one of the two gives way."""
        gives_way = self._claim(now).order > theirs.order
        self.gave_way_to = source if gives_way else None
        self._context.emit(NameConflict(source, gives_way))
