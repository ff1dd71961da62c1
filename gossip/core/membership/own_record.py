"""This node's own record: what it states about itself, and how it refutes what others state.

Only the node itself raises its incarnation. What others say of it is never believed: it answers with a record of a
higher incarnation, or of a higher epoch where the incarnations of this one are exhausted or over.

Source: SWIM section 4.2.
"""

import math
from dataclasses import replace
from typing import Final

from ..context import Context
from ..errors import StateError
from ..events import Refuted
from ..messages import Alive, Left
from ..packets.codec import U32_MAX, U64_MAX
from .member import Member, State
from .statements import Statement, spread, statement

_RENEWAL_BITS: Final = 16
"""Bits of the random step to a newer epoch. Epochs are milliseconds, so that a step moves this node's by up to 65 s."""


class OwnRecord:
    """This node's record; `me` is its value now.

    Args:
        context: the node's parts.
        me: the record to start with.
    """

    def __init__(self, context: Context, me: Member) -> None:
        self._config = context.config
        self._rng = context.rng
        self._rumours = context.rumours
        self._awareness = context.awareness
        self._emit = context.emit
        self._renewed_at = -math.inf
        self.me = me
        self.name = me.name

    def check_present(self) -> None:
        """Raise if this node has left.

        Raises:
            StateError: it has.
        """
        if self.me.state is State.LEFT:
            raise StateError("this node has left the cluster")

    def announce(self) -> None:
        """Tell everybody this node's own record."""
        spread(self._rumours, statement(self.me, self.name))

    def update(self, metadata: bytes) -> None:
        """Change this node's metadata.

        Raises:
            StateError: this node has left.
        """
        self.check_present()
        if self.me.incarnation < U32_MAX:
            self._restate(self.me.epoch, self.me.incarnation + 1, metadata)
        else:
            self._restate(self.me.epoch + 1, 0, metadata)
        self.announce()

    def leave(self) -> None:
        """Record that this node says goodbye, and tell everybody."""
        self.me = replace(self.me, state=State.LEFT)
        self.announce()

    def hear(self, heard: Statement, now: float) -> None:
        """Refute what others say of this node; a run of its name that they hold for newer is overtaken."""
        me = self.me
        if me.state is State.LEFT or heard.epoch < me.epoch:
            return
        if heard.epoch > me.epoch or isinstance(heard, Left):
            self._renew(heard.epoch, now)
            return
        if heard.incarnation < me.incarnation:
            return
        if isinstance(heard, Alive) and heard.incarnation == me.incarnation and heard.address == me.address:
            return  # this node's own news, come back
        if heard.incarnation == U32_MAX:
            self._renew(heard.epoch, now)
            return
        self._restate(me.epoch, heard.incarnation + 1, me.metadata)
        self._awareness.add(1)
        self._emit(Refuted(self.me.incarnation))
        self.announce()

    def renew(self, now: float) -> None:
        """Go on as a new run, because others believe something of this one that it never said."""
        self.check_present()
        self._renew(self.me.epoch, now)

    def _renew(self, epoch: int, now: float) -> None:
        """Continue under a newer epoch, at most once a probe interval: another node of this name may do the same."""
        if now - self._renewed_at < self._config.probe_interval_s or epoch >= U64_MAX:
            return
        self._renewed_at = now
        # A random step: another run of this node, cut off, may have heard of the same epoch and gone on from it.
        step = 1 + self._rng.getrandbits(_RENEWAL_BITS)
        self._restate(min(epoch + step, U64_MAX), 0, self.me.metadata)
        self.announce()

    def _restate(self, epoch: int, incarnation: int, metadata: bytes) -> None:
        self.me = replace(self.me, epoch=epoch, incarnation=incarnation, recorded=incarnation, metadata=metadata)
