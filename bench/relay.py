"""`python -m bench relay`: a blob that is passed on while it arrives, and stored, by the agent and by others.

nginx proxy_cache and docker-registry's proxy take it from an upstream; the agent takes it from that upstream, and from
one, two and four other agents. nginx verifies nothing. Every round has relays that start empty.
"""

import math
import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from testbed.agents import Agent
from testbed.processes import wait_until
from testbed.servers import Server

from .content import Content, make_blob
from .load import Download, download
from .machine import need, workplace
from .report import GIB, MIB, OURS, Cell, Comparison, Goal, Report, Samples, Table
from .rounds import QUICK, Budget, rounds, turned
from .servers import LoneAgent, NginxCache, NginxFiles, has_stored, registry

BUDGET = Budget(75.0, 3, 7)
HOLDERS = (1, 2, 4)
CPU_SHARE = 1.3
PEAK_MIB = 96
_UPSTREAM = "upstream"

_WAIT_S = 30.0
"""How long a relay may take to see its holders, or to store a blob, seconds."""

_COPIES = 5
"""How many copies of the blob there are at once: one in each holder, which is a link, and that of the relay."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way of the blob to the client.

    Args:
        source: where the relay has it from.
        holders: how many agents hold it; 0: an upstream has it.
        name: of the relay, for tables.
        make: makes the relay in a folder.
    """

    source: str
    holders: int
    name: str
    make: Callable[[Path], Server]


@dataclass(frozen=True, slots=True)
class Passage:
    """One blob's way through a relay: bytes per second for the client, CPU seconds per GiB, memory, our loop's lag."""

    rate: float
    cpu_s_per_gib: float
    idle_bytes: int
    peak_bytes: int
    lag_ms: float | None


def measure(console: Console, size: int, folder: Path | None, *, quick: bool = False) -> Report:
    """Run it all: about a minute and a half."""
    need(nginx="nginx", docker_registry="docker-registry")
    comparison, memory = Comparison(), _Memory()
    with (
        workplace(folder, (_COPIES + 2) * size) as place,
        ExitStack() as stack,
        console.status("making content") as status,
    ):
        blob, large = make_blob(place / "blob", size), make_blob(place / "large", 2 * size)
        upstream = stack.enter_context(NginxFiles(place / "upstream", [blob, large]))
        holders = [stack.enter_context(LoneAgent(place / f"holder{number}", [blob])) for number in range(max(HOLDERS))]
        ways = _ways(upstream, [holder.gossip for holder in holders])
        for number in rounds(QUICK if quick else BUDGET):
            status.update(f"passing a blob of {size / MIB:.0f} MiB on, round {number + 1}")
            passages = {way: _pass(way, blob, place / "relay") for way in turned(ways, number)}
            for way, passage in passages.items():
                memory.add(way.name, blob, passage)
            _compare(comparison, {(way.source, way.name): passage for way, passage in passages.items()})
        status.update(f"passing a blob of {2 * size / MIB:.0f} MiB on")
        memory.add(OURS, large, _pass(ways[0], large, place / "relay"))
    title = f"A blob of {size / MIB:.0f} MiB passed on, by where the agent has it from"
    table = comparison.table(title, ("MB/s", ".0f"), ("CPU s/GiB", ".2f"))
    return Report("relay", [table, memory.table()], _goals(comparison, memory, blob, large))


def _ways(upstream: Server, seeds: Sequence[str]) -> list[Way]:
    address = upstream.address
    return [
        Way(_UPSTREAM, 0, OURS, lambda at: LoneAgent(at, upstream=address)),
        *(Way(_held_by(count), count, OURS, partial(_joined, seeds[:count])) for count in HOLDERS),
        Way(_UPSTREAM, 0, "nginx proxy_cache", lambda at: NginxCache(at, address)),
        Way(_UPSTREAM, 0, "docker-registry proxy", lambda at: registry(at, upstream=address)),
    ]


def _compare(comparison: Comparison, passages: Mapping[tuple[str, str], Passage]) -> None:
    """Compare each way through an agent with those through the others, which have only an upstream."""
    others = [name for _, name in passages if name != OURS]
    for source in (_UPSTREAM, *map(_held_by, HOLDERS)):
        for name, at in ((OURS, source), *((other, _UPSTREAM) for other in others)):
            passage = passages[at, name]
            comparison.add(source, name, passage.rate / 1e6, passage.cpu_s_per_gib)


def _goals(comparison: Comparison, memory: "_Memory", blob: Content, large: Content) -> list[Goal]:
    pairs = [(source, name) for source in comparison.loads for name in comparison.others]
    return [
        *(Goal(f"x {name}, {source}", 1.0, comparison.ratio(source, name)) for source, name in pairs),
        *cpu_goals(comparison),
        Goal(f"peak MiB with {blob.size / GIB:g} GiB", PEAK_MIB, memory.peak(OURS, blob) / MIB, most=True),
        Goal(f"peak MiB with {large.size / GIB:g} GiB", PEAK_MIB, memory.peak(OURS, large) / MIB, most=True),
        Goal("p99 of the loop's lag while it relays, ms, median of the runs", 20, memory.lag_ms(), most=True),
        Goal("idle MiB", 80, memory.idle(OURS) / MIB, most=True),
    ]


def cpu_goals(comparison: Comparison) -> list[Goal]:
    """What we take of the CPU beside each other relay; nothing where that is too little to be counted."""
    shares = {
        f"x the CPU of {name}, {source}": comparison.cost_ratio(source, name)
        for source in comparison.loads
        for name in comparison.others
    }
    return [Goal(what, CPU_SHARE, 1 / share, most=True) for what, share in shares.items() if 0 < share < math.inf]


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
        lags = [p.lag_ms for passages in self._passages.values() for p in passages if p.lag_ms is not None]
        return statistics.median(lags)

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


def _joined(seeds: Sequence[str], at: Path) -> LoneAgent:
    return LoneAgent(at, join=seeds)


def _pass(way: Way, blob: Content, folder: Path) -> Passage:
    """Have one client pull a blob through an empty relay, and wait until the relay has stored it."""
    with way.make(folder) as relay:
        if isinstance(relay, Agent) and way.holders:
            agent = relay
            seen = f"{relay.name} to see {way.holders} holders"
            wait_until(lambda: len(agent.holders(blob.digest)) >= way.holders, seen, _WAIT_S)
        before = relay.usage()
        rate = download(relay, blob.path, blob.size, Download("1 client", 1, blob.size))
        wait_until(lambda: has_stored(relay, blob), f"{relay.name} to store the blob", _WAIT_S)
        after = relay.usage()
        lag_ms = relay.loop_lag_ms() if isinstance(relay, LoneAgent) else None
    shutil.rmtree(folder)
    cpu_s = (after.cpu_s - before.cpu_s) / (blob.size / GIB)
    return Passage(rate, cpu_s, before.rss_bytes, after.peak_bytes, lag_ms)
