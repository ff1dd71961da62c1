"""`python -m bench lazy`: what lazily pulling runtimes read of a layer that nobody holds, and what it costs upstream.

The registry sends 4 MB/s. Each client is asked for the same ranges directly, and through an agent that starts empty:
one with a cache, one with `--cache-size 0`.

- *footer*: the last 51 bytes of a layer of 64 MiB, which every runtime reads first.
- *stargz*: what stargz-snapshotter asks for until a container runs: two bytes, the size, the footer, the table of
  contents, and then chunks here and there, some with one request.
- *zstd:chunked*: what podman asks of a layer of 44 MB that it has in part: one request for hundreds of ranges, 5.6 MB
  together.
"""

import random
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from mirror.oci.ranges import Span
from testbed.network import Address

from .content import Content, make_blob
from .machine import workplace
from .report import MIB, OURS, BenchError, Cell, Goal, Report, Samples, Table
from .rounds import Budget, rounds, turned
from .servers import LoneAgent
from .slow import SlowRegistry

BUDGET = Budget(60.0, 2, 5)
RATE = 4e6
FOOTER_S = 0.3
UPSTREAM_SHARE = 1.2
MOVED_SHARE = 1.1
_LAYER_BYTES = 64 * MIB
_PARTIAL_BYTES = 44_000_000
_TIMEOUT_S = 120.0
_DIRECT = "directly"
_IN_MEMORY = f"{OURS}, no cache"


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a client asks for.

    Args:
        name: for tables.
        size: of the layer, in bytes.
        requests: the ranges of each request, one after the other.
    """

    name: str
    size: int
    requests: Sequence[Sequence[Span]]

    @property
    def read_bytes(self) -> int:
        """Bytes that are read."""
        return sum(stop - start for spans in self.requests for start, stop in spans)


def patterns() -> list[Pattern]:
    """What is measured, the same in every run."""
    end, chance = _LAYER_BYTES, random.Random(1)
    chunks = [(at, at + 50_000) for at in range(0, end - 200_000, 50_000)]
    picked = sorted(chance.sample(chunks, 40))
    opening = [[(0, 2)], [(end - 51, end)], [(end - 120_000, end - 51)]]
    stargz = [*opening, *([chunk] for chunk in picked[:20]), picked[20:]]
    ats = sorted(chance.sample(range(0, _PARTIAL_BYTES - 40_000, 40_000), 300))
    parts = [(at, at + 8_000 + chance.randrange(21_000)) for at in ats]
    return [
        Pattern("footer", end, [[(end - 51, end)]]),
        Pattern("stargz", end, stargz),
        Pattern("zstd:chunked", _PARTIAL_BYTES, [parts]),
    ]


@dataclass(slots=True)
class Way:
    """A way of the bytes to the client: how long it takes, and what upstream sends for each byte that is read."""

    seconds: Samples
    share: Samples


def measure(console: Console, folder: Path | None) -> Report:
    """Run it all: about a minute."""
    found: dict[tuple[str, str], Way] = {}
    with workplace(folder, 4 * _LAYER_BYTES) as place, console.status("making content") as status:
        blobs = {pattern.size: make_blob(place / str(pattern.size), pattern.size) for pattern in patterns()}
        for number in rounds(BUDGET):
            status.update(f"reading lazily, round {number + 1}")
            for pattern in patterns():
                for name, read in turned(_ways(), number):
                    seconds, share = read(place / "agent", blobs[pattern.size], pattern)
                    way = found.setdefault((pattern.name, name), Way(Samples([]), Samples([])))
                    way.seconds.values.append(seconds)
                    way.share.values.append(share)
    rows: list[dict[str, Cell]] = []
    for (what, name), way in found.items():
        direct = found[what, _DIRECT]
        row: dict[str, Cell] = {"what": what, "way": name, "seconds": way.seconds, "share": way.share}
        rows.append({**row, "ratio": way.seconds / direct.seconds, "moved": way.share / direct.share})
    table = Table.of(
        f"Ranges of a layer that nobody holds, from a registry at {RATE / 1e6:.0f} MB/s",
        {"what": "what is read", "way": "way"},
        {
            "seconds": ("s", ".2f"),
            "ratio": ("x direct", ".2f"),
            "share": ("sent / read", ".3f"),
            "moved": ("x direct", ".3f"),
        },
        rows,
    )
    return Report("lazy", [table], _goals(found))


def _goals(found: dict[tuple[str, str], Way]) -> list[Goal]:
    goals = []
    for name in (OURS, _IN_MEMORY):
        goals.append(Goal(f"s for the footer, {name}", FOOTER_S, found["footer", name].seconds.median, most=True))
        shares = [found[pattern.name, name].share.median for pattern in patterns()]
        goals.append(Goal(f"x what is read is sent by upstream, {name}", UPSTREAM_SHARE, max(shares), most=True))
        moved = (found["zstd:chunked", name].share / found["zstd:chunked", _DIRECT].share).median
        goals.append(Goal(f"x what zstd:chunked moves directly, {name}", MOVED_SHARE, moved, most=True))
    return goals


def _ways() -> list[tuple[str, Callable[[Path, Content, Pattern], tuple[float, float]]]]:
    return [
        (_DIRECT, _directly),
        (OURS, lambda at, blob, pattern: _by_agent(at, blob, pattern, [])),
        (_IN_MEMORY, lambda at, blob, pattern: _by_agent(at, blob, pattern, ["--cache-size", "0"])),
    ]


def _directly(folder: Path, blob: Content, pattern: Pattern) -> tuple[float, float]:
    with SlowRegistry(blob, RATE).running() as registry:
        seconds = _read(registry.address, blob, pattern)
        return seconds, registry.sent_bytes / pattern.read_bytes


def _by_agent(folder: Path, blob: Content, pattern: Pattern, flags: Sequence[str]) -> tuple[float, float]:
    """Read through an agent; return the time, and what upstream sent for each byte that was read."""
    try:
        with SlowRegistry(blob, RATE).running() as registry:
            with LoneAgent(folder, upstream=registry.address, flags=flags) as agent:
                seconds = _read(agent.address, blob, pattern)
            return seconds, registry.sent_bytes / pattern.read_bytes
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _read(server: Address, blob: Content, pattern: Pattern) -> float:
    """Ask for it over one connection; return the time until all came."""
    content = blob.file.read_bytes()
    began_at = time.monotonic()
    where = server.host, server.port
    with socket.create_connection(where, _TIMEOUT_S) as connection, connection.makefile("rb") as file:
        for spans in pattern.requests:
            ranges = ",".join(f"{start}-{stop - 1}" for start, stop in spans)
            head = f"GET {blob.path} HTTP/1.1\r\nHost: {server}\r\nRange: bytes={ranges}\r\n\r\n"
            connection.sendall(head.encode())
            status = file.readline().split()[1]
            headers = {}
            while line := file.readline().strip():
                name, _, value = line.decode().partition(": ")
                headers[name.lower()] = value
            body = file.read(int(headers["content-length"]))
            if status != b"206" or any(content[start:stop] not in body for start, stop in spans):
                raise BenchError(f"{server} answered {status.decode()}, with {len(body)} bytes that are not right")
    return time.monotonic() - began_at
