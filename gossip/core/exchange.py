"""One conversation over a stream, as two sans-IO halves fed bytes.

    frame = length of the rest (4 bytes, big-endian, at most 4 MiB), sealed or plain packet

The halves take turns; a turn is any number of frames, and its last message is `Done`.

    1. the initiator says what it is about: its records and entries (SYNC), what it wants (FETCH), or a `Ping` (PROBE);
    2. the responder gives what the initiator lacks, pulls what itself lacks, or says `Ack`; a PROBE ends here;
    3. the initiator gives what was pulled, and its own record anew, in case it had to refute something.

Frames are made one at a time, as the shell sends them, and a half assembles one filter at a time: memory stays bounded
however much there is to give. What is out of turn, or from somebody else than before, ends the conversation.
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from .errors import WireError
from .members import Address
from .messages import Ack, Chunk, Done, Entries, Entry, Message, Packet, Ping, Pull, Record
from .reconcile import Reconciler
from .seal import Carrier, Seal
from .wire import decode_packet, encode_message

FRAME_MAX_BYTES: Final = 4 * 1024 * 1024
LENGTH_BYTES: Final = 4
_RECEIVED_MAX_BYTES: Final = 512 * 1024 * 1024
_GATHER_BYTES: Final = 48 * 1024  # messages share frames of about this size


class Purpose(enum.Enum):
    """What a conversation is about."""

    SYNC = "sync"
    FETCH = "fetch"
    PROBE = "probe"


class _Turn(enum.Enum):
    SPEAK = "speak"
    HEAR = "hear"


class Side(Protocol):
    """What one half needs of its node."""

    name: str

    @property
    def reconciler(self) -> Reconciler:
        """What to say about differences of views."""
        ...

    def records(self) -> Iterator[Message]:
        """Records of everybody known, this node first."""
        ...

    def hear(self, message: Message, packet: Packet, source: Address, now: float) -> None:
        """Take a message that concerns the node, not the conversation."""
        ...

    def install(self, entry: Entry, bits_log2: int, bits: bytes, now: float) -> None:
        """Take a complete filter."""
        ...

    def frame(self, messages: list[Message]) -> bytes:
        """The payload of a frame."""
        ...


@dataclass(slots=True)
class _Arriving:
    entry: Entry
    bits_log2: int
    bits: bytearray


class Exchange:
    """One half of a conversation.

    The shell alternates: send all of `frames()`, then `feed` what arrives until `my_turn` or `finished`.

    Args:
        side: the node.
        seal: opens frames.
        remote: whom to dial, or who dialled.
        purpose: of an initiator; None for a responder, who learns it.
        opening: what an initiator says in a FETCH or PROBE.
    """

    def __init__(
        self, side: Side, seal: Seal, remote: Address, *, purpose: Purpose | None, opening: tuple[Message, ...] = ()
    ) -> None:
        self.remote = remote
        self.dialled = purpose is not None
        self.purpose = purpose
        self.peer: str | None = None
        self._side = side
        self._seal = seal
        self._opening = opening
        self._turns = list(_SCRIPT[purpose])
        self._ping: Ping | None = None
        self._heard_records = False
        self._give: list[Entry] = []
        self._pull: list[Entry] = []
        self._arriving: _Arriving | None = None
        self._buffer = bytearray()
        self._received_bytes = 0

    @property
    def my_turn(self) -> bool:
        """Whether `frames` is to be sent now."""
        return bool(self._turns) and self._turns[0] is _Turn.SPEAK

    @property
    def finished(self) -> bool:
        """Whether everything is said; close the stream."""
        return not self._turns

    def frames(self) -> Iterator[bytes]:
        """This half's turn, frame by frame. Send each before asking for the next."""
        gathered: list[Message] = []
        size = 0
        for message in self._speak():
            gathered.append(message)
            size += len(encode_message(message))
            if size >= _GATHER_BYTES:
                yield self._framed(gathered)
                gathered, size = [], 0
        yield self._framed([*gathered, Done()])
        del self._turns[0]

    def feed(self, received: bytes, now: float) -> None:
        """Take bytes from the other half.

        Raises:
            WireError: they are not what the protocol allows; close the stream.
        """
        self._received_bytes += len(received)
        if self._received_bytes > _RECEIVED_MAX_BYTES:
            raise WireError("size", "the conversation is longer than any cluster needs")
        self._buffer += received
        while (payload := self._next_payload()) is not None:
            if self.my_turn or self.finished:
                raise WireError("order", "the other half spoke out of turn")
            self._hear(decode_packet(self._seal.unwrap(payload, Carrier.STREAM), FRAME_MAX_BYTES), now)

    def _next_payload(self) -> bytes | None:
        if len(self._buffer) < LENGTH_BYTES:
            return None
        end = LENGTH_BYTES + int.from_bytes(self._buffer[:LENGTH_BYTES], "big")
        if end > LENGTH_BYTES + FRAME_MAX_BYTES:
            raise WireError("size", "the frame is longer than allowed")
        if len(self._buffer) < end:
            return None
        payload = bytes(self._buffer[LENGTH_BYTES:end])
        del self._buffer[:end]
        return payload

    def _hear(self, packet: Packet, now: float) -> None:
        if packet.sender == self._side.name:
            raise WireError("self", "this node dialled itself, or another has its name")
        if self.peer not in (None, packet.sender):
            raise WireError("order", "the sender changed")
        self.peer = packet.sender
        for message in packet.messages:
            match message:
                case Done():
                    self._end_turn()
                case Pull():
                    self._give += message.entries
                case Entries():
                    self._give += self._side.reconciler.surplus(message)
                    self._pull += self._side.reconciler.lacking(message)
                case Chunk():
                    self._assemble(message, now)
                case Ping() if self.purpose is None:
                    self._ping = message
                case _:
                    self._heard_records |= isinstance(message, Record)
                    self._side.hear(message, packet, self.remote, now)

    def _end_turn(self) -> None:
        del self._turns[0]
        if self.purpose is None and self._ping is not None:
            del self._turns[1:]

    def _speak(self) -> Iterator[Message]:
        if self.purpose is None:
            return self._answer()
        return self._open() if len(self._turns) == len(_SCRIPT[self.purpose]) else self._close()

    def _open(self) -> Iterator[Message]:
        yield from self._opening
        if self.purpose is Purpose.SYNC:
            yield from self._side.records()
            yield self._side.reconciler.everything()

    def _answer(self) -> Iterator[Message]:
        if self._ping is not None and self._ping.target == self._side.name:
            yield Ack(self._ping.number)
        if self._heard_records:
            yield from self._side.records()
        yield from self._owed()
        if self._pull:
            yield Pull(tuple(self._pull))

    def _close(self) -> Iterator[Message]:
        yield next(self._side.records())
        yield from self._owed()

    def _owed(self) -> Iterator[Message]:
        for entry in self._give:
            yield from self._side.reconciler.snapshots(entry)

    def _assemble(self, chunk: Chunk, now: float) -> None:
        """Gather a filter from its chunks, which come in order and one filter at a time."""
        if chunk.offset == 0:
            self._arriving = _Arriving(chunk.entry, chunk.bits_log2, bytearray())
        arriving = self._arriving
        if arriving is None or (chunk.entry, chunk.bits_log2) != (arriving.entry, arriving.bits_log2):
            raise WireError("order", "a chunk of another filter")
        size = 1 << (chunk.bits_log2 - 3)
        if chunk.offset != len(arriving.bits) or chunk.offset + len(chunk.bits) > size:
            raise WireError("order", "a chunk of another place")
        arriving.bits += chunk.bits
        if len(arriving.bits) == size:
            self._arriving = None
            self._side.install(arriving.entry, arriving.bits_log2, bytes(arriving.bits), now)

    def _framed(self, messages: list[Message]) -> bytes:
        payload = self._side.frame(messages)
        return len(payload).to_bytes(LENGTH_BYTES, "big") + payload


_SCRIPT: Final = {
    Purpose.SYNC: (_Turn.SPEAK, _Turn.HEAR, _Turn.SPEAK),
    Purpose.FETCH: (_Turn.SPEAK, _Turn.HEAR, _Turn.SPEAK),
    Purpose.PROBE: (_Turn.SPEAK, _Turn.HEAR),
    None: (_Turn.HEAR, _Turn.SPEAK, _Turn.HEAR),
}
