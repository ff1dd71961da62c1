"""One conversation over a stream, as two sans-IO halves fed bytes.

The halves take turns; a turn is any number of frames, and its last message is `Done`.

    0. each half greets with 17 bytes, the responder first: the versions it understands, and 16 random bytes;
    1. the initiator says what it is about: its records and entries (SYNC), what it wants (FETCH), or it asks something
       short: a `Ping` (PROBE), a message of its application (MESSAGE), an order about keys (KEYS);
    2. the responder gives what the initiator lacks and pulls what it lacks itself; or it answers, and that is the end;
    3. the initiator gives what was pulled, and its own record again, in case it had to refute something.

Frames are made one at a time, as they are sent, and a half assembles one filter at a time: memory stays bounded however
much there is to give. A message out of turn, or from another sender than before, ends the conversation.
"""

import enum
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

from ..errors import Rejection, WireError
from ..membership.member import Address
from ..messages import (
    Ack,
    Chunk,
    Done,
    Entries,
    KeyOrder,
    KeyReport,
    Message,
    Packet,
    Ping,
    Pull,
    Record,
    UserMessage,
)
from ..packets.codec import decode_packet, encode_message
from ..packets.seal import Channel
from .frames import FRAME_MAX_BYTES, FrameReader, frame
from .purpose import Purpose
from .transfer import Local, Transfer

_GATHER_BYTES: Final = 48 * 1024
"""Bytes of messages in a frame; one message that is longer has a frame of its own. Small enough to be made in between,
large enough for zstandard."""


class _Turn(enum.Enum):
    GREET = "greet"
    AWAIT = "await a greeting"
    SPEAK = "speak"
    HEAR = "hear"


_SCRIPT: Final = {
    Purpose.SYNC: (_Turn.AWAIT, _Turn.SPEAK, _Turn.HEAR, _Turn.SPEAK),
    Purpose.FETCH: (_Turn.AWAIT, _Turn.SPEAK, _Turn.HEAR, _Turn.SPEAK),
    Purpose.PROBE: (_Turn.AWAIT, _Turn.SPEAK, _Turn.HEAR),
    Purpose.MESSAGE: (_Turn.AWAIT, _Turn.SPEAK, _Turn.HEAR),
    Purpose.KEYS: (_Turn.AWAIT, _Turn.SPEAK, _Turn.HEAR),
    None: (_Turn.GREET, _Turn.HEAR, _Turn.SPEAK, _Turn.HEAR),
}
"""The turns of each half, by purpose; None is the responder, which learns the purpose from what it hears."""


_Handlers = Mapping[type[Message], Callable[["Exchange", Any, str, float], None]]


