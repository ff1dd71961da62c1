"""Addresses, and small networks: hosts in network namespaces of their own on one switch, without a way out.

    host: eth0 ── wire1 │ bridge line1 │ line1-out ── port1 │ bridge │ port2 ── …
                                 queue ┘              queue ┘

Addresses in a namespace exist only inside it: the machine's own network is neither used nor seen. Links are limited as
a line or a router limits them, out of sight of the hosts: what a host sends at its line's way out, what is for it at
its port. Interface counters are read at the ports: what a port receives is what the host has sent.

A queue on the host's own interface would be another thing. Its TCP then keeps no more than two packets of a connection
there (TCP small queues), so connections share the link by the size of their packets, which is 64 KB where the first
answer came at once, and 3 KB where it had to wait in a queue: of six, the first takes four fifths of it. Source: Linux,
net/ipv4/tcp_output.c (tcp_small_queue_check, tcp_tso_autosize).
"""

import ctypes
import http.client
import ipaddress
import os
import shutil
import socket
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self, TypeVar

from .errors import RunError
from .processes import run

MBIT: Final = 1_000_000
PREFIX: Final = "skvaller-"
"""Names of namespaces and folders begin with this, the id of the process that made them, and a hyphen."""

_NAMESPACES: Final = Path("/run/netns")
_FILES: Final = Path("/etc/netns")
"""What a folder here has stands in for files of /etc for what `ip netns exec` runs in the namespace of that name."""

_SUBNET: Final = ipaddress.IPv4Network("10.78.0.0/24")
"""Where the hosts of a network have their addresses."""

_HOSTS_MAX: Final = 250
"""Hosts on one network: its subnet has room for four more."""

_BRIDGE: Final = "bridge"
"""The bridge of which the hosts' lines are ports."""

_QUEUE_MS: Final = 50
"""How long a packet may wait for its turn on a limited link, milliseconds, before the link drops it."""

_BURST_BYTES: Final = 128 * 1024
_BURST_S: Final = 0.002
"""What may leave a limited link at once: two large packets before they are cut, and no less than 2 ms of its rate."""

_LOSS_STEPS: Final = 100_000
"""Parts of the whole in which a share of packets to lose is stated: thousandths of a percent."""

_TIMEOUT_S: Final = 10.0
"""How long a server may take to accept a connection, or to send its next bytes, seconds."""

_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_Result = TypeVar("_Result")


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def free_address(host: str = "127.0.0.1") -> Address:
    """An address where nobody listens now, over TCP or UDP.

    Raises:
        RunError: there is none.
    """
    for _ in range(100):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp, suppress(OSError):
            tcp.bind((host, 0))
            port = int(tcp.getsockname()[1])
            udp.bind((host, port))
            return Address(host, port)
    raise RunError(f"no port is free on {host}")


def get(url: str, netns: str | None = None) -> bytes:
    """GET without a proxy, from inside a network namespace if one is named.

    Raises:
        OSError: nobody answers, the answer ends early, or its status is not 200 (`urllib.error.HTTPError`).
    """

    def ask() -> bytes:
        try:
            with _DIRECT.open(url, timeout=_TIMEOUT_S) as answer:
                return bytes(answer.read())
        except http.client.HTTPException as error:
            raise OSError(f"{url}: {error!r}") from None

    return inside(netns, ask)


def accepts(address: Address, netns: str | None = None) -> bool:
    """Whether somebody accepts connections there."""

    def connect() -> bool:
        with suppress(OSError), socket.create_connection(address, _TIMEOUT_S):
            return True
        return False

    return inside(netns, connect)


# Namespaces


class Namespace:
    """A network namespace with only loopback, which exists inside of `with`. Needs root.

    Args:
        name: unique among those of this process.
    """

    def __init__(self, name: str) -> None:
        self.name = f"{PREFIX}{os.getpid()}-{name}"

    def __enter__(self) -> Self:
        run(["ip", "netns", "add", self.name])
        try:
            run(["ip", "-n", self.name, "link", "set", "lo", "up"])
        except BaseException:
            _remove(self.name)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _remove(self.name)

    def run(self, *command: str) -> str:
        """Run a tool in it; return what it printed."""
        return run(command, netns=self.name)


