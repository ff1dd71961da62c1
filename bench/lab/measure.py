"""Counters of the kernel and of the agents, read before, during and after a pull, and the figures made of them."""

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
from .clients import Client, Pull
from .modes import MEMBERS
from .results import Sample
from .scene import Outcome, Scene
from .servers import UPSTREAM, Accesses

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
        figures["client_errors"] = float(sum(len(_pull(client).errors) for client in outcome.counted))
        figures |= _times(outcome, ideal_s)
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


def _times(outcome: Outcome, ideal_s: float) -> Mapping[str, float]:
    """Each client's time is its own, from its own start."""
    taken = _seconds(outcome.counted)
    if not taken:
        return {}
    times = {"first_s": taken[0], "median_s": statistics.median(taken), "last_s": taken[-1]}
    times["ratio"] = taken[-1] / ideal_s
    if outcome.batches:
        spans = [_span_s(batch) for batch in outcome.batches]
        times |= {"all_s": sum(spans), "ratio": sum(spans) / len(spans) / ideal_s}
    if late := _seconds(outcome.late):
        times |= {"late_s": late[-1], "late_ratio": late[-1] / ideal_s}
    if apart := _seconds(outcome.apart):
        times["apart_s"] = apart[-1]
    if outcome.fault_at is not None:
        finished_at = max(_pull(client).finished_at for client in outcome.counted)
        times["after_fault_s"] = max(0.0, finished_at - outcome.fault_at)
    return times


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
    used = [process.usage() for process in scene.mode.processes.values() if process.running]
    used += outcome.lost.values()
    pulls = [client.pull for client in scene.clients if client.pull is not None]
    delivered = sum(pull.received_bytes for pull in pulls if pull.started_at >= before.at)
    shared = (
        {"containerds_cpu_s": after.containerds_cpu_s - before.containerds_cpu_s} if after.containerds_cpu_s else {}
    )
    if not used or not delivered:
        return shared
    last_cpu_s = {**after.cpu_s, **{name: usage.cpu_s for name, usage in outcome.lost.items()}}
    cpu_s = sum(last_cpu_s[name] - first for name, first in before.cpu_s.items() if name in last_cpu_s)
    peak_bytes = max(use.peak_bytes for use in used)
    return {"cpu_s": cpu_s, "cpu_s_per_gib": cpu_s / (delivered / GIB), "peak_mib": peak_bytes / MIB, **shared}


def _seconds(clients: Sequence[Client]) -> list[float]:
    """Times of the pulls that went well, the shortest first."""
    return sorted(_pull(client).seconds for client in clients if not _pull(client).errors)


def _span_s(clients: Sequence[Client]) -> float:
    """From the start of the first to the end of the last."""
    return max(_pull(client).finished_at for client in clients) - min(_pull(client).started_at for client in clients)


def _pull(client: Client) -> Pull:
    assert client.pull is not None, f"{client.host.name} never got the signal to pull"
    return client.pull


def _busy_s() -> float:
    """Source: proc_stat(5)."""
    user, nice, system, _idle, _iowait, irq, softirq = Path("/proc/stat").read_text().split(maxsplit=8)[1:8]
    return sum(map(int, (user, nice, system, irq, softirq))) / _TICKS_PER_S
