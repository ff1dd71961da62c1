"""`python -m bench relay`: a blob that is passed on while it arrives, verified and kept, by the agent and by others.

nginx proxy_cache and docker-registry's proxy take it from an upstream; the agent takes it from that upstream, and from
one, two and four other agents. nginx verifies nothing. Every round has relays that start empty.
"""

import json
import shutil
import statistics
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from .content import Content, make_blob
from .load import Download, download
from .processes import Address, need, workplace
from .report import GIB, MIB, OURS, BenchError, Cell, Comparison, Goal, Report, Samples, Table, rounds
from .servers import Agent, NginxCache, NginxFiles, Registry

BUDGET_S = 75.0
ROUNDS = (3, 7)
HOLDERS = (1, 2, 4)
CPU_SHARE = 1.3
PEAK_MIB = 96
_WAIT_S = 30.0
_COPIES = 5


Relay = Agent | NginxCache | Registry
Way = tuple[str, str, Callable[[Path], Relay]]


@dataclass(frozen=True, slots=True)
class Passage:
    """One blob's way through a relay: bytes per second for the client, CPU seconds per GiB, memory, our loop's lag."""

    rate: float
    cpu_s_per_gib: float
    idle_bytes: int
    peak_bytes: int
    lag_s: float | None


def measure(console: Console, size: int, folder: Path | None) -> Report:
    """Run it all: about a minute and a half."""
    need(nginx="nginx", docker_registry="docker-registry")
    with (
        workplace(folder, (_COPIES + 2) * size) as place,
        ExitStack() as stack,
        console.status("making content") as status,
    ):
        blob, large = make_blob(place / "blob", size), make_blob(place / "large", 2 * size)
        upstream = stack.enter_context(NginxFiles(place / "upstream", [blob, large]))
        holders = [stack.enter_context(Agent(place / f"holder{number}", [blob])) for number in range(max(HOLDERS))]
        seeds = [holder.gossip for holder in holders]
        comparison, memory = Comparison(), _Memory()
        for number in rounds(BUDGET_S, *ROUNDS):
            status.update(f"passing a blob of {size / MIB:.0f} MiB on, round {number + 1}")
            ways: list[Way] = [
                ("upstream", OURS, lambda at: Agent(at, upstream=upstream.address)),
                *((_held_by(count), OURS, partial(_joined, seeds[:count])) for count in HOLDERS),
                ("upstream", "nginx proxy_cache", lambda at: NginxCache(at, upstream.address)),
                ("upstream", "docker-registry proxy", lambda at: Registry(at, upstream=upstream.address)),
            ]
            passages = {}
            for source, name, make in _turned(ways, number):
                passage = _pass(make(place / "relay"), blob, int(source[0]) if source != "upstream" else 0, place)
                passages[source, name] = passage
                memory.add(name, blob, passage)
            for source in ("upstream", *map(_held_by, HOLDERS)):
                for _, name, _ in ways[-2:]:
                    _add(comparison, source, name, passages["upstream", name])
                _add(comparison, source, OURS, passages[source, OURS])
        status.update(f"passing a blob of {2 * size / MIB:.0f} MiB on")
        memory.add(OURS, large, _pass(Agent(place / "relay", upstream=upstream.address), large, 0, place))
    table = comparison.table(
        f"A blob of {size / MIB:.0f} MiB passed on, by where the agent has it from",
        ("MB/s", ".0f"),
        ("CPU s/GiB", ".2f"),
    )
    goals = [
        *(
            Goal(f"x {name}, {source}", 1.0, comparison.ratio(source, name))
            for source in comparison.loads
            for _, name, _ in ways[-2:]
        ),
        *(
            Goal(f"x the CPU of {name}, {source}", CPU_SHARE, 1 / comparison.cost_ratio(source, name), most=True)
            for source in comparison.loads
            for _, name, _ in ways[-2:]
        ),
        Goal(f"peak MiB with {blob.size / GIB:g} GiB", PEAK_MIB, memory.peak(OURS, blob) / MIB, most=True),
        Goal(f"peak MiB with {large.size / GIB:g} GiB", PEAK_MIB, memory.peak(OURS, large) / MIB, most=True),
        Goal("p99 of the loop's lag while it relays, ms, median of the runs", 20, memory.lag_ms(), most=True),
        Goal("idle MiB", 80, memory.idle(OURS) / MIB, most=True),
    ]
    return Report("relay", [table, memory.table()], goals)


