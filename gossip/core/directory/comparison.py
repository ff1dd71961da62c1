"""Comparing views with other members, packet by packet: how a difference is noticed, and closed.

- A fingerprint that differs from this node's begins a comparison, at most one per `reconcile_interval_s`, and not while
  news is still on its way, unless that lasts.
- While its view changes, and two seconds longer, a node sends its fingerprint to a random member five times a second. A
  member that missed a rumour which all others have stopped sending finds out by that, not by the next ping.
"""

import math
from collections.abc import Iterable
from typing import Final

from ..context import Context
from ..membership.member import Address, Member
from ..messages import Buckets, Entries, Entry, Message, Pull
from ..timers import Timer
from .reconcile import Reconciler, Versions

_QUIET_S: Final = 0.05
"""Seconds without a change before views are compared: a packet's fingerprint may be older than news that just arrived
by another way."""
_PATIENCE_S: Final = 1.0
"""Seconds since the last comparison after which views are compared though they still change."""
_ANSWER_MAX: Final = 24
"""Messages in answer to one comparison or pull, some 32 KiB; the rest is for the next one."""
_FINGERPRINT_INTERVAL_S: Final = 0.2
"""Seconds between two fingerprints that are sent for their own sake."""
_FINGERPRINTS_FOR_S: Final = 2.0
"""Seconds for which they go on after the last change: ten random members then have compared this view with theirs."""


class Comparisons:
    """The comparisons of one node.

    Args:
        context: the node's parts.
        reconciler: knows what to say.
        versions: this node's view.
    """

    def __init__(self, context: Context, reconciler: Reconciler, versions: Versions) -> None:
        self._config = context.config
        self._members = context.members
        self._outbox = context.outbox
        self._timers = context.timers
        self._reconciler = reconciler
        self._versions = versions
        self._compared_at = self._changed_at = -math.inf
        self._timers.register(Timer.FINGERPRINT, self._send_fingerprint)

    def note_change(self, now: float) -> None:
        """This node's view changed, or is about to."""
        self._changed_at = now
        self._timers.bring_forward(Timer.FINGERPRINT, now + _FINGERPRINT_INTERVAL_S)

    def hear_fingerprint(self, fingerprint: bytes, member: Member, now: float) -> None:
        """A packet of a member bears the fingerprint of its view."""
        if fingerprint == self._versions.fingerprint:
            return
        since_s = now - self._compared_at
        quiet = now - self._changed_at >= _QUIET_S or since_s >= _PATIENCE_S
        if since_s < self._config.reconcile_interval_s or not quiet:
            return
        self._compared_at = now
        self._outbox.send(member.address, [self._reconciler.opening()])

    def hear_buckets(self, buckets: Buckets, sender: Address) -> None:
        """A member's view, coarsely."""
        answer = self._reconciler.answer_buckets(buckets)
        if answer is not None:
            self._outbox.send(sender, [answer])

    def hear_entries(self, entries: Entries, sender: Address) -> None:
        """A member's view, in part."""
        lacking = self._reconciler.lacking(entries)
        answer: list[Message] = [self._reconciler.pull(lacking)] if lacking else []
        answer += self._missing(self._reconciler.surplus(entries))
        if answer:
            self._outbox.send(sender, answer)

    def hear_pull(self, pull: Pull, sender: Address) -> None:
        """A member asks for what it lacks."""
        answer = self._missing(pull.entries)
        if answer:
            self._outbox.send(sender, answer)

    def _missing(self, entries: Iterable[Entry]) -> list[Message]:
        """What a member with these entries lacks, as far as one answer goes."""
        messages: list[Message] = []
        for entry in entries:
            messages += self._reconciler.give(entry)
            if len(messages) >= _ANSWER_MAX:
                break
        return messages[:_ANSWER_MAX]

    def _send_fingerprint(self, now: float) -> None:
        """Send an empty packet: it bears this node's fingerprint, as every packet does."""
        for member in self._members.sample(1, lambda member: member.live):
            self._outbox.send(member.address, [])
        if now - self._changed_at < _FINGERPRINTS_FOR_S:
            self._timers.set(Timer.FINGERPRINT, now + _FINGERPRINT_INTERVAL_S)