def inside(netns: str | None, work: Callable[[], _Result]) -> _Result:
    """Call something inside a namespace, in a thread of its own: a namespace is a property of the thread."""
    if netns is None:
        return work()

    def moved() -> _Result:
        enter(netns)
        return work()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(moved).result()


def enter(netns: str) -> None:
    """Move the calling thread into a network namespace, for good."""
    libc = ctypes.CDLL(None, use_errno=True)
    with (_NAMESPACES / netns).open() as namespace:
        if libc.setns(namespace.fileno(), 0):
            raise OSError(ctypes.get_errno(), f"setns {netns}")


def remove_orphans() -> None:
    """Remove the namespaces of processes that were killed before they could do it."""
    for path in _NAMESPACES.glob(f"{PREFIX}*"):
        if orphaned(path.name):
            with suppress(RunError):  # another process removes it at the same time
                _remove(path.name)


def orphaned(name: str) -> bool:
    """Whether a namespace or folder, whose name says which process made it, has outlived that process."""
    pid = name.removeprefix(PREFIX).partition("-")[0]
    return name.startswith(PREFIX) and pid.isdecimal() and not Path(f"/proc/{pid}").exists()


def _remove(netns: str) -> None:
    shutil.rmtree(_FILES / netns, ignore_errors=True)
    if (_NAMESPACES / netns).exists():
        run(["ip", "netns", "delete", netns])


# Networks


@dataclass(frozen=True, slots=True)
class Traffic:
    """What an interface has carried so far, bytes; a packet of up to 64 KiB that is not cut yet counts one header."""

    received: int
    sent: int

    def __sub__(self, other: "Traffic") -> "Traffic":
        return Traffic(self.received - other.received, self.sent - other.sent)


