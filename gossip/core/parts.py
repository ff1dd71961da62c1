"""The parts of a node that messages are handed to, and that its view reads."""

from dataclasses import dataclass

from .application.broadcasts import Broadcasts
from .directory.dissemination import Dissemination
from .membership.farewell import Farewell
from .membership.flaps import Flaps
from .membership.introductions import Introductions
from .membership.name_conflict import NameConflicts
from .membership.own_record import OwnRecord
from .membership.probe import Prober
from .membership.updates import Membership


@dataclass(frozen=True, slots=True)
class Parts:
    """Made by the node, which keeps them together.

    Args:
        own: this node's record.
        membership: what is believed of other members.
        introductions: those who have yet to answer before they are believed.
        prober: finds those that failed.
        farewell: this node's goodbye.
        conflicts: others with this node's name.
        flaps: members that come and go.
        dissemination: everybody's filters.
        broadcasts: rumours of applications.
    """

    own: OwnRecord
    membership: Membership
    introductions: Introductions
    prober: Prober
    farewell: Farewell
    conflicts: NameConflicts
    flaps: Flaps
    dissemination: Dissemination
    broadcasts: Broadcasts