class _Memory:
    """Resident memory by server and size of the blob."""

    def __init__(self) -> None:
        self._passages: dict[tuple[str, int], list[Passage]] = {}

    def add(self, name: str, blob: Content, passage: Passage) -> None:
        self._passages.setdefault((name, blob.size), []).append(passage)

    def peak(self, name: str, blob: Content) -> float:
        return max(passage.peak_bytes for passage in self._passages[name, blob.size])

    def idle(self, name: str) -> float:
        return max(p.idle_bytes for (server, _), passages in self._passages.items() if server == name for p in passages)

    def lag_ms(self) -> float:
        """How late one turn in a hundred of our loop was in the minute in which it relayed; the median of all runs."""
        lags = [p.lag_s for passages in self._passages.values() for p in passages if p.lag_s is not None]
        return 1000 * statistics.median(lags)

    def table(self) -> Table:
        rows: list[dict[str, Cell]] = [
            {
                "server": name,
                "blob": size / MIB,
                "idle": Samples([passage.idle_bytes / MIB for passage in passages]),
                "peak": Samples([passage.peak_bytes / MIB for passage in passages]),
            }
            for (name, size), passages in self._passages.items()
        ]
        columns = {"server": "server", "blob": "blob MiB", "idle": "RSS MiB, idle", "peak": "RSS MiB, peak"}
        return Table("Memory: median and range", columns, {"blob": ".0f", "idle": ".0f", "peak": ".0f"}, rows)


def _held_by(count: int) -> str:
    return f"{count} holder{'s' if count > 1 else ''}"


def _joined(seeds: Sequence[Address], at: Path) -> Agent:
    return Agent(at, join=seeds)


def _pass(relay: Relay, blob: Content, holders: int, place: Path) -> Passage:
    """Have one client pull a blob through an empty relay, and wait until that has kept it."""
    with relay:
        if holders:
            _until(lambda: _sees(relay, blob) >= holders, f"{relay.name} sees {holders} holders")
        before = relay.usage()
        rate = download(relay, blob.path, blob.size, Download("1 client", 1, blob.size))
        _until(lambda: relay.stored(blob), f"{relay.name} has kept the blob")
        after = relay.usage()
        lag_s = relay.loop_lag_s("0.99") if isinstance(relay, Agent) else None
    shutil.rmtree(place / "relay")
    cpu_s = (after.cpu_s - before.cpu_s) / (blob.size / GIB)
    return Passage(rate, cpu_s, before.rss_bytes, after.peak_bytes, lag_s)


def _add(comparison: Comparison, source: str, name: str, passage: Passage) -> None:
    comparison.add(source, name, passage.rate / 1e6, passage.cpu_s_per_gib)


def _sees(relay: Relay, blob: Content) -> int:
    """How many members an agent would ask for a blob."""
    with urllib.request.urlopen(f"http://{relay.address}/api/v1/find?q=sha256:{blob.hex}", timeout=5) as answer:
        rows = json.load(answer)["holders"][f"sha256:{blob.hex}"]
    return sum(row["has"] for row in rows)


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(f"after {_WAIT_S:g} s it is still not so that {what}")
        time.sleep(0.02)


def _turned(ways: Sequence[Way], number: int) -> list[Way]:
    """The ways, with another one first in each round, so that none profits from its place."""
    first = number % len(ways)
    return [*ways[first:], *ways[:first]]
