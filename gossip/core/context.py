"""What the parts of one node have in common."""

import enum
import random
from dataclasses import dataclass, field

from .allow import AllowList
from .awareness import Awareness
from .config import GossipConfig
from .deadlines import Deadlines
from .delegate import Delegate
from .events import Event
from .members import Members
from .outbox import Outbox
from .rumours import Rumours


class Timer(enum.Enum):
    """What a deadline is for; SUSPICION, FORGET and STEADY are per member."""

    PROBE = "probe"
    RELAY = "relay"
    GOSSIP = "gossip"
    PUBLISH = "publish"
    FETCH = "fetch"
    MURMUR = "murmur"
    SYNC = "sync"
    HEAL = "heal"
    FAREWELL = "farewell"
    SUSPICION = "suspicion"
    FORGET = "forget"
    STEADY = "steady"


TimerName = tuple[Timer, str]


@dataclass(slots=True)
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
        deadlines: everything that happens by time.
        events: for the application.
    """

    config: GossipConfig
    rng: random.Random
    members: Members
    rumours: Rumours
    outbox: Outbox
    awareness: Awareness
    delegate: Delegate
    allowed: AllowList
    deadlines: Deadlines[TimerName] = field(default_factory=Deadlines)
    events: list[Event] = field(default_factory=list)

    def emit(self, event: Event) -> None:
        """Tell the application."""
        self.events.append(event)
