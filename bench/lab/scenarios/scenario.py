"""What a scenario is."""

import enum
from collections.abc import Callable
from dataclasses import dataclass

from testbed.images import Image

from ..clients import Crowd
from ..scene import Outcome, Scene


class Needs(enum.Enum):
    """Where a scenario makes sense."""

    NOTHING = enum.auto()
    """Everywhere; where nothing stands between the clients and upstream, it is shown for comparison."""
    MIRROR = enum.auto()
    """Where something between the clients and upstream keeps content."""
    DISCOVERY = enum.auto()
    """Where each host with a client has a process that finds what the others have."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario.

    Args:
        name: on the command line.
        what: happens in it, for the table's title.
        play: makes it happen; what is measured begins and ends with it.
        first: what is done before all else. Where nodes fetch for each other, only the first node has started by then.
        prepare: what is done next, when all have started.
        starts: whether `play` starts the nodes itself.
        pulls: whether the clients pull the image.
        upstream_counts: whether upstream's link can be the narrowest on the way.
        needs: where it makes sense.
        nodes_least: hosts with a client that it needs.
    """

    name: str
    what: str
    play: Callable[[Scene, Crowd], Outcome]
    first: Callable[[Scene, Crowd, Image], None] | None = None
    prepare: Callable[[Scene, Image], None] | None = None
    starts: bool = False
    pulls: bool = True
    upstream_counts: bool = True
    needs: Needs = Needs.NOTHING
    nodes_least: int = 1
