"""What all parts of one node share."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from .application.delegate import Delegate
from .config import GossipConfig
from .events import Event
from .membership.awareness import Awareness
from .membership.table import MemberTable
from .packets.allow import AllowList
from .packets.outbox import Outbox
from .packets.rumours import Rumours
from .timers import Timers


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of a node that its other parts share.

    Args:
        config: settings.
        rng: all chance of the node.
        members: the table, without the node itself.
        rumours: news that rides on packets.
        outbox: datagrams to send.
        awareness: how much the node doubts itself.
        delegate: the application.
        allowed: which addresses may take part.
        draw: gives the number of a question, 32 bits that nobody can guess: only who sees the question can answer it.
        timers: everything that happens by time.
    """

    config: GossipConfig
    rng: random.Random
    members: MemberTable
    rumours: Rumours
    outbox: Outbox
    awareness: Awareness
    delegate: Delegate
    allowed: AllowList
    draw: Callable[[], int]
    timers: Timers = field(default_factory=Timers)
    _events: list[Event] = field(default_factory=list, init=False)

    def emit(self, event: Event) -> None:
        """Tell the application."""
        self._events.append(event)

    def drain_events(self) -> list[Event]:
        """All events since the last call."""
        if not self._events:  # after most calls
            return []
        events = self._events.copy()
        self._events.clear()
        return events
