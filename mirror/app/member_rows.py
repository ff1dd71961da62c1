"""Members as people see them: each with its state, what that means, and how fast it sends to this node."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from ..cluster.health import Trouble
from ..images.tag_trust import Contradiction
from ..routers import MemberStatus, Serves

STATES: Final = {
    "alive": "it answers",
    "suspect": "it has not answered; within seconds it is known whether it is gone",
    "dead": "it does not answer, and nobody asks it until it is back",
    "left": "it was stopped in order",
}
"""What the states of members mean, by their names."""
TROUBLES: Final = {
    Trouble.BANNED: "it is proven that it sent wrong bytes: this node asks it for nothing, for some minutes",
    Trouble.OUT_OF_REACH: "its peer endpoint does not answer this node, which asks it for a sign of life",
    Trouble.SILENT: "it owes this node an answer: others are asked as well",
    Trouble.RESTS: "it failed a moment ago: this node asks it only where nobody else can be asked",
}
"""What it means that this node does not ask a member."""
_FLAPPING: Final = "it died and came back several times: lookups leave it out until it has stayed for a while"
_HOMES: Final = {
    Serves.NEW: "it is new: while most are older, it fetches nothing from registries for others",
    Serves.NO: "it fetches nothing from registries for others",
}


def member_row(
    status: MemberStatus,
    contradiction: Contradiction | None,
    trouble: Trouble | None,
    pace: Callable[[str], float],
) -> dict[str, Any]:
    """A member as it goes into JSON.

    Args:
        status: as the router knows it.
        contradiction: what it said of a tag against upstream, while it is asked about none for that.
        trouble: why this node does not ask it for content now; None if it does.
        pace: what came from a member lately, bytes per second.
    """
    return {
        "name": status.peer.name,
        "state": status.state,
        "peer": status.peer.url,
        "keys": status.keys,
        "itself": status.itself,
        "flapping": status.flapping,
        "home": status.home,
        "rtt_ms": None if status.rtt_s is None else round(1000 * status.rtt_s, 2),
        "contradicts": contradiction and _contradiction_row(contradiction),
        "trouble": trouble,
        "pace": round(pace(status.peer.name)),
        "means": _meaning(status, trouble),
    }


def _meaning(status: MemberStatus, trouble: Trouble | None) -> str:
    """The state of a member in words."""
    if status.state != "alive":
        return STATES.get(status.state, "")
    words = ["it is this node" if status.itself else STATES["alive"]]
    if trouble is not None:
        words = [TROUBLES[trouble]]
    if status.flapping:
        words.append(_FLAPPING)
    if status.home in _HOMES:
        words.append(_HOMES[status.home])
    return "; ".join(words)


def _contradiction_row(contradiction: Contradiction) -> Mapping[str, Any]:
    return {
        "tag": str(contradiction.reference),
        "says": str(contradiction.said),
        "upstream": str(contradiction.upstream),
        "ignored_s": round(max(0.0, contradiction.until - time.monotonic())),
    }
