"""Two nodes under one name: by a mistake in their settings, or because an old one has not ended yet.

Others follow the higher epoch, so that a node that restarts at another address takes its name over at once. If the old
one still runs, the two would overtake each other endlessly. Therefore a node that hears of another under its name
claims the name there, with the time of its own start, and the one that started later gives way: an operator who has
just started a node is likely to notice.

A claim alone stops nobody: anybody can write one. Beside each claim a question is asked, and only a claim from where
that was answered counts.
"""

from typing import Final

from ..context import Context
from ..errors import Rejection, WireError
from ..events import NameConflict
from ..messages import Ack, Message, NameClaim, Packet, Ping
from .member import Address, State
from .own_record import OwnRecord

_CLAIM_INTERVAL_S: Final = 1.0
"""Seconds between two claims. A claim goes to an address that others state, so this bounds what they can aim there."""


class NameConflicts:
    """What one node knows of others with its name.

    Args:
        context: the node's parts.
        own: this node's record.

    `gave_way_to` is the address of the node for which this one gave up its name; it takes part no longer.
    """

    def __init__(self, context: Context, own: OwnRecord) -> None:
        self._context = context
        self._own = own
        self._claim = NameClaim(own.me.epoch, context.rng.getrandbits(64))
        self._claimed_at = float("-inf")
        self._asked: Ping | None = None
        self._asked_where: Address | None = None
        self.gave_way_to: Address | None = None

    def claim(self, address: Address, now: float) -> None:
        """Claim this node's name at an address where another may have it, and ask there, at most once a second."""
        if address != self._own.me.address and now - self._claimed_at >= _CLAIM_INTERVAL_S:
            self._claimed_at = now
            self._asked = Ping(self._context.draw(), self._own.name)
            self._asked_where = address
            self._context.outbox.send_bare(address, [self._claim, self._asked])

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
            self._context.outbox.answer(source, [answer, self._claim], [answer])
        if source == self._asked_where and any(_answers(it, self._asked) for it in packet.messages):
            self._asked_where = None
            self._settle(packet, source)
        else:
            self.claim(source, now)

    def _settle(self, packet: Packet, source: Address) -> None:
        """The other has answered for itself: one of the two gives way, if the other made its claim."""
        for message in packet.messages:
            if isinstance(message, NameClaim) and message.token != self._claim.token:
                gives_way = self._claim.order > message.order
                self.gave_way_to = source if gives_way else None
                self._context.emit(NameConflict(source, gives_way))


def _answers(message: Message, asked: Ping | None) -> bool:
    return isinstance(message, Ack) and asked is not None and message.number == asked.number
