"""Leaving: a goodbye that enough members confirm, so that none takes it for a failure."""

from typing import Final

from ..context import Context
from ..messages import Ack, Ping
from ..timers import Timer
from .member import State
from .own_record import OwnRecord
from .statements import statement

_RECIPIENTS_MIN: Final = 8
"""Members that are told directly, at least; more where more get additions directly. Rumours do the rest."""


class Farewell:
    """The goodbye of one node.

    Args:
        context: the node's parts.
        own: this node's record.
    """

    def __init__(self, context: Context, own: OwnRecord) -> None:
        self._context = context
        self._own = own
        self._unconfirmed: dict[int, str] = {}
        context.timers.register(Timer.FAREWELL, self._tell)

    @property
    def confirmed(self) -> bool:
        """Whether this node has left, and all those that were told directly have confirmed it."""
        return self._own.me.state is State.LEFT and not self._unconfirmed

    def begin(self, now: float) -> None:
        """Record that this node leaves, and tell."""
        self._own.leave()
        count = max(_RECIPIENTS_MIN, self._context.config.direct_members_max)
        recipients = self._context.members.sample(count, lambda member: member.live)
        self._unconfirmed = {self._context.rng.getrandbits(32): member.name for member in recipients}
        self._tell(now)

    def confirm(self, ack: Ack, sender: str) -> bool:
        """Take an answer. Returns whether it confirms the goodbye."""
        if self._unconfirmed.get(ack.number) != sender:
            return False
        del self._unconfirmed[ack.number]
        return True

    def _tell(self, now: float) -> None:
        """Tell those that have not confirmed it yet; the `Ack` of the ping beside the goodbye is the confirmation."""
        goodbye = statement(self._own.me, self._own.name)
        for number, name in list(self._unconfirmed.items()):
            member = self._context.members.get(name)
            if member is None or not member.live:
                del self._unconfirmed[number]
            else:
                self._context.outbox.send(member.address, [goodbye, Ping(number, name)])
        if self._unconfirmed:
            self._context.timers.set(Timer.FAREWELL, now + self._context.config.probe_timeout_s)
