"""What the parts of one node have in common."""

import enum
import random
from dataclasses import dataclass, field

from .application.delegate import Delegate
from .config import GossipConfig
from .events import Event
from .membership.awareness import Awareness
from .membership.member import Members
from .packets.allow import AllowList
from .packets.outbox import Outbox
from .packets.rumours import Rumours
from .timers import Deadlines


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