@dataclass(frozen=True, slots=True)
class Host:
    """A host: a namespace with one interface, `eth0`.

    Args:
        name: on its network.
        netns: the namespace's name.
        address: its IP address.
        switch: the namespace of the switch that it hangs on.
        port: its port of the switch.
        others: addresses that it has beside that one.
    """

    name: str
    netns: str
    address: str
    switch: str
    port: str
    others: tuple[str, ...] = ()

    def run(self, *command: str) -> str:
        """Run a tool on it; return what it printed."""
        return run(command, netns=self.netns)

    def resolve(self, addresses: Mapping[str, str]) -> None:
        """Let programs that are started on it from now on find addresses by name. Source: ip-netns(8)."""
        folder = _FILES / self.netns
        folder.mkdir(parents=True, exist_ok=True)
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in addresses.items())]
        (folder / "hosts").write_text("\n".join([*lines, ""]))

    def renumber(self, *addresses: str) -> "Host":
        """Have other addresses instead, each with the length of its prefix; the first one is the host's from now on."""
        self.run("ip", "address", "flush", "dev", "eth0", "scope", "global")
        for address in addresses:
            self.run("ip", "address", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))
        first, *others = (address.partition("/")[0] for address in addresses)
        return replace(self, address=first, others=tuple(others))

    def limit_sent(self, bits: int) -> None:
        """Limit what leaves it, bits per second."""
        _limit(self.switch, _way_out(self.port), bits)

    def limit_received(self, bits: int) -> None:
        """Limit what arrives at it, bits per second."""
        _limit(self.switch, self.port, bits)

    def cut(self) -> None:
        """Take it off the network: the bridge silently loses what comes from it and what is for it."""
        table = f"bridge cut-{self.port}"
        rules = [f"add rule {table} forward {way} {self.port} drop" for way in ("iifname", "oifname")]
        chain = f"add chain {table} forward {{ type filter hook forward priority 0; }}"
        run(["nft", "; ".join([f"add table {table}", chain, *rules])], netns=self.switch)

    def rejoin(self) -> None:
        """Undo `cut`."""
        run(["nft", f"delete table bridge cut-{self.port}"], netns=self.switch)

    @contextmanager
    def away(self) -> Iterator[None]:
        """It is cut off inside of `with`."""
        self.cut()
        try:
            yield
        finally:
            self.rejoin()

    def lose(self, percent: int) -> None:
        """Lose a share of the packets that come from it or are for it, at random; up to 64 KiB count as one packet."""
        table = f"bridge lossy-{self.port}"
        rules = [
            f"add rule {table} forward {way} {self.port} numgen random mod 100 < {percent} drop"
            for way in ("iifname", "oifname")
        ]
        chain = f"add chain {table} forward {{ type filter hook forward priority 0; }}"
        run(["nft", "; ".join([f"add table {table}", chain, *rules])], netns=self.switch)

    def lose_nothing(self) -> None:
        """Undo `lose`."""
        run(["nft", f"delete table bridge lossy-{self.port}"], netns=self.switch)

    def delay(self, bits: int, queue_ms: int) -> None:
        """Put it behind a thin link with a deep queue, bits per second: what is sent through it waits its turn.

        The kernel's `netem`, which delays each packet alike, is not in all kernels.
        """
        for device in (_way_out(self.port), self.port):
            _limit(self.switch, device, bits, queue_ms)

    def delay_nothing(self) -> None:
        """Undo `delay`, and every limit."""
        for device in (_way_out(self.port), self.port):
            run(["tc", "-n", self.switch, "qdisc", "delete", "dev", device, "root"])

    def drop(self, port: int, *others: "Host") -> None:
        """Lose all packets between it and others that are from or for a TCP or UDP port."""
        addresses = ", ".join(other.address for other in others)
        rules = [
            f"{way} {{ {addresses} }} meta l4proto {{ tcp, udp }} th {end} {port} drop"
            for way in ("ip saddr", "ip daddr")
            for end in ("sport", "dport")
        ]
        commands = ["add table inet lost"]
        for chain in ("input", "output"):
            commands.append(f"add chain inet lost {chain} {{ type filter hook {chain} priority 0; }}")
            commands += [f"add rule inet lost {chain} {rule}" for rule in rules]
        self.run("nft", "; ".join(commands))

    def drop_nothing(self) -> None:
        """Undo `drop`."""
        self.run("nft", "delete table inet lost")


