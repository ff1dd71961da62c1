"""Clients pull, in one order or another, and all that runs goes on running."""

import math
from typing import Final

from testbed.images import Image

from ...report import BenchError
from ..clients import Crowd
from ..scene import Outcome, Scene
from .scenario import Needs, Scenario

SLOW_SHARE: Final = 0.1
ROLLING_SHARE: Final = 0.2


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
    """Let the first node, or the cache, pull everything, then stop upstream."""
    first = scene.clients[0]
    crowd.go([first])
    crowd.until_ended([first])
    if first.pull is None or first.pull.errors:
        raise BenchError(f"the first node could not pull: {first.pull and first.pull.errors[0]}")
    scene.mode.until_found(scene.nodes[0], image)
    scene.upstream.kill()


def _until_found(scene: Scene, image: Image) -> None:
    scene.mode.until_found(scene.nodes[0], image)


PULLS: Final = (
    Scenario("fanout", "all at once", _fanout),
    Scenario("rolling", "20 % of them at a time", _rolling),
    Scenario("late", "the second half when the first has half of it", _late, nodes_least=2),
    Scenario("slow", "one sends with a tenth of its link", _slow, prepare=_make_slow, nodes_least=2),
    Scenario(
        "lonely", "one has it, and upstream is gone", _lonely, first=_give_to_one, prepare=_until_found,
        upstream_counts=False, needs=Needs.MIRROR, nodes_least=2,
    ),
)  # fmt: skip
