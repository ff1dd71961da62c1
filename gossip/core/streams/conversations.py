"""The conversations that a node opens, and its halves of those that others open."""

from collections.abc import Callable

from ..membership.member import Address
from ..messages import Message
from ..packets.seal import Seal
from .exchange import Exchange
from .purpose import Purpose
from .transfer import Local


class Conversations:
    """The conversations of one node.

    Args:
        local: this node.
        seal: makes the seal of each stream.
        check_source: raises WireError for an address that is not allowed.
        dialling_max: bound of conversations that this node's own protocol opens at once.
    """

    def __init__(self, local: Local, seal: Seal, check_source: Callable[[Address], None], dialling_max: int) -> None:
        self.local = local
        self._seal = seal
        self._check_source = check_source
        self._dialling_max = dialling_max
        self._dialling: dict[tuple[Address, Purpose], Exchange] = {}
        self._to_dial: list[Exchange] = []

    def open(self, address: Address, purpose: Purpose, *opening: Message) -> Exchange:
        """A conversation that the caller carries out, whatever else runs."""
        return Exchange(self.local, self._seal.channel(dialled=True), address, purpose=purpose, opening=opening)

    def dial(self, address: Address, purpose: Purpose, *opening: Message) -> None:
        """Have a conversation opened, unless one of the same purpose with that address runs, or too many do."""
        key = (address, purpose)
        if len(self._dialling) < self._dialling_max and key not in self._dialling:
            self._dialling[key] = self.open(address, purpose, *opening)
            self._to_dial.append(self._dialling[key])

    def drain(self) -> list[Exchange]:
        """Conversations to open since the last call."""
        to_dial, self._to_dial = self._to_dial, []
        return to_dial

    def answer(self, source: Address) -> Exchange:
        """This node's half of a conversation that another node opened.

        Raises:
            WireError: its address is not allowed.
        """
        self._check_source(source)
        return Exchange(self.local, self._seal.channel(dialled=False), source, purpose=None)

    def end(self, exchange: Exchange) -> None:
        """A conversation is over, of whatever kind."""
        if exchange.purpose is not None and self._dialling.get((exchange.remote, exchange.purpose)) is exchange:
            del self._dialling[exchange.remote, exchange.purpose]