class Network:
    """A switch in a namespace of its own, and the hosts on it.

    Args:
        stack: everything that is made goes when this one is closed.
        congestion: how TCP of its hosts reacts to full links, such as `cubic`; None for what this machine does.
    """

    def __init__(self, stack: ExitStack, congestion: str | None = None) -> None:
        self.hosts: dict[str, Host] = {}
        self._stack = stack
        self._congestion = congestion
        self._switch = stack.enter_context(Namespace("switch")).name
        self._add_bridge(_BRIDGE)

    def host(self, name: str, link_bits: int | None = None) -> Host:
        """Add a host, behind a link that is limited in both directions if a rate is given, bits per second.

        Raises:
            RunError: the network is full, or the kernel has no such congestion control.
        """
        number = len(self.hosts) + 1
        if number > _HOSTS_MAX:
            raise RunError(f"the network has room for {_HOSTS_MAX} hosts")
        netns = self._stack.enter_context(Namespace(name)).name
        host = self.hosts[name] = Host(name, netns, f"{_SUBNET[number]}", self._switch, f"port{number}")
        line, wire, way_out = f"line{number}", f"wire{number}", _way_out(host.port)
        self._add_bridge(line)
        self._link("add", wire, "type", "veth", "peer", "name", "eth0", "netns", netns)
        self._link("add", host.port, "type", "veth", "peer", "name", way_out)
        for device, bridge in ((wire, line), (way_out, line), (host.port, _BRIDGE)):
            self._link("set", device, "master", bridge, "addrgenmode", "none", "up")
        run(["ip", "-n", netns, "address", "add", f"{host.address}/{_SUBNET.prefixlen}", "dev", "eth0"])
        run(["ip", "-n", netns, "link", "set", "eth0", "up"])
        if self._congestion is not None:
            _control_congestion(netns, self._congestion)
        if link_bits is not None:
            host.limit_sent(link_bits)
            host.limit_received(link_bits)
        return host

    def _add_bridge(self, name: str) -> None:
        """Add one that says nothing of its own."""
        self._link("add", name, "type", "bridge", "mcast_snooping", "0")
        self._link("set", name, "addrgenmode", "none", "up")

    def _link(self, *command: str) -> None:
        run(["ip", "-n", self._switch, "link", *command])

    def lose(self, percent: float) -> None:
        """Lose a share of all packets that cross the network, at random, for as long as it exists.

        From now on its hosts cut what they send into packets for the wire themselves: one that is lost is 1.5 KB.
        """
        for host in self.hosts.values():
            run(["ip", "-n", host.netns, "link", "set", "eth0", "gso_max_segs", "1"])
        steps = max(1, round(percent / 100 * _LOSS_STEPS))
        self._rule("lossy", f'iifname "port*" numgen random mod {_LOSS_STEPS} <= {steps - 1} drop')

    @contextmanager
    def divided(self, one: Sequence[Host], other: Sequence[Host]) -> Iterator[None]:
        """Inside of `with` all packets between two groups of hosts are lost; the rest of the network reaches both."""
        sides = [", ".join(host.port for host in hosts) for hosts in (one, other)]
        crossing = [f"iifname {{ {a} }} oifname {{ {b} }} drop" for a, b in (sides, sides[::-1])]
        self._rule("divided", *crossing)
        try:
            yield
        finally:
            run(["nft", "delete table bridge divided"], netns=self._switch)

    def _rule(self, table: str, *rules: str) -> None:
        """Add a table to the bridge, with rules for what is forwarded."""
        commands = [f"add table bridge {table}"]
        commands.append(f"add chain bridge {table} forward {{ type filter hook forward priority 0; }}")
        commands += [f"add rule bridge {table} forward {rule}" for rule in rules]
        run(["nft", "; ".join(commands)], netns=self._switch)

    def traffic(self) -> Mapping[str, Traffic]:
        """What every host's interface has carried, by the host's name. Source: proc_pid_net(5)."""
        text = inside(self._switch, Path("/proc/thread-self/net/dev").read_text)
        rows = {name.strip(): row.split() for name, _, row in (line.partition(":") for line in text.splitlines()[2:])}
        return {
            host.name: Traffic(received=int(rows[host.port][8]), sent=int(rows[host.port][0]))
            for host in self.hosts.values()
        }


def _control_congestion(netns: str, name: str) -> None:
    """Have TCP of a host react to full links in one way. Source: ip-route(8), `congctl`.

    Its routes say so: the namespace's own setting, tcp(7), may name only what the whole machine allows.
    """
    for route in (f"{_SUBNET} dev eth0", "local 127.0.0.1 dev lo table local"):
        run(["ip", "-n", netns, "route", "replace", *route.split(), "congctl", name])


def _way_out(port: str) -> str:
    """The end of the line of the host that has a port: what it sends waits for its turn there."""
    return f"{port.replace('port', 'line')}-out"


def _limit(netns: str, device: str, bits: int, queue_ms: int = _QUEUE_MS) -> None:
    burst = max(_BURST_BYTES, round(bits / 8 * _BURST_S))
    bucket = ["tbf", "rate", f"{bits}bit", "burst", f"{burst}b", "latency", f"{queue_ms}ms"]
    run(["tc", "-n", netns, "qdisc", "replace", "dev", device, "root", *bucket])
