"""Hosts in network namespaces of their own, on one bridge, each behind a link that is limited in both directions.

The addresses exist only in here. A host's egress is limited on its own interface, its ingress on the bridge's port, so
that both queue where a real link would. Interface counters are read at the bridge's ports: what a port receives is what
the host has sent.
"""

import ctypes
import http.client
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from ..report import BenchError

PREFIX: Final = "skvaller-lab-"
HEADERS: Final = 1514 / 1448
"""A full Ethernet frame over what it carries for TCP with timestamps: no download can do without."""

_NAMESPACES: Final = Path("/run/netns")
_HOSTS_MAX: Final = 250
_LATENCY_MS: Final = 50
_BURST_BYTES: Final = 128 * 1024
_BURST_S: Final = 0.002
_TIMEOUT_S: Final = 10.0
_RESULT = TypeVar("_RESULT")


@dataclass(frozen=True, slots=True)
class Host:
    """A host: a namespace with one interface, `eth0`.

    Args:
        name: in the lab.
        netns: name of its namespace.
        address: its IP address.
        port: the bridge's interface that leads to it.
    """

    name: str
    netns: str
    address: str
    port: str

    def command(self, *words: str) -> list[str]:
        """A command that runs on it, under the pid that it is started with, and ends with this process."""
        return ["setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", self.netns, *words]

    def get(self, port: int, path: str) -> bytes:
        """What a server on its loopback answers.

        Raises:
            OSError: it does not answer, or not well.
        """
        return inside(self.netns, lambda: _get("127.0.0.1", port, path))

    def listens(self, address: str, port: int) -> bool:
        """Whether somebody on it accepts connections there."""
        return inside(self.netns, lambda: _accepts(address, port))


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a host's interface has carried so far, bytes; of large packets that were not cut yet, one header counts."""

    received: int
    sent: int

    def __sub__(self, other: "Traffic") -> "Traffic":
        return Traffic(self.received - other.received, self.sent - other.sent)


class Network:
    """A bridge in a namespace of its own, and the hosts on it.

    Args:
        stack: whatever is made goes when this one is closed.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._hosts: list[Host] = []
        self._switch = self._namespace("switch")
        _run(["ip", "-n", self._switch, "link", "add", "bridge", "type", "bridge"])
        _run(["ip", "-n", self._switch, "link", "set", "bridge", "up"])

    def host(self, name: str, link_bits: int) -> Host:
        """Add a host behind a link of so many bits per second, either way."""
        number = len(self._hosts) + 1
        if number > _HOSTS_MAX:
            raise BenchError(f"the lab's network has room for {_HOSTS_MAX} hosts")
        host = Host(name, self._namespace(name), f"10.78.0.{number}", f"port{number}")
        self._hosts.append(host)
        peer = ["peer", "name", "eth0", "netns", host.netns]
        _run(["ip", "-n", self._switch, "link", "add", host.port, "type", "veth", *peer])
        _run(["ip", "-n", self._switch, "link", "set", host.port, "master", "bridge", "up"])
        _run(["ip", "-n", host.netns, "address", "add", f"{host.address}/24", "dev", "eth0"])
        _run(["ip", "-n", host.netns, "link", "set", "eth0", "up"])
        _run(["ip", "-n", host.netns, "link", "set", "lo", "up"])
        self.limit_sent(host, link_bits)
        _limit(self._switch, host.port, link_bits)
        return host

    def limit_sent(self, host: Host, bits: int) -> None:
        """Let no more than so many bits per second leave a host."""
        _limit(host.netns, "eth0", bits)

    def traffic(self) -> Mapping[str, Traffic]:
        """What every host's interface has carried, by the host's name. Source: proc_pid_net(5)."""
        text = inside(self._switch, Path("/proc/thread-self/net/dev").read_text)
        rows = {name.strip(): row.split() for name, _, row in (line.partition(":") for line in text.splitlines()[2:])}
        return {
            host.name: Traffic(received=int(rows[host.port][8]), sent=int(rows[host.port][0])) for host in self._hosts
        }

    def _namespace(self, name: str) -> str:
        netns = f"{PREFIX}{os.getpid()}-{name}"
        self._stack.callback(_remove, netns)
        _run(["ip", "netns", "add", netns])
        return netns


def remove_orphans() -> None:
    """Remove the namespaces of labs whose process was killed."""
    for path in _NAMESPACES.glob(f"{PREFIX}*"):
        if orphaned(path.name):
            with suppress(BenchError):
                _remove(path.name)


def orphaned(name: str) -> bool:
    """Whether something of ours, whose name says which process made it, has outlived that process."""
    pid = name.removeprefix(PREFIX).partition("-")[0]
    return name.startswith(PREFIX) and pid.isdecimal() and not Path(f"/proc/{pid}").exists()


def congestion_control() -> str:
    """How TCP reacts to full links here; new namespaces take it from the machine."""
    return Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()


def inside(netns: str, work: Callable[[], _RESULT]) -> _RESULT:
    """Do something inside a namespace. That is a property of the thread, which ends with this call."""

    def enter() -> _RESULT:
        libc = ctypes.CDLL(None, use_errno=True)
        with (_NAMESPACES / netns).open() as namespace:
            if libc.setns(namespace.fileno(), 0):
                raise OSError(ctypes.get_errno(), f"setns {netns}")
        return work()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(enter).result()


def _limit(netns: str, device: str, bits: int) -> None:
    """A token bucket: room for one packet as large as they get before they are cut, and for 50 ms of queue."""
    burst = max(_BURST_BYTES, round(bits / 8 * _BURST_S))
    bucket = ["tbf", "rate", f"{bits}bit", "burst", f"{burst}b", "latency", f"{_LATENCY_MS}ms"]
    _run(["tc", "-n", netns, "qdisc", "replace", "dev", device, "root", *bucket])


def _remove(netns: str) -> None:
    if (_NAMESPACES / netns).exists():
        _run(["ip", "netns", "delete", netns])


def _get(address: str, port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection(address, port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    except http.client.HTTPException as error:
        raise OSError(f"{path}: {error!r}") from None
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise OSError(f"{path}: status {answer.status}")
    return body


def _accepts(address: str, port: int) -> bool:
    connection = http.client.HTTPConnection(address, port, timeout=_TIMEOUT_S)
    try:
        connection.connect()
    except OSError:
        return False
    connection.close()
    return True


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{' '.join(command)}: {done.stderr.strip()}")
