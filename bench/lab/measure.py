"""Counters of the kernel and of the agents, read before, during and after a pull, and the figures made of them."""

import itertools
import os
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from testbed.counters import Flow
from testbed.network import Traffic

from ..report import GIB, MIB
from .modes import MEMBERS
from .results import Sample
from .scene import Outcome, Scene
from .servers import UPSTREAM, Accesses
from .times import times

_SAMPLE_S: Final = 0.5
"""Time between two samples, and between two looks at whether upstream still sends, seconds."""

_QUIET_BYTES: Final = 50_000
"""What upstream may send within that time and still count as quiet, bytes: gossip, and connections that are closed."""

_QUIET_WITHIN: Final = 5
"""How many ideal times the wait for that may take."""

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


class Sampler:
    """Notes twice a second how many bytes have come from which source, inside of `with`.

    The mode's processes are asked, or else the interfaces' counters, headers included.
    """

    def __init__(self, scene: Scene) -> None:
        self.samples: list[Sample] = []
        self._scene = scene
        self._before = scene.network.traffic()
        self._latest: dict[str, Mapping[str, int]] = dict(scene.mode.sources())
        self._own = dict(self._latest)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._started_at = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        last = False
        while not last:
            last = self._stopped.is_set()
            at = time.monotonic() - self._started_at
            self.samples.append(Sample(at, self._received()))
            self._stopped.wait(_SAMPLE_S)

    def _received(self) -> Mapping[str, Sequence[float]]:
        """What a killed process had received is kept."""
        mode, nodes = self._scene.mode, self._scene.nodes
        if not mode.tells_sources:
            now = self._scene.network.traffic()
            return mode.by_interfaces({name: now[name] - before for name, before in self._before.items()})
        self._latest |= mode.sources()
        received = [self._since(node.name) for node in nodes]
        return {UPSTREAM: [row[0] for row in received], MEMBERS: [row[1] for row in received]}

    def _since(self, name: str) -> tuple[int, int]:
        before, after = self._own.get(name, {}), self._latest.get(name, {})
        came = {source: count - before.get(source, 0) for source, count in after.items()}
        upstream = came.pop(UPSTREAM, 0)
        return upstream, sum(came.values())


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters at one moment.

    Args:
        at: monotonic time, s.
        traffic: of every host, by name.
        control: control traffic of every host, by name.
        accesses: of the upstream registry.
        cpu_s: used by each process of the mode, by its host.
        containerds_cpu_s: used by all containerds of the hosts together.
        counters: the mode's own, by host.
        busy_s: CPU time of the whole machine that was not idle.
    """

    at: float
    traffic: Mapping[str, Traffic]
    control: Mapping[str, Flow]
    accesses: Accesses
    cpu_s: Mapping[str, float]
    containerds_cpu_s: float
    counters: Mapping[str, float]
    busy_s: float

    @classmethod
    def of(cls, scene: Scene) -> "Reading":
        """Read them now."""
        used = {name: process.usage() for name, process in scene.mode.processes.items() if process.running}
        containerds = scene.mode.site.containerds.values()
        return cls(
            at=time.monotonic(),
            traffic=scene.network.traffic(),
            control=scene.control(),
            accesses=Accesses.of(scene.upstream),
            cpu_s={name: usage.cpu_s for name, usage in used.items()},
            containerds_cpu_s=sum(each.usage().cpu_s for each in containerds if each.running),
            counters=scene.mode.counters(),
            busy_s=_busy_s(),
        )


def play(
    scene: Scene, action: Callable[[], Outcome], ideal_s: float
) -> tuple[Mapping[str, float], Mapping[str, Sequence[float]]]:
    """Run something, and make figures of what the counters say before and after it.

    Bytes are in images, ratios in ideal times. What upstream still sends when the last client has everything counts.

    Returns:
        The figures, and all times behind those that the scenario itself has taken, in milliseconds.
    """
    before = Reading.of(scene)
    outcome = action()
    finished = Reading.of(scene)
    figures = {"cores_busy": (finished.busy_s - before.busy_s) / (finished.at - before.at)}
    if outcome.counted:
        _until_quiet(scene, _QUIET_WITHIN * ideal_s)
    after = Reading.of(scene)
    if outcome.counted:
        figures["ideal_s"] = ideal_s
        figures |= times(outcome, ideal_s, scene.patience_s)
        figures |= _upstream(scene, before, after)
        figures |= _nodes(scene, before, after)
        figures |= _costs(scene, outcome, before, after)
    figures |= _control(scene, before, finished)
    figures |= scene.mode.figures(before.counters, after.counters, outcome.gone)
    return {**figures, **outcome.figures}, outcome.times_ms


def _until_quiet(scene: Scene, within_s: float) -> None:
    """Wait until upstream sends no more, and has logged what it sent."""
    deadline = time.monotonic() + within_s
    last = -_QUIET_BYTES
    while (sent := scene.network.traffic()[UPSTREAM].sent) - last >= _QUIET_BYTES and time.monotonic() < deadline:
        last = sent
        time.sleep(_SAMPLE_S)


def _upstream(scene: Scene, before: Reading, after: Reading) -> Mapping[str, float]:
    accesses = after.accesses - before.accesses
    sent = after.traffic[UPSTREAM] - before.traffic[UPSTREAM]
    return {
        "upstream": accesses.sent_bytes / scene.image_bytes,
        "upstream_wire": sent.sent / scene.image_bytes,
        "manifest_gets": float(accesses.manifest_gets),
        "blob_gets": float(accesses.blob_gets),
        "heads": float(accesses.heads),
    }


def _nodes(scene: Scene, before: Reading, after: Reading) -> Mapping[str, float]:
    carried = [after.traffic[node.name] - before.traffic[node.name] for node in scene.nodes]
    received = [each.received / scene.image_bytes for each in carried]
    sent = [each.sent / scene.image_bytes for each in carried]
    return {
        "received_median": statistics.median(received),
        "received_most": max(received),
        "sent_median": statistics.median(sent),
        "sent_most": max(sent),
    }


def _control(scene: Scene, before: Reading, after: Reading) -> Mapping[str, float]:
    """What the nodes tell each other of themselves and of what they hold, apart from content."""
    if scene.mode.control_port is None:
        return {}
    seconds = after.at - before.at
    flows = [after.control[node.name] - before.control[node.name] for node in scene.nodes]
    found: dict[str, float] = {"measured_s": seconds}
    for way, counts in (("sent", [it.sent for it in flows]), ("received", [it.received for it in flows])):
        for unit, values in (("bytes", [it.bytes for it in counts]), ("packets", [it.packets for it in counts])):
            found[f"control_{way}_{unit}_median"] = statistics.median(values)
            found[f"control_{way}_{unit}_most"] = float(max(values))
            found[f"control_{way}_{unit}_per_s"] = statistics.median(values) / seconds
    return found


def _costs(scene: Scene, outcome: Outcome, before: Reading, after: Reading) -> Mapping[str, float]:
    """Of what stands between clients and upstream, and of containerds apart from it."""
    lost = list(itertools.chain.from_iterable(outcome.lost.values()))
    used = [*(process.usage() for process in scene.mode.processes.values() if process.running), *lost]
    pulls = [client.pull for client in scene.clients if client.pull is not None]
    delivered = sum(pull.received_bytes for pull in pulls if pull.started_at >= before.at)
    shared = (
        {"containerds_cpu_s": after.containerds_cpu_s - before.containerds_cpu_s} if after.containerds_cpu_s else {}
    )
    if not used or not delivered:
        return shared
    cpu_s = used_s(before.cpu_s, after.cpu_s, {name: [it.cpu_s for it in uses] for name, uses in outcome.lost.items()})
    costs = {"cpu_s": cpu_s, "peak_mib": max(use.peak_bytes for use in used) / MIB, **shared}
    if any(pull.errors for pull in pulls):  # what a failed pull has cost is no price of what the others got
        return costs
    return {**costs, "cpu_s_per_gib": cpu_s / (delivered / GIB)}


def used_s(before: Mapping[str, float], after: Mapping[str, float], lost: Mapping[str, Sequence[float]]) -> float:
    """CPU time that the processes of all hosts used meanwhile, s.

    Args:
        before: of the one on each host, since it started, s.
        after: the same afterwards; another one may have started there meanwhile. None where none runs.
        lost: of those that were killed meanwhile, each since it started, s.
    """
    hosts = after.keys() | lost.keys()
    return sum(after.get(host, 0.0) + sum(lost.get(host, ())) - before.get(host, 0.0) for host in hosts)


def _busy_s() -> float:
    """Source: proc_stat(5)."""
    user, nice, system, _idle, _iowait, irq, softirq = Path("/proc/stat").read_text().split(maxsplit=8)[1:8]
    return sum(map(int, (user, nice, system, irq, softirq))) / _TICKS_PER_S
