"""Messages of the application: to one member in a datagram or over a stream, or to all as a rumour."""

from collections.abc import Callable
from typing import Final

from ..context import Context
from ..errors import ConfigError
from ..membership.own_record import OwnRecord
from ..membership.probe import Prober
from ..messages import UserMessage
from ..packets.codec import USER_MAX_BYTES, encode_message
from ..streams.conversations import Conversations
from ..streams.exchange import Exchange
from ..streams.purpose import Purpose
from .broadcasts import Broadcasts

_LENGTH_BYTES: Final = 2
"""Bytes that a payload's length takes beyond the head of an empty byte string. Source: RFC 8949 section 3."""


class Messaging:
    """What one node sends for its application.

    Args:
        context: the node's parts.
        own: this node's record.
        prober: sends pings.
        broadcasts: sends to all.
        conversations: opens streams.
        room_bytes: for messages in one datagram.
        after_input: called after what changed the queue of rumours.
    """

    def __init__(  # noqa: PLR0913 - the three ways in which messages go, and the node's own record
        self,
        context: Context,
        *,
        own: OwnRecord,
        prober: Prober,
        broadcasts: Broadcasts,
        conversations: Conversations,
        room_bytes: int,
        after_input: Callable[[float], None],
    ) -> None:
        self._context = context
        self._own = own
        self._prober = prober
        self._broadcasts = broadcasts
        self._conversations = conversations
        self._room_bytes = room_bytes
        self._after_input = after_input

    def send(self, name: str, payload: bytes, *, fill: bool = False) -> None:
        """Send a message to a member in one datagram, which may be lost.

        Args:
            name: of the member.
            payload: the message.
            fill: whether random bytes, which nothing compresses, follow it until the datagram is as large as any that
                this node sends.

        Raises:
            ConfigError: it does not fit a datagram; the message says what does.
            StateError: there is no such member, or this node has left.
        """
        self._own.check_present()
        target = self._context.members.known(name)
        room = self._room_bytes - len(encode_message(UserMessage(b""))) - _LENGTH_BYTES
        if len(payload) > room:
            raise ConfigError(f"a message of {len(payload)} bytes does not fit a datagram, {room} do; send it reliably")
        filling = self._context.rng.randbytes(room - len(payload)) if fill else b""
        self._context.outbox.send(target.address, [UserMessage(payload + filling)])

    def send_reliably(self, name: str, payload: bytes) -> Exchange:
        """A conversation that delivers a message to a member; its `answers` are not empty if it did.

        Raises:
            ConfigError: the message is longer than 1 MiB.
            StateError: there is no such member, or this node has left.
        """
        self._own.check_present()
        if len(payload) > USER_MAX_BYTES:
            raise ConfigError(f"a message has at most {USER_MAX_BYTES} bytes, not {len(payload)}")
        target = self._context.members.known(name)
        return self._conversations.open(target.address, Purpose.MESSAGE, UserMessage(payload))

    def broadcast(self, payload: bytes, now: float) -> None:
        """Send a message to all members, as a rumour: almost all get it, and none gets it twice.

        Raises:
            ConfigError: it is longer than 512 bytes, or than what fits a datagram.
            StateError: this node has left.
        """
        self._own.check_present()
        self._broadcasts.send(payload, self._own.me.epoch)
        self._after_input(now)

    def ping(self, name: str, now: float) -> int:
        """Ask a member for an answer. Returns the number that the `Answered` event will bear, if there is one.

        Raises:
            StateError: there is no such member.
        """
        return self._prober.ping(self._context.members.known(name), now)
