"""What follows from a failure: one table, by reason.

A fetch leaves a member alone for a while, the whole node may leave it alone for longer, and upstream may be asked once
more. The durations are in seconds.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ..errors import Reason


@dataclass(frozen=True, slots=True)
class Consequence:
    """What follows from one failure of one source.

    Args:
        rest_s: for how long the fetch that saw it does not ask the member again, s; infinite: never. 30 s unless the
            reason tells more: longer than most fetches take, so they do without the member.
        node_rest_s: for how long all fetches of this node ask the member as the last resort alone, s.
        homes_rest: whether that holds for a member that was asked as a home, too.
        out_of_reach: whether the source gave no sign of life. Then the node leaves a member alone until it gives one.
        retried: whether a fetch may ask upstream again, a few times.
        is_failure: whether it is logged, counted and remembered; else it is an answer that the protocol provides for.
    """

    rest_s: float = 30.0
    node_rest_s: float = 0.0
    homes_rest: bool = True
    out_of_reach: bool = False
    retried: bool = False
    is_failure: bool = True


CONSEQUENCES: Final[Mapping[Reason, Consequence]] = {
    Reason.UNREACHABLE: Consequence(out_of_reach=True),
    Reason.TIMEOUT: Consequence(out_of_reach=True, retried=True),
    Reason.STALLED: Consequence(out_of_reach=True, retried=True),
    # It is the last resort while it is silent. Then it is found alive, or out of reach.
    Reason.SILENT: Consequence(rest_s=1.0),
    Reason.MISSING: Consequence(rest_s=math.inf),
    # A holder that refuses even homes is at its bound of transfers: it can serve again as soon as one of them ends.
    Reason.BUSY: Consequence(rest_s=0.25, is_failure=False),
    Reason.UNKNOWN: Consequence(rest_s=math.inf),
    # As long as one try of upstream takes: asked sooner, a home would answer the same.
    Reason.UNABLE: Consequence(rest_s=5.0),
    # A home learns within a second or two that the registry is back. Upstream itself is asked again after a second.
    Reason.OUTAGE: Consequence(rest_s=5.0),
    Reason.RATE_LIMITED: Consequence(rest_s=5.0),
    Reason.WHOLE: Consequence(rest_s=5.0, retried=True, is_failure=False),
    Reason.STATUS: Consequence(retried=True),
    Reason.LENGTH: Consequence(),
    # Whoever sends another range than was asked for will do so again: it speaks another version, or means harm.
    Reason.RANGE: Consequence(node_rest_s=30.0),
    # A holder breaks off where its own copy turns out damaged, and can send everything else. One whose process has gone
    # is out of reach at the next try. A home breaks off when upstream breaks off, which says nothing of other content.
    Reason.BROKEN: Consequence(node_rest_s=1.0, homes_rest=False, retried=True),
    # Keys that are changed reach all nodes within seconds; else it stays so until an operator does something.
    Reason.UNPROVEN: Consequence(node_rest_s=5.0),
    Reason.CORRUPT: Consequence(),
    Reason.AUTH: Consequence(),
    Reason.FORBIDDEN: Consequence(),
    Reason.DISK: Consequence(),
}