class Exchange:
    """One half of a conversation.

    Its owner alternates: send all of `frames()`, then `feed` what arrives until `my_turn` or `finished`.

    Args:
        local: this node.
        channel: the seal of this stream.
        remote: the address that was dialled, or that dialled.
        purpose: of an initiator; None for a responder.
        opening: what an initiator says, besides what belongs to a SYNC.

    `answers` are the messages that answered a MESSAGE or KEYS. `greeted` says whether the other half has greeted, and
    `refusal` why it takes nothing of this one, if it says so: nothing rests on that.
    """

    def __init__(
        self,
        local: Local,
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
        self.refusal: Rejection | None = None
        self._local = local
        self._channel = channel
        self._opening = opening
        self._turns = list(_SCRIPT[purpose])
        self._reader = FrameReader()
        self._unheard: deque[tuple[Message, str]] = deque()
        self.greeted = self._opened = False
        self._replies: list[Message] = []
        self._transfer = Transfer(local, full=purpose is Purpose.SYNC)
        if purpose is None:
            self._handlers = self._OF_RESPONDERS
        else:
            self._handlers = self._OF_QUESTIONS if purpose in (Purpose.MESSAGE, Purpose.KEYS) else self._OF_ALL
        self._with_stranger = self.dialled and local.full_state.is_stranger(remote)

    @property
    def my_turn(self) -> bool:
        """Whether `frames` is to be sent now."""
        return bool(self._turns) and self._turns[0] in (_Turn.GREET, _Turn.SPEAK)

    @property
    def sealed(self) -> bool:
        """Whether the packets of this conversation are sealed."""
        return self._channel.sealed

    @property
    def finished(self) -> bool:
        """Whether the conversation is over; close the stream."""
        return not self._turns

    def frames(self) -> Iterator[bytes]:
        """This half's turn, piece by piece. Send each before asking for the next."""
        if self._turns[0] is _Turn.GREET:
            yield self._channel.greeting
            del self._turns[0]
            return
        if self.dialled and not self._opened:
            yield self._channel.greeting
        gathered: list[bytes] = []
        size = 0
        for encoded in map(encode_message, self._speak()):
            if gathered and size + len(encoded) > _GATHER_BYTES:
                yield self._frame(gathered)
                gathered, size = [], 0
            gathered.append(encoded)
            size += len(encoded)
        if size > _GATHER_BYTES:
            yield self._frame(gathered)
            gathered = []
        yield self._frame([*gathered, encode_message(Done())])
        del self._turns[0]

    def feed(self, received: bytes, now: float) -> None:
        """Take bytes from the other half, and all that they say.

        Raises:
            WireError: they are not what the protocol allows; close the stream.
        """
        self.take(received)
        while self.step(now):
            pass

    def take(self, received: bytes) -> None:
        """Take bytes from the other half; call `step` then, until it has nothing to do.

        Raises:
            WireError: they are more than the protocol allows; close the stream.
        """
        self._reader.feed(received)

    def step(self, now: float) -> bool:
        """Hear one more message, or open one more frame. Returns whether there was one.

        Raises:
            WireError: it is not what the protocol allows; close the stream.
        """
        if self._unheard:
            self._hear(*self._unheard.popleft(), now)
            return True
        if not self.greeted and not self._take_greeting():
            return False
        if self.dialled and (refusal := self._reader.refusal()) is not None:
            self.refusal = refusal
            self._turns.clear()
            return False
        payload = self._reader.payload()
        if payload is None:
            return False
        self._check_turn("the other half spoke out of turn")
        self._open(decode_packet(self._channel.unwrap(payload), FRAME_MAX_BYTES), now)
        return True

    # Hearing

    def _take_greeting(self) -> bool:
        greeting = self._reader.greeting()
        if greeting is None:
            return False
        self._channel.greet(greeting)
        self.greeted = True
        if self.dialled:
            del self._turns[0]
        return True

    def _open(self, packet: Packet, now: float) -> None:
        if packet.sender == self._local.name:
            self._refuse_own_name()
            return
        if self.peer not in (None, packet.sender):
            raise WireError(Rejection.ORDER, "the sender changed")
        if self.peer is None and self.dialled:
            self._local.prove(packet.sender, self.remote, packet.epoch, now)
        self.peer = packet.sender
        self._unheard.extend((message, packet.sender) for message in packet.messages)

    def _hear(self, message: Message, sender: str, now: float) -> None:
        self._check_turn("something was said after the end of a turn")
        if self._transfer.has_records and not isinstance(message, Record):
            # An initiator knows the other half by the address that it dialled, a responder by its name only.
            stranger = self._with_stranger if self.dialled else self._local.full_state.is_stranger(sender)
            self._transfer.merge(now, stranger=stranger)
        handler = self._handlers.get(type(message))
        if handler is None:
            self._local.hear(message, sender, self.remote, now)
        else:
            handler(self, message, sender, now)

    def _refuse_own_name(self) -> None:
        """The other half has this node's name. It dialled, so it ends the conversation once it hears this name."""
        if self.dialled:
            raise WireError(Rejection.SELF, "this node dialled itself, or another has its name")
        self._reader.discard()
        self._turns = [_Turn.SPEAK]

    def _check_turn(self, problem: str) -> None:
        if self.my_turn or self.finished:
            raise WireError(Rejection.ORDER, problem)

    def _hear_ping(self, ping: Ping, sender: str, now: float) -> None:
        _check_alone(self._replies)
        if ping.target == self._local.name:
            self._replies.append(Ack(ping.number))

    def _hear_user_message(self, message: UserMessage, sender: str, now: float) -> None:
        _check_alone(self._replies)
        self._local.hear(message, sender, self.remote, now)
        self._replies.append(Ack(0))

    def _hear_key_order(self, order: KeyOrder, sender: str, now: float) -> None:
        _check_alone(self._replies)
        if not self._channel.sealed:
            raise WireError(Rejection.SEAL, "keys are spoken of over sealed streams only")
        self._replies.append(self._local.carry_out(order))

    def _hear_answer(self, answer: Ack | KeyReport, sender: str, now: float) -> None:
        _check_alone(self.answers)
        self.answers.append(answer)

    def _end_turn(self, done: Done, sender: str, now: float) -> None:
        del self._turns[0]
        if self._replies:  # a short question has a short answer, and then the conversation is over
            del self._turns[1:]

    # What a conversation does with which message; messages that are not listed concern the node.
    _OF_ALL: ClassVar[_Handlers] = {
        Done: _end_turn,
        Record: lambda self, record, *_: self._transfer.hear_record(record),
        Pull: lambda self, pull, *_: self._transfer.hear_pull(pull),
        Entries: lambda self, entries, _, now: self._transfer.hear_entries(entries, now),
        Chunk: lambda self, chunk, _, now: self._transfer.hear_chunk(chunk, now),
    }
    _OF_QUESTIONS: ClassVar[_Handlers] = {**_OF_ALL, Ack: _hear_answer, KeyReport: _hear_answer}
    _OF_RESPONDERS: ClassVar[_Handlers] = {
        **_OF_ALL,
        Ping: _hear_ping,
        UserMessage: _hear_user_message,
        KeyOrder: _hear_key_order,
    }

    # Speaking

    def _speak(self) -> Iterator[Message]:
        if self.purpose is None:
            yield from self._replies
            yield from self._transfer.answer()
        elif not self._opened:
            self._opened = True
            yield from self._opening
            yield from self._transfer.opening()
        else:
            yield from self._transfer.closing()

    def _frame(self, messages: Sequence[bytes]) -> bytes:
        return frame(self._channel.wrap(self._local.outbox.packet(messages)))


def _check_alone(before: Sequence[Message]) -> None:
    if before:
        raise WireError(Rejection.ORDER, "one question and one answer are all of a conversation")
