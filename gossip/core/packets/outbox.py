"""Datagrams on their way out: messages and rumours packed to size, stamped and sealed."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..membership.member import Address
from ..messages import Message
from .codec import encode_message, encode_packet, packet_overhead
from .rumours import Rumours
from .seal import Seal


@dataclass(frozen=True, slots=True)
class Datagram:
    """A datagram to send at once, as it is; it may be lost."""

    payload: bytes
    destination: Address


@dataclass(frozen=True, slots=True)
class Stamp:
    """What every packet of a node bears: its name, its run, and the fingerprint of its view."""

    sender: str
    epoch: int
    fingerprint: bytes


class Outbox:
    """Datagrams that wait to be sent.

    Args:
        seal: wraps packets.
        rumours: ride along where there is room.
        stamp: gives the stamp of this moment.
        copies: gives how often a rumour is sent before it leaves the queue.
        room_bytes: for messages in one datagram.
    """

    def __init__(
        self,
        seal: Seal,
        rumours: Rumours,
        *,
        stamp: Callable[[], Stamp],
        copies: Callable[[], int],
        room_bytes: int,
    ) -> None:
        self._seal = seal
        self._rumours = rumours
        self._stamp = stamp
        self._copies = copies
        self._room_bytes = room_bytes
        self._waiting: list[Datagram] = []
        self._creditor: Address | None = None
        self._credit_bytes = 0

    def send(self, destination: Address, messages: Sequence[Message]) -> None:
        """Send messages, in as many datagrams as they need; rumours fill the last one."""
        parts: list[bytes] = []
        room = self._room_bytes
        for encoded in map(encode_message, messages):
            if len(encoded) > room and parts:
                self._pack(destination, parts)
                parts, room = [], self._room_bytes
            parts.append(encoded)
            room -= len(encoded)
        riders = self._rumours.take(room, self._copies())
        self._pack(destination, parts + [encoded for encoded in riders if encoded not in parts])

    def send_bare(self, destination: Address, messages: Sequence[Message]) -> None:
        """Send a few short messages and nothing else."""
        self._pack(destination, [encode_message(message) for message in messages])

    def credit(self, source: Address, received_bytes: int) -> None:
        """A datagram of this size came from there: answers up to the same size may go there."""
        self._creditor, self._credit_bytes = source, received_bytes

    def answer(self, source: Address, *choices: Sequence[Message]) -> Sequence[Message]:
        """Send an unknown source the first of these that is no longer than the datagram that just came from there.

        A guard against amplification: source addresses can be forged, and nobody is to be hit with more than was sent.

        Returns:
            What was sent; nothing if all are longer.
        """
        if source != self._creditor:
            return ()
        for messages in choices:
            wrapped_bytes = len(self.packet(map(encode_message, messages))) + self._seal.overhead
            if wrapped_bytes <= self._credit_bytes:
                self._credit_bytes -= wrapped_bytes
                self.send_bare(source, messages)
                return messages
        return ()

    def send_rumours(self, destination: Address) -> bool:
        """Send a datagram of rumours. Returns whether there were any."""
        rumours = self._rumours.take(self._room_bytes, self._copies())
        if rumours:
            self._pack(destination, rumours)
        return bool(rumours)

    def drain(self) -> list[Datagram]:
        """All datagrams since the last call, for the caller to send."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def packet(self, messages: Iterable[bytes]) -> bytes:
        """Encoded messages as a packet with this node's present stamp."""
        stamp = self._stamp()
        return encode_packet(stamp.sender, stamp.epoch, stamp.fingerprint, messages)

    def _pack(self, destination: Address, parts: list[bytes]) -> None:
        self._waiting.append(Datagram(self._seal.wrap(self.packet(parts)), destination))


def room_bytes(datagram_max_bytes: int, seal: Seal, sender: str) -> int:
    """Bytes for messages in one datagram."""
    return datagram_max_bytes - seal.overhead - packet_overhead(sender)
