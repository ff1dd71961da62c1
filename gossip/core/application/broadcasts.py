"""Messages of applications: datagrams to one, and rumours to all that are delivered once.

A broadcast is known by its origin, the run of that, and a number that counts up. It is passed on when it is new, as
often as any rumour. Nothing repairs what got lost: what must reach everybody belongs into the metadata, or is sent to
each member reliably.
"""

from dataclasses import dataclass, field
from typing import Final

from ..context import Context
from ..errors import ConfigError
from ..events import BroadcastReceived
from ..membership.member import Member
from ..messages import Broadcast, UserMessage
from ..packets.codec import BROADCAST_MAX_BYTES, U32_MAX, encode_message
from ..packets.replay import Window
from ..packets.rumours import Topic

_LENGTH_BYTES: Final = 2  # beyond what the head of an empty byte string takes. Source: RFC 8949 section 3


@dataclass(slots=True)
class _Heard:
    epoch: int
    window: Window = field(default_factory=Window)


class Post:
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

    def send(self, target: Member, payload: bytes) -> None:
        """Send a message to one, in a datagram.

        Raises:
            ConfigError: it does not fit.
        """
        room = self._room_bytes - len(encode_message(UserMessage(b""))) - _LENGTH_BYTES
        if len(payload) > room:
            raise ConfigError(f"a message of {len(payload)} bytes does not fit a datagram, {room} do; send it reliably")
        self._context.outbox.send(target.address, [UserMessage(payload)])

    def broadcast(self, payload: bytes, epoch: int) -> None:
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
        """Deliver what is new, and pass it on. Those that nobody here knows are not believed."""
        if self._context.members.get(broadcast.origin) is None:
            return
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
