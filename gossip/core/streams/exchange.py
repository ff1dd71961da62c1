"""One conversation over a stream, as two sans-IO halves fed bytes.

    frame = length of the rest (4 bytes, big-endian, at most 4 MiB), sealed or plain packet

The halves take turns; a turn is any number of frames, and its last message is `Done`.

    0. each half greets with 17 bytes, the responder first: the versions it understands, and 16 of chance for the seal;
    1. the initiator says what it is about: its records and entries (SYNC), what it wants (FETCH), or it asks something
       short: a `Ping` (PROBE), a message of its application (TELL), an order about keys (KEYS);
    2. the responder gives what the initiator lacks and pulls what itself lacks; or it answers, and that was all;
    3. the initiator gives what was pulled, and its own record anew, in case it had to refute something.

Frames are made one at a time, as the shell sends them, and a half assembles one filter at a time: memory stays bounded
however much there is to give. What is out of turn, or from somebody else than before, ends the conversation.
"""

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ..directory.reconcile import Reconciler
from ..errors import WireError
from ..membership.member import Address
from ..messages import (
    Ack,
    Chunk,
    Done,
    Entries,
    Entry,
    KeyOrder,
    KeyReport,
    Message,
    Packet,
    Ping,
    Pull,
    Record,
    UserMessage,
    UserState,
)
from ..packets.codec import decode_packet, encode_message
from ..packets.seal import GREETING_BYTES, Channel

FRAME_MAX_BYTES: Final = 4 * 1024 * 1024
LENGTH_BYTES: Final = 4
_RECEIVED_MAX_BYTES: Final = 512 * 1024 * 1024
_GATHER_BYTES: Final = 48 * 1024  # messages share frames of about this size


class Purpose(enum.Enum):
    """What a conversation is about."""

    SYNC = "sync"
    FETCH = "fetch"
    PROBE = "probe"
    TELL = "tell"
    KEYS = "keys"


class _Turn(enum.Enum):
    GREET = "greet"
    AWAIT = "await a greeting"
    SPEAK = "speak"
    HEAR = "hear"


