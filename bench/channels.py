"""`python -m bench channels`: what it costs that members speak TLS, beside clear text with and without signatures.

An agent holds a blob, another one passes it on to a client while it arrives, and stores it. Which cipher TLS takes is
decided by OpenSSL's own configuration, as where an operator decides it.
"""

import base64
import shutil
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from mirror.channels import PeerTls
from mirror.channels.certificates import KeyIssuer
from mirror.channels.contexts import Channels
from testbed.agents import MODULE, Agent, Endpoints
from testbed.processes import wait_until

from .content import Content, make_blob
from .load import Download, download
from .machine import workplace
from .report import GIB, MIB, Cell, Goal, Report, Samples, Table
from .rounds import QUICK, Budget, rounds, turned
from .servers import put_into_cache

BUDGET: Final = Budget(75.0, 3, 7)
RELAY_MB_S: Final = 400
HANDSHAKES: Final = 200
_WAIT_S: Final = 30.0
_KEY: Final = bytes(range(32))
_OPENSSL: Final = """\
openssl_conf = start
[start]
ssl_conf = modules
[modules]
system_default = ciphers
[ciphers]
Ciphersuites = {cipher}
"""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to speak.

    Args:
        name: for tables.
        flags: of the agents, beside the key's.
        keyed: whether the cluster has a key.
        cipher: of TLS; None where there is none.
    """

    name: str
    flags: tuple[str, ...] = ()
    keyed: bool = True
    cipher: str | None = None


CLEAR: Final = Way("clear text, no key", keyed=False)
WAYS: Final = (
    CLEAR,
    Way("clear text, signed", ("--peer-tls", "off")),
    Way("TLS, AES-256-GCM", cipher="TLS_AES_256_GCM_SHA384"),
    Way("TLS, AES-128-GCM", cipher="TLS_AES_128_GCM_SHA256"),
    Way("TLS, ChaCha20-Poly1305", cipher="TLS_CHACHA20_POLY1305_SHA256"),
)


@dataclass(slots=True)
class Figures:
    """Of one way: MB a second for the client, CPU seconds per GiB, memory, and how late the relay's loop was."""

    rate: Samples
    relay_cpu: Samples
    holder_cpu: Samples
    peak: Samples
    lag_ms: Samples

    @classmethod
    def empty(cls) -> "Figures":
        """None yet."""
        return cls(*(Samples() for _ in range(5)))


def measure(console: Console, size: int, folder: Path | None, *, quick: bool = False) -> Report:
    """Run it all: about two minutes."""
    figures = {way: Figures.empty() for way in WAYS}
    with workplace(folder, 4 * size) as place, console.status("making content") as status:
        blob = make_blob(place / "blob", size)
        for number in rounds(QUICK if quick else BUDGET):
            for way in turned(WAYS, number):
                status.update(f"passing {size / MIB:.0f} MiB on, {way.name}, round {number + 1}")
                _pass(place / "agents", way, blob, figures[way])
    fastest = max(figures[way].rate.median for way in WAYS if way.cipher)
    rows: list[dict[str, Cell]] = [
        {
            "way": way.name,
            "rate": found.rate,
            "ratio": found.rate / figures[CLEAR].rate,
            "relay": found.relay_cpu,
            "holder": found.holder_cpu,
            "peak": found.peak,
            "lag": found.lag_ms,
        }
        for way, found in figures.items()
    ]
    table = Table.of(
        f"A blob of {size / MIB:.0f} MiB passed on from one holder, {len(figures[CLEAR].rate.values)} rounds",
        {"way": "members speak"},
        {
            "rate": ("MB/s", ".0f"),
            "ratio": ("x clear text", ".2f"),
            "relay": ("relay, CPU s/GiB", ".2f"),
            "holder": ("holder, CPU s/GiB", ".2f"),
            "peak": ("relay, peak MiB", ".0f"),
            "lag": ("p99 of its loop's lag, ms", ".1f"),
        },
        rows,
    )
    return Report("channels", [table, _handshakes()], [Goal("MB/s passed on by TLS", RELAY_MB_S, fastest)])


def _pass(folder: Path, way: Way, blob: Content, figures: Figures) -> None:
    """Have a client pull a blob through an agent that has to take it from another one."""
    with _agent(folder / "holder", way, blob) as holder, _agent(folder / "relay", way, None, [holder.gossip]) as relay:
        wait_until(lambda: bool(relay.holders(blob.digest)), "the relay to see the holder", _WAIT_S)
        before, held_before = relay.usage(), holder.usage()
        rate = download(relay, blob.path, blob.size, Download("1 client", 1, blob.size))
        wait_until(lambda: relay.has_cached(blob.digest), "the relay to store the blob", _WAIT_S)
        after, held_after = relay.usage(), holder.usage()
        lag_s = relay.metrics()['skvaller_event_loop_lag_seconds{percentile="99"}']
    shutil.rmtree(folder)
    figures.rate.values.append(rate / 1e6)
    figures.relay_cpu.values.append((after.cpu_s - before.cpu_s) / (blob.size / GIB))
    figures.holder_cpu.values.append((held_after.cpu_s - held_before.cpu_s) / (blob.size / GIB))
    figures.peak.values.append(after.peak_bytes / MIB)
    figures.lag_ms.values.append(1000 * lag_s)


@contextmanager
def _agent(folder: Path, way: Way, blob: Content | None, join: Sequence[str] = ()) -> Iterator[Agent]:
    """An agent that speaks in some way, and holds a blob."""
    folder.mkdir(parents=True)
    flags = ["--log-level", "warning", *way.flags, *(flag for seed in join for flag in ("--join", seed))]
    program: Sequence[str] = MODULE
    if way.keyed:
        key = folder / "key"
        key.touch(0o600)
        key.write_bytes(base64.b64encode(_KEY) + b"\n")
        flags += ["--key-file", str(key)]
    if way.cipher is not None:
        (folder / "openssl.cnf").write_text(_OPENSSL.format(cipher=way.cipher))
        program = ("env", f"OPENSSL_CONF={folder / 'openssl.cnf'}", *MODULE)
    if blob is not None:
        put_into_cache(folder, blob)
    with Agent(folder, folder.name, Endpoints.free(), flags, program=program) as agent:
        yield agent


def _handshakes() -> Table:
    """What a handshake costs both ends together, and a connection in memory."""
    ends = [Channels(PeerTls.ON, KeyIssuer(name, "127.0.0.1", [_KEY], 3600, 3600)) for name in ("a", "b")]
    began_rss, began_s = _rss_bytes(), time.thread_time()
    kept = [_handshake(*ends) for _ in range(HANDSHAKES)]
    cost_s = time.thread_time() - began_s
    grown = _rss_bytes() - began_rss
    rows: list[dict[str, Cell]] = [
        {"what": "CPU of a handshake, both ends, ms", "value": 1000 * cost_s / HANDSHAKES},
        {"what": "memory of a connection, one end, KiB", "value": grown / 1024 / (2 * len(kept))},
    ]
    return Table.of("TLS 1.3, P-256, both ends with a certificate", {"what": ""}, {"value": ("", ".2f")}, rows)


def _handshake(server: Channels, client: Channels) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """The two ends of a connection, without a network."""
    assert server.server is not None
    assert client.client is not None
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = server.server.wrap_bio(to_server, to_client, server_side=True)
    other = client.client.wrap_bio(to_client, to_server, server_hostname="a")
    waiting = [other, one]
    while waiting:
        end = waiting.pop(0)
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(end)
    return one, other


def _rss_bytes() -> int:
    """Resident memory of this process. Source: proc_pid_statm(5)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
