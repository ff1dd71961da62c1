"""The scenarios: in what order the clients pull, and what happens meanwhile."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from testbed.images import Image
from testbed.processes import wait_until

from ..report import BenchError
from .clients import Crowd
from .scene import Outcome, Scene
from .servers import UPSTREAM, keys_of

SLOW_SHARE: Final = 0.1
ROLLING_SHARE: Final = 0.2

_KNOWN_WITHIN_S: Final = 15.0
"""How long gossip may take to tell all agents what one holds, or a cache to store the image, seconds."""


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
        modes: in which it makes sense.
    """

    name: str
    what: str
    play: Callable[[Scene, Crowd], Outcome]
    alone: Callable[[Scene, Crowd, Image], None] | None = None
    prepare: Callable[[Scene, Image], None] | None = None
    upstream_counts: bool = True
    modes: tuple[str, ...] = ("skvaller", "direct", "pullthrough")


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
    if not scene.agents:  # without agents there is none to kill: shown for comparison
        crowd.until_ended(scene.clients)
        return Outcome(scene.clients)
    victim = scene.agents[_busiest(scene)]
    lost = victim.usage()
    victim.kill()
    own = crowd.of(victim.name)
    counted = [client for client in scene.clients if client is not own]
    crowd.until_ended(counted)
    crowd.until_ended([own])
    return Outcome(counted, killed=victim.name, lost=lost)


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
    if scene.proxy is not None:
        proxy = scene.proxy
        wait_until(lambda: proxy.stored(*image.digests), "the cache to store everything", _KNOWN_WITHIN_S)
    scene.upstream.kill()


def _until_found(scene: Scene, image: Image) -> None:
    if scene.agents:
        known = "the others to know what the first node holds"
        wait_until(lambda: _found_by_all(scene, image), known, _KNOWN_WITHIN_S)


def _found_by_all(scene: Scene, image: Image) -> bool:
    """Whether all agents know as many keys of the holder as it has."""
    holder = scene.nodes[0].name
    keys = [keys_of(agent, holder) for agent in scene.agents.values()]
    return keys[0] > len((image.config, *image.layers)) and len(set(keys)) == 1


def _busiest(scene: Scene) -> str:
    """The agent that has fetched most from upstream and served most to others."""
    received = scene.sources()
    moved = dict.fromkeys(scene.agents, 0)
    for name, sources in received.items():
        for source, count in sources.items():
            moved[name if source == UPSTREAM else source] += count
    return max(moved, key=lambda name: moved[name])


SCENARIOS: Final[Mapping[str, Scenario]] = {
    scenario.name: scenario
    for scenario in (
        Scenario("fanout", "all at once", _fanout),
        Scenario("rolling", "20 % of them at a time", _rolling),
        Scenario("late", "the second half when the first has half of it", _late),
        Scenario("kill", "the busiest agent killed at half time", _kill),
        Scenario("slow", "one sends with a tenth of its link", _slow, prepare=_make_slow),
        Scenario(
            "lonely", "one has it, and upstream is gone", _lonely, alone=_give_to_one, prepare=_until_found,
            upstream_counts=False, modes=("skvaller", "pullthrough"),
        ),
    )
}  # fmt: skip
