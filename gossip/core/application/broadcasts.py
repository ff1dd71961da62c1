"""Messages of applications to all members: rumours that are delivered once.

A broadcast is known by its origin, the run of that, and a number that counts up. It is passed on when it is new, as
often as any rumour. Nothing repairs a loss: what must reach everybody belongs into the metadata, or is sent to each
member over a stream.
"""

from dataclasses import dataclass, field
from typing import Final

from ..context import Context
from ..errors import ConfigError
from ..events import BroadcastReceived
from ..messages import Broadcast
from ..packets.codec import BROADCAST_MAX_BYTES, U32_MAX, encode_message
from ..packets.replay import Window
from ..packets.rumours import Topic

_LENGTH_BYTES: Final = 2
"""Bytes that a payload's length takes beyond the head of an empty byte string. Source: RFC 8949 section 3."""


@dataclass(slots=True)
class _Heard:
    epoch: int
    window: Window = field(default_factory=Window)


class Broadcasts:
    """The broadcasts of one node, and which of others it has heard.

    Args:
        context: the node's parts.
        name: of this node.
        room_bytes: for messages in one datagram.
    """

    def __init__(self, context: Context, name: str, room_bytes: int) -> None:
        self._context = context
        self._name = name
        self._room_bytes = room_bytes
        self._number = 0
        self._heard: dict[str, _Heard] = {}

    def send(self, payload: bytes, epoch: int) -> None:
        """Send a message to all.

        Raises:
            ConfigError: it is too long.
        """
        head = encode_message(Broadcast(self._name, epoch, U32_MAX, b""))
        longest = min(BROADCAST_MAX_BYTES, self._room_bytes - len(head) - _LENGTH_BYTES)
        if len(payload) > longest:
            raise ConfigError(f"a broadcast has at most {longest} bytes, not {len(payload)}")
        self._pass_on(Broadcast(self._name, epoch, self._number, payload))
        self._number = (self._number + 1) & U32_MAX

    def hear(self, broadcast: Broadcast) -> None:
        """Deliver what is new, and pass it on."""
        if self._context.members.get(broadcast.origin) is None:
            return  # or a stranger could make this node remember any number of origins
        heard = self._heard.get(broadcast.origin)
        if heard is None or heard.epoch < broadcast.epoch:
            heard = self._heard[broadcast.origin] = _Heard(broadcast.epoch)
        if heard.epoch == broadcast.epoch and heard.window.admit(broadcast.number):
            self._context.emit(BroadcastReceived(broadcast.origin, broadcast.payload))
            self._pass_on(broadcast)

    def forget(self, name: str) -> None:
        """The member is no more."""
        self._heard.pop(name, None)

    def _pass_on(self, broadcast: Broadcast) -> None:
        slot = (broadcast.origin, broadcast.epoch, broadcast.number)
        self._context.rumours.add(Topic.USER, slot, encode_message(broadcast))
