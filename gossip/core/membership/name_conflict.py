"""Two nodes under one name: by a mistake in their settings, or because an old one has not ended yet.

Others follow the higher epoch, so that a node that restarts at another address takes its name over at once. If the old
one still runs, the two would overtake each other endlessly. Therefore a node that hears of another under its name
claims the name there, with the time of its own start, and the one that started later gives way: an operator who has
just started a node is likely to notice.
"""

from typing import Final

from ..context import Context
from ..errors import Rejection, WireError
from ..events import NameConflict
from ..messages import NameClaim, Packet
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
        self.gave_way_to: Address | None = None

    def claim(self, address: Address, now: float) -> None:
        """Claim this node's name at an address where another may have it, at most once a second."""
        if address != self._own.me.address and now - self._claimed_at >= _CLAIM_INTERVAL_S:
            self._claimed_at = now
            self._context.outbox.send_bare(address, [self._claim])

    def receive(self, packet: Packet, source: Address, now: float) -> None:
        """Take a packet under this node's own name.

        Raises:
            WireError: it is this node's own, or this node has left and needs its name no longer.
        """
        me = self._own.me
        if source == me.address or me.state is State.LEFT:
            raise WireError(Rejection.SELF, "a packet under this node's own name")
        self.claim(source, now)
        for message in packet.messages:
            if isinstance(message, NameClaim) and message.token != self._claim.token:
                gives_way = self._claim.order > message.order
                self.gave_way_to = source if gives_way else None
                self._context.emit(NameConflict(source, gives_way))
