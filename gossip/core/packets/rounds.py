"""Rounds of rumours: from time to time, and at once when there is something new, packets of nothing else."""

from typing import Final

from ..context import Context
from ..membership.member import State
from ..timers import Timer

_ROUND_GAP_S: Final = 0.01
"""Seconds between two rounds at least, however fresh the rumours are: news that come together share a packet."""


class RumourRounds:
    """The rounds of one node.

    Args:
        context: the node's parts.
        now: monotonic time, s.
    """

    def __init__(self, context: Context, now: float) -> None:
        self._context = context
        self._round_at = now - _ROUND_GAP_S
        context.timers.register(Timer.GOSSIP, self._round)

    def hasten(self, now: float) -> None:
        """Bring the next round forward."""
        self._context.rumours.fresh = False
        self._context.timers.bring_forward(Timer.GOSSIP, max(now, self._round_at + _ROUND_GAP_S))

    def _round(self, now: float) -> None:
        """Send rumours to some members, those lately dead included, for they may want to refute."""
        self._round_at = now
        config, context = self._context.config, self._context
        dead_since = now - config.gossip_to_dead_s
        targets = context.members.sample(
            config.gossip_fanout,
            lambda member: member.live or (member.state is State.DEAD and member.changed_at >= dead_since),
        )
        for target in targets:
            if not context.outbox.send_rumours(target.address):
                break
        if context.rumours and targets:
            context.timers.set(Timer.GOSSIP, now + config.gossip_interval_s)
