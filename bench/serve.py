"""`python -m bench serve`: what is cached, served by the agent, by nginx with sendfile, and by docker-registry."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from testbed.images import MANIFEST_TYPE
from testbed.processes import Usage
from testbed.servers import Server

from .content import Content, make_blob, make_manifest
from .load import Download, download, requests_per_s
from .machine import need, workplace
from .report import GIB, MIB, Cell, Comparison, Goal, Report, Table
from .rounds import QUICK, Budget, rounds, turned
from .servers import LoneAgent, NginxFiles, registry

BUDGET = Budget(55.0, 3, 9)
MANIFESTS_ROUNDS = 3
MANIFESTS_S = 2
MANIFESTS_QUICK_S = 1
MANIFESTS_CONNECTIONS = 16


def measure(console: Console, size: int, folder: Path | None, *, quick: bool = False) -> Report:
    """Run it all: about a minute and a half."""
    need(nginx="nginx", docker_registry="docker-registry", wrk="wrk")
    with workplace(folder, size + GIB // 4) as place, ExitStack() as stack, console.status("making content") as status:
        blob, manifest = make_blob(place / "blob", size), make_manifest(place / "manifest")
        content = [blob, manifest]
        agent = LoneAgent(place / "agent", content)
        servers: list[Server] = [
            agent,
            NginxFiles(place / "nginx", content),
            registry(place / "registry", content),
        ]
        for server in servers:
            stack.enter_context(server)
        idle = [server.usage() for server in servers]
        status.update(f"downloading a blob of {size / MIB:.0f} MiB again and again")
        blobs = _blobs(servers, blob, QUICK if quick else BUDGET)
        lag_ms = agent.loop_lag_ms()
        status.update("asking for a manifest again and again")
        manifests = _manifests(servers, manifest, MANIFESTS_QUICK_S if quick else MANIFESTS_S)
        memory = _memory(servers, idle)
    goals = [
        *(Goal(f"x nginx, {load}", 1.0, blobs.ratio(load, "nginx")) for load in blobs.loads[:3]),
        *(Goal(f"x docker-registry, {load}", 1.5, blobs.ratio(load, "docker-registry")) for load in blobs.loads[:3]),
        *(
            Goal(f"x docker-registry, {load}", 8.0, manifests.ratio(load, "docker-registry"))
            for load in manifests.loads
        ),
        Goal("p99 of its event loop's lag, gossip's too, in the last minute, ms", 20, lag_ms, most=True),
    ]
    title = f"A cached blob of {size / MIB:.0f} MiB"
    tables = [
        blobs.table(title, rate=("MB/s", ".0f"), cost=("CPU s/GiB", ".2f")),
        manifests.table("A manifest", rate=("requests/s", ".0f"), cost=("CPU µs/request", ".0f")),
        memory,
    ]
    return Report("serve", tables, goals)


def loads(size: int) -> list[Download]:
    """The ways in which the blob is asked for."""
    return [
        Download("1 client", 1, size),
        Download("8 clients", 8, 2 * size),
        Download("64 clients", 64, 2 * size),
        Download("8 clients, 8 MiB ranges", 8, 2 * size, 8 * MIB),
    ]


def _blobs(servers: Sequence[Server], blob: Content, budget: Budget) -> Comparison:
    """Megabytes per second, and CPU seconds per GiB."""
    comparison = Comparison()
    for number in rounds(budget):
        for load in loads(blob.size):
            for server in turned(servers, number):
                before = server.usage()
                rate = download(server, blob.path, blob.size, load)
                cpu_s = server.usage().cpu_s - before.cpu_s
                comparison.add(load.name, server.name, rate / 1e6, cpu_s / (load.total_bytes / GIB))
    return comparison


def _manifests(servers: Sequence[Server], manifest: Content, seconds: int) -> Comparison:
    """Requests per second, and CPU microseconds per request."""
    comparison = Comparison()
    load = f"{manifest.size / 1000:.0f} kB, {MANIFESTS_CONNECTIONS} connections"
    for number in range(MANIFESTS_ROUNDS):
        for server in turned(servers, number):
            before = server.usage()
            rate = requests_per_s(server, manifest.path, MANIFEST_TYPE, MANIFESTS_CONNECTIONS, seconds)
            cpu_s = server.usage().cpu_s - before.cpu_s
            comparison.add(load, server.name, rate, cpu_s * 1e6 / (rate * seconds))
    return comparison


def _memory(servers: Sequence[Server], idle: Sequence[Usage]) -> Table:
    rows: list[dict[str, Cell]] = [
        {"server": server.name, "idle": before.rss_bytes / MIB, "peak": server.usage().peak_bytes / MIB}
        for server, before in zip(servers, idle, strict=True)
    ]
    columns = {"server": "server", "idle": "RSS MiB, idle", "peak": "RSS MiB, peak"}
    return Table("Memory", columns, {"idle": ".0f", "peak": ".0f"}, rows)