class Side(Protocol):
    """What one half needs of its node."""

    name: str
    records_max: int

    @property
    def reconciler(self) -> Reconciler:
        """What to say about differences of views."""
        ...

    def records(self) -> Iterator[Message]:
        """Records of everybody known, this node first."""
        ...

    def state(self) -> bytes:
        """The application's state."""
        ...

    def hear(self, message: Message, packet: Packet, now: float) -> None:
        """Take a message that concerns the node, not the conversation."""
        ...

    def is_stranger(self, who: Address | str) -> bool:
        """Whether nobody alive is known at that address, or of that name."""
        ...

    def merge(self, records: list[Record], now: float, *, stranger: bool) -> None:
        """Take what the other side, perhaps a stranger, knows of members: all of it or, by an error, nothing."""
        ...

    def obey(self, order: KeyOrder) -> KeyReport:
        """Carry out an order about keys."""
        ...

    def install(self, entry: Entry, bits_log2: int, bits: bytes, now: float) -> None:
        """Take a complete filter."""
        ...

    def packet(self, messages: list[Message]) -> bytes:
        """These messages as a packet."""
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
        channel: the seal of this stream.
        remote: whom to dial, or who dialled.
        purpose: of an initiator; None for a responder, who learns it.
        opening: what an initiator says, besides what belongs to a SYNC.

    `answers` are the messages that answered a TELL or KEYS.
    """

    def __init__(
        self,
        side: Side,
        channel: Channel,
        remote: Address,
        *,
        purpose: Purpose | None,
        opening: tuple[Message, ...] = (),
    ) -> None:
        self.remote = remote
        self.dialled = purpose is not None
        self.purpose = purpose
        self.peer: str | None = None
        self.answers: list[Message] = []
        self._side = side
        self._channel = channel
        self._opening = opening
        self._turns = list(_SCRIPT[purpose])
        self._greeted = self._opened = False
        self._replies: list[Message] = []
        self._records: list[Record] = []
        self._syncs = purpose is Purpose.SYNC
        self._with_stranger = self.dialled and side.is_stranger(remote)
        self._give: list[Entry] = []
        self._pull: list[Entry] = []
        self._arriving: _Arriving | None = None
        self._buffer = bytearray()
        self._received_bytes = 0

    @property
    def my_turn(self) -> bool:
        """Whether `frames` is to be sent now."""
        return bool(self._turns) and self._turns[0] in (_Turn.GREET, _Turn.SPEAK)

    @property
    def finished(self) -> bool:
        """Whether everything is said; close the stream."""
        return not self._turns

    def frames(self) -> Iterator[bytes]:
        """This half's turn, piece by piece. Send each before asking for the next."""
        if self._turns[0] is _Turn.GREET:
            yield self._channel.greeting
            del self._turns[0]
            return
        if self.dialled and not self._opened:
            yield self._channel.greeting
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
        if not self._greeted and not self._take_greeting():
            return
        while (payload := self._next_payload()) is not None:
            if self.my_turn or self.finished:
                raise WireError("order", "the other half spoke out of turn")
            self._hear(decode_packet(self._channel.unwrap(payload), FRAME_MAX_BYTES), now)

    def _take_greeting(self) -> bool:
        if len(self._buffer) < GREETING_BYTES:
            return False
        self._channel.greet(bytes(self._buffer[:GREETING_BYTES]))
        del self._buffer[:GREETING_BYTES]
        self._greeted = True
        if self.dialled:
            del self._turns[0]
        return True

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
            self._meet_namesake()
            return
        if self.peer not in (None, packet.sender):
            raise WireError("order", "the sender changed")
        self.peer = packet.sender
        for message in packet.messages:
            if self.my_turn or self.finished:
                raise WireError("order", "something was said after the end of a turn")
            self._hear_message(message, packet, now)

    def _meet_namesake(self) -> None:
        """The other half has this node's name. Who dialled ends the conversation, and so has to hear a word first."""
        if self.dialled:
            raise WireError("self", "this node dialled itself, or another has its name")
        self._buffer.clear()
        self._turns = [_Turn.SPEAK]

    def _hear_message(self, message: Message, packet: Packet, now: float) -> None:
        if self._records and not isinstance(message, Record):
            self._merge(packet.sender, now)
        match message:
            case Done():
                self._end_turn()
            case Record():
                self._note(message)
            case Pull():
                self._note_differences(message.entries, ())
            case Entries():
                reconciler = self._side.reconciler
                self._note_differences(reconciler.surplus(message), reconciler.lacking(message))
            case Chunk():
                self._assemble(message, now)
            case Ping() | UserMessage() | KeyOrder() if self.purpose is None:
                self._check_alone(self._replies)
                self._replies += self._reply(message, packet, now)
            case Ack() | KeyReport() if self.purpose in (Purpose.TELL, Purpose.KEYS):
                self._check_alone(self.answers)
                self.answers.append(message)
            case _:
                self._side.hear(message, packet, now)

    def _note(self, record: Record) -> None:
        self._records.append(record)
        self._check_count(self._records)

    def _note_differences(self, give: Sequence[Entry], pull: Sequence[Entry]) -> None:
        self._give += give
        self._pull += pull
        self._check_count(self._give)
        self._check_count(self._pull)

    def _check_count(self, noted: Sequence[Record | Entry]) -> None:
        if len(noted) > self._side.records_max:
            raise WireError("size", "more members than any cluster has")

    def _check_alone(self, before: Sequence[Message]) -> None:
        if before:
            raise WireError("order", "one question and one answer are all of a conversation")

    def _reply(self, question: Ping | UserMessage | KeyOrder, packet: Packet, now: float) -> list[Message]:
        match question:
            case Ping():
                return [Ack(question.number)] if question.target == self._side.name else []
            case UserMessage():
                self._side.hear(question, packet, now)
                return [Ack(0)]
            case KeyOrder():
                if not self._channel.sealed:
                    raise WireError("seal", "keys are spoken of over sealed streams only")
                return [self._side.obey(question)]

    def _merge(self, sender: str, now: float) -> None:
        """All records are there: the application may refuse them, before anything else of a stranger is taken."""
        self._syncs = True
        stranger = self._with_stranger if self.dialled else self._side.is_stranger(sender)
        self._side.merge(self._records, now, stranger=stranger)
        self._records = []

    def _end_turn(self) -> None:
        del self._turns[0]
        if self._replies:
            del self._turns[1:]

    def _speak(self) -> Iterator[Message]:
        if self.purpose is None:
            return self._answer()
        return self._close() if self._opened else self._open()

    def _open(self) -> Iterator[Message]:
        self._opened = True
        yield from self._opening
        if self._syncs:
            yield from self._side.records()
            yield from self._state()
            yield self._side.reconciler.everything()

    def _answer(self) -> Iterator[Message]:
        yield from self._replies
        if self._syncs:
            yield from self._side.records()
            yield from self._state()
        yield from self._owed()
        if self._pull:
            yield Pull(tuple(self._pull))

    def _close(self) -> Iterator[Message]:
        yield next(self._side.records())
        yield from self._owed()

    def _state(self) -> Iterator[Message]:
        if state := self._side.state():
            yield UserState(state)

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
        payload = self._channel.wrap(self._side.packet(messages))
        return len(payload).to_bytes(LENGTH_BYTES, "big") + payload


_SCRIPT: Final = {
    Purpose.SYNC: (_Turn.AWAIT, _Turn.SPEAK, _Turn.HEAR, _Turn.SPEAK),
    Purpose.FETCH: (_Turn.AWAIT, _Turn.SPEAK, _Turn.HEAR, _Turn.SPEAK),
    Purpose.PROBE: (_Turn.AWAIT, _Turn.SPEAK, _Turn.HEAR),
    Purpose.TELL: (_Turn.AWAIT, _Turn.SPEAK, _Turn.HEAR),
    Purpose.KEYS: (_Turn.AWAIT, _Turn.SPEAK, _Turn.HEAR),
    None: (_Turn.GREET, _Turn.HEAR, _Turn.SPEAK, _Turn.HEAR),
}
