"""Two nodes under one name: by mistake in somebody's settings, or because an old one has not ended yet.

Others follow the higher epoch, so that a node that restarts at another address takes its name over at once. If the old
one is still there the two would overtake each other for ever. Therefore whoever hears of a namesake tells it when
itself started, and the one that started later gives way: the newcomer's operator is the one who is looking.
"""

from collections.abc import Callable
from typing import Final

from ..context import Context
from ..errors import WireError
from ..events import NameConflict
from ..messages import Namesake, Packet
from .member import Address, Member, State

_AGAIN_S: Final = 1.0


class Namesakes:
    """What one node knows of others with its name.

    Args:
        context: the node's parts.
        me: gives this node's record.
    """

    def __init__(self, context: Context, me: Callable[[], Member]) -> None:
        self._context = context
        self._me = me
        self._identity = Namesake(me().epoch, context.rng.getrandbits(64))
        self._said_at = float("-inf")
        self.gave_way_to: Address | None = None

    def address(self, address: Address, now: float) -> None:
        """Somebody at this address may have this node's name: tell it who is here, at most once a second."""
        if address != self._me().address and now - self._said_at >= _AGAIN_S:
            self._said_at = now
            self._context.outbox.send_bare(address, [self._identity])

    def meet(self, packet: Packet, source: Address, now: float) -> None:
        """Take a packet under this node's own name.

        Raises:
            WireError: it is this node's own, or it does not matter any more.
        """
        me = self._me()
        if source == me.address or me.state is State.LEFT:
            raise WireError("self", "a packet under this node's own name")
        self.address(source, now)
        for message in packet.messages:
            if isinstance(message, Namesake) and message.token != self._identity.token:
                gives_way = self._identity.order > message.order
                self.gave_way_to = source if gives_way else None
                self._context.emit(NameConflict(source, gives_way))
