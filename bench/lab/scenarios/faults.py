"""All clients pull, and something fails while they do: the same in every mode that has what fails."""

import itertools
import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from ..clients import Client, Crowd
from ..scene import Outcome, Scene
from ..turns import bounded, until
from .scenario import Needs, Scenario

if TYPE_CHECKING:
    from testbed.processes import Usage

_DARK_S: Final = 10.0
"""How long the line to upstream is cut, seconds: longer than a stall that everybody sits out."""

_DIVIDED_S: Final = 15.0
"""How long a network stays divided at least, seconds: members have given each other up by then."""

_CHURN_UP_S: Final = 2.0
_CHURN_DOWN_S: Final = 1.0
"""One process after the other runs for so long, seconds, is killed, and starts again after so long."""


def _kill(scene: Scene, crowd: Crowd) -> Outcome:
    crowd.go(scene.clients)
    crowd.until_half(scene.clients)
    victim = scene.mode.busiest()
    if victim is None:  # there is none to kill: shown for comparison
        crowd.until_ended(scene.clients)
        return Outcome(scene.clients)
    lost = {victim: [scene.mode.kill(victim)]}
    fault_at = time.monotonic()
    own, counted = _parted(scene, victim)
    crowd.until_ended(counted)
    crowd.until_ended(own)
    return Outcome(counted, gone=[victim], lost=lost, fault_at=fault_at)


def _vanish(scene: Scene, crowd: Crowd) -> Outcome:
    """No packet comes back from the host: neither an answer nor a refusal."""
    crowd.go(scene.clients)
    crowd.until_half(scene.clients)
    victim = scene.mode.busiest()
    if victim is None:
        crowd.until_ended(scene.clients)
        return Outcome(scene.clients)
    own, counted = _parted(scene, victim)
    with scene.network.hosts[victim].away():
        fault_at = time.monotonic()
        crowd.until_ended(counted)
    crowd.until_ended(own)
    return Outcome(counted, gone=[victim], fault_at=fault_at)


def _dark(scene: Scene, crowd: Crowd) -> Outcome:
    """What the nodes have when the line comes back is what they had already, or had brought to each other."""
    crowd.go(scene.clients)
    crowd.until_half(scene.clients)
    with scene.mode.site.upstream.away():
        time.sleep(_DARK_S)
        had = [came / scene.image_bytes for came in crowd.came(scene.clients)]
    back_at = time.monotonic()
    crowd.until_ended(scene.clients)
    figures = {"dark_s": _DARK_S, "dark_share_least": had[0], "dark_share_most": had[-1]}
    return Outcome(scene.clients, fault_at=back_at, figures=figures)


def _partition(scene: Scene, crowd: Crowd) -> Outcome:
    """Both halves reach upstream, or the cache."""
    crowd.go(scene.clients)
    crowd.until_half(scene.clients)
    middle = math.ceil(len(scene.nodes) / 2)
    with scene.network.divided(scene.nodes[:middle], scene.nodes[middle:]):
        fault_at = time.monotonic()
        crowd.until_ended(scene.clients)
        time.sleep(max(0.0, fault_at + _DIVIDED_S - time.monotonic()))
    figures = _healed(scene) if scene.mode.knows_others else {}
    return Outcome(scene.clients, gone=[node.name for node in scene.nodes], fault_at=fault_at, figures=figures)


def _healed(scene: Scene) -> Mapping[str, float]:
    """How long it takes until all know all again."""
    healed_at, names = time.monotonic(), {node.name for node in scene.nodes}
    whole = until(lambda: all(scene.mode.known_by(node) >= names for node in scene.nodes), scene.watch_s)
    return bounded("healed_s", time.monotonic() - healed_at, scene.watch_s, reached=whole)


def _churn(scene: Scene, crowd: Crowd) -> Outcome:
    """The second half of the nodes come and go, and their clients do nothing."""
    middle = math.ceil(len(scene.nodes) / 2)
    counted, restless = scene.clients[:middle], scene.nodes[middle:]
    lost: dict[str, list[Usage]] = {}
    crowd.go(counted)
    kills = 0
    for node in itertools.cycle(restless):
        if crowd.ended_within(counted, _CHURN_UP_S):
            break
        lost.setdefault(node.name, []).append(scene.mode.kill(node.name))
        kills += 1
        crowd.ended_within(counted, _CHURN_DOWN_S)
        scene.mode.launch(node, scene.stack)
    crowd.until_ended(counted)
    gone = [node.name for node in restless]
    return Outcome(counted, gone=gone, lost=lost, figures={"kills": float(kills)})


def _parted(scene: Scene, victim: str) -> tuple[list[Client], list[Client]]:
    """The client of the host that fails, if it has one, and the others."""
    own = [client for client in scene.clients if client.host.name == victim]
    return own, [client for client in scene.clients if client not in own]


FAULTS: Final = (
    Scenario("kill", "the busiest process killed at half time", _kill, nodes_least=2),
    Scenario("vanish", "the host of the busiest process vanishes at half time", _vanish, nodes_least=2),
    Scenario("dark", f"the line to upstream is cut at half time, for {_DARK_S:.0f} s", _dark),
    Scenario("partition", "at half time one half of the nodes loses the other", _partition, nodes_least=2),
    Scenario(
        "churn", "one half pulls, and the others are killed and started again all the time", _churn,
        needs=Needs.DISCOVERY, nodes_least=2,
    ),
)  # fmt: skip
