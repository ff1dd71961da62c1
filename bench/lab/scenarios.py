"""The scenarios: in what order the clients pull, and what happens meanwhile."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from testbed.images import Image

from ..report import BenchError
from .clients import Crowd
from .scene import Outcome, Scene

SLOW_SHARE: Final = 0.1
ROLLING_SHARE: Final = 0.2


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario.

    Args:
        name: on the command line.
        what: happens in it, for the table's title.
        play: makes it happen; what is measured begins and ends with it.
        alone: what is done when the first node is the only one that was started; without it, all start together.
        prepare: what is done when all have started.
        upstream_counts: whether upstream's link can be the narrowest on the way.
        needs_mirror: whether it makes sense only where something between the clients and upstream keeps content.
    """

    name: str
    what: str
    play: Callable[[Scene, Crowd], Outcome]
    alone: Callable[[Scene, Crowd, Image], None] | None = None
    prepare: Callable[[Scene, Image], None] | None = None
    upstream_counts: bool = True
    needs_mirror: bool = False


def _fanout(scene: Scene, crowd: Crowd) -> Outcome:
    crowd.go(scene.clients)
    crowd.until_ended(scene.clients)
    return Outcome(scene.clients)


def _rolling(scene: Scene, crowd: Crowd) -> Outcome:
    size = math.ceil(len(scene.clients) * ROLLING_SHARE)
    batches = [scene.clients[start : start + size] for start in range(0, len(scene.clients), size)]
    for batch in batches:
        crowd.go(batch)
        crowd.until_ended(batch)
    return Outcome(scene.clients, batches=batches)


def _late(scene: Scene, crowd: Crowd) -> Outcome:
    middle = math.ceil(len(scene.clients) / 2)
    early, late = scene.clients[:middle], scene.clients[middle:]
    crowd.go(early)
    crowd.until_half(early)
    crowd.go(late)
    crowd.until_ended(scene.clients)
    return Outcome(scene.clients, late=late)


def _kill(scene: Scene, crowd: Crowd) -> Outcome:
    crowd.go(scene.clients)
    crowd.until_half(scene.clients)
    victim = scene.mode.busiest()
    if victim is None:  # there is none to kill: shown for comparison
        crowd.until_ended(scene.clients)
        return Outcome(scene.clients)
    lost = scene.mode.kill(victim)
    own = crowd.of(victim)
    counted = [client for client in scene.clients if client is not own]
    crowd.until_ended(counted)
    crowd.until_ended([own])
    return Outcome(counted, killed=victim, lost=lost)


def _slow(scene: Scene, crowd: Crowd) -> Outcome:
    crowd.go(scene.clients)
    crowd.until_ended(scene.clients)
    return Outcome(scene.clients[1:], apart=scene.clients[:1])


def _make_slow(scene: Scene, image: Image) -> None:
    """The first node sends with a tenth of its link; what it receives is not limited any further."""
    scene.nodes[0].limit_sent(round(scene.link_bits * SLOW_SHARE))


def _lonely(scene: Scene, crowd: Crowd) -> Outcome:
    others = scene.clients[1:]
    crowd.go(others)
    crowd.until_ended(others)
    return Outcome(others)


def _give_to_one(scene: Scene, crowd: Crowd, image: Image) -> None:
    """Let the first node, or the cache, pull everything, then stop upstream. Other agents would have taken pieces."""
    first = scene.clients[0]
    crowd.go([first])
    crowd.until_ended([first])
    if first.pull is None or first.pull.errors:
        raise BenchError(f"the first node could not pull: {first.pull and first.pull.errors[0]}")
    scene.mode.until_found(scene.nodes[0], image)
    scene.upstream.kill()


def _until_found(scene: Scene, image: Image) -> None:
    scene.mode.until_found(scene.nodes[0], image)


SCENARIOS: Final[Mapping[str, Scenario]] = {
    scenario.name: scenario
    for scenario in (
        Scenario("fanout", "all at once", _fanout),
        Scenario("rolling", "20 % of them at a time", _rolling),
        Scenario("late", "the second half when the first has half of it", _late),
        Scenario("kill", "the busiest process killed at half time", _kill),
        Scenario("slow", "one sends with a tenth of its link", _slow, prepare=_make_slow),
        Scenario(
            "lonely", "one has it, and upstream is gone", _lonely, alone=_give_to_one, prepare=_until_found,
            upstream_counts=False, needs_mirror=True,
        ),
    )
}  # fmt: skip
