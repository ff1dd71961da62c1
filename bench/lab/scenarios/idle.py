"""Nobody pulls: what it costs to be there, with nothing to tell of, and with many keys."""

import statistics
import time
from collections.abc import Mapping
from typing import Final

from testbed.processes import proportional_bytes

from ...report import MIB
from ..clients import Crowd
from ..scene import Outcome, Scene
from .scenario import Needs, Scenario

_CALM_S: Final = 10.0
"""How long nothing happens before it is measured, seconds: what a start or new keys set off is over by then."""

_KEY_BYTES: Final = 512
"""Size of the content of each key."""

_KEY_S: Final = 0.3
"""How long a node may take for one key, seconds: each is a request, and all nodes share the cores of this machine."""


def _idle(scene: Scene, crowd: Crowd) -> Outcome:
    figures = dict(_calm(scene, ""))
    if scene.keys:
        _give_keys(scene)
        figures |= _calm(scene, "keys_")
        held = [count for node in scene.nodes if (count := scene.mode.key_count(node)) is not None]
        figures |= {"keys_held": statistics.median(held)} if held else {}
    return Outcome([], figures=figures)


def _calm(scene: Scene, prefix: str) -> Mapping[str, float]:
    """What each node sends and uses; medians and the most of all nodes."""
    time.sleep(_CALM_S)
    processes = {node.name: scene.mode.processes[node.name] for node in scene.nodes}
    began_at, before = time.monotonic(), scene.control()
    cpu_s = {name: process.usage().cpu_s for name, process in processes.items()}
    time.sleep(scene.watch_s)
    seconds, after = time.monotonic() - began_at, scene.control()
    flows = [after[name] - before[name] for name in processes]
    used = {name: process.usage() for name, process in processes.items()}
    per_node = {
        "idle_sent_bytes_per_s": [flow.sent.bytes / seconds for flow in flows],
        "idle_received_bytes_per_s": [flow.received.bytes / seconds for flow in flows],
        "idle_sent_packets_per_s": [flow.sent.packets / seconds for flow in flows],
        "idle_received_packets_per_s": [flow.received.packets / seconds for flow in flows],
        "idle_cpu_percent": [100 * (used[name].cpu_s - cpu_s[name]) / seconds for name in processes],
        "idle_rss_mib": [used[name].rss_bytes / MIB for name in processes],
        "idle_pss_mib": [proportional_bytes(process.pid) / MIB for process in processes.values()],
    }
    medians = {f"{prefix}{name}": statistics.median(values) for name, values in per_node.items()}
    return {**medians, **{f"{prefix}{name}_most": max(values) for name, values in per_node.items()}}


def _give_keys(scene: Scene) -> None:
    """Let each node pull an image of its own, which has as many small layers as there are to be keys."""
    sizes = [_KEY_BYTES] * scene.keys
    clients = [scene.client(node, scene.image(f"keys-{node.name}", sizes)) for node in scene.nodes]
    for client in clients:
        client.go()
    scene.finish(clients, more_s=_KEY_S * scene.keys * len(clients))


IDLE: Final = Scenario("idle", "nobody pulls", _idle, pulls=False, needs=Needs.DISCOVERY)
