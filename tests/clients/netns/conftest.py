"""A small network for tests: hosts in network namespaces of their own, joined by a bridge, without a way out.

Its addresses exist only inside: the machine's own network is neither used nor seen. All of it goes at the test's end.
A test process that was killed leaves namespaces without a process in them; the next run removes those.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.conftest import Agent, Containerd, Image, Registry, need, run

_PREFIX = "skvaller-test-"
_NAMESPACES = Path("/run/netns")


@dataclass(frozen=True)
class Host:
    """A host: a namespace with one interface.

    Args:
        netns: the namespace's name.
        address: its IP address.
        switch: the namespace of the bridge that it hangs on.
        port: its port of the bridge.
    """

    netns: str
    address: str
    switch: str
    port: str

    def run(self, *command: str) -> str:
        """Run a tool on it, to its end; return its output, or fail with what it said."""
        return run(command, netns=self.netns)

    def limit(self, rate: str) -> None:
        """Let no more than e.g. `100mbit` leave it."""
        bucket = ["tbf", "rate", rate, "burst", "128kb", "latency", "50ms"]
        run(["tc", "-n", self.netns, "qdisc", "replace", "dev", "eth0", "root", *bucket])

    def cut(self) -> None:
        """Take it off the network: from now on the bridge loses what comes from it or is for it, and nobody is told."""
        table = f"bridge cut-{self.port}"
        rules = [f"add rule {table} forward {way} {self.port} drop" for way in ("iifname", "oifname")]
        chain = f"add chain {table} forward {{ type filter hook forward priority 0; }}"
        self._on_switch("; ".join([f"add table {table}", chain, *rules]))

    def rejoin(self) -> None:
        """Undo `cut`."""
        self._on_switch(f"delete table bridge cut-{self.port}")

    def _on_switch(self, commands: str) -> None:
        run(["nft", commands], netns=self.switch)

    def drop(self, port: int, *others: "Host") -> None:
        """Lose what goes to a TCP and UDP port of others from now on, and what comes from or for it."""
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
    """A bridge, and the hosts on it."""

    def __init__(self, stack: ExitStack) -> None:
        self.hosts: dict[str, Host] = {}
        self._stack = stack
        self._switch = self._namespace("switch")
        run(["ip", "-n", self._switch, "link", "add", "bridge", "type", "bridge"])
        run(["ip", "-n", self._switch, "link", "set", "bridge", "up"])

    def host(self, name: str) -> Host:
        """Add a host."""
        number = len(self.hosts) + 1
        port = f"port{number}"
        host = self.hosts[name] = Host(self._namespace(name), f"10.77.0.{number}", self._switch, port)
        peer = ["peer", "name", "eth0", "netns", host.netns]
        for switch in (
            ["link", "add", port, "type", "veth", *peer],
            ["link", "set", port, "master", "bridge", "up"],
        ):
            run(["ip", "-n", self._switch, *switch])
        for own in (
            ["address", "add", f"{host.address}/24", "dev", "eth0"],
            ["link", "set", "eth0", "up"],
            ["link", "set", "lo", "up"],
        ):
            run(["ip", "-n", host.netns, *own])
        return host

    def _namespace(self, name: str) -> str:
        netns = f"{_PREFIX}{os.getpid()}-{name}"
        self._stack.callback(_remove, netns)
        run(["ip", "netns", "add", netns])
        return netns


def _remove(netns: str) -> None:
    if (_NAMESPACES / netns).exists():
        run(["ip", "netns", "delete", netns])


def _remove_orphans() -> None:
    """Remove what a killed test process left."""
    for path in _NAMESPACES.glob(f"{_PREFIX}*"):
        pid = path.name.removeprefix(_PREFIX).partition("-")[0]
        if not Path(f"/proc/{pid}").exists():
            with contextlib.suppress(FileNotFoundError):
                _remove(path.name)


@dataclass
class Node:
    """A host with a containerd, and an agent that serves it and what the containerd holds.

    Args:
        host: where both run.
        containerd: asks the agent for everything of docker.io.
        agent: on the host's 127.0.0.1:5000.
        hosts_dir: the folder that tells containerd so.
    """

    host: Host
    containerd: Containerd
    agent: Agent
    hosts_dir: Path

    def ctr(self, *arguments: str) -> str:
        return self.containerd.ctr(*arguments, namespace="default")

    def import_image(self, image: Image) -> None:
        """Put an image into the containerd, as a person would who has it as a file."""
        self.containerd.import_image(image, namespace="default")

    def pull(self, name: str) -> None:
        """Pull and unpack as containerd does; fail if that fails."""
        self.ctr("images", "pull", "--hosts-dir", str(self.hosts_dir), name)

    def digest_of(self, name: str) -> str | None:
        """What the containerd has under a name."""
        rows = [line.split() for line in self.ctr("images", "list").splitlines()[1:]]
        return next((row[2] for row in rows if row[0] == name), None)

    def has(self, image: Image) -> bool:
        """Whether every byte of an image is in the containerd's content store, as it should be."""
        return all(
            (path := self.containerd.blob_path(digest)).exists() and path.read_bytes() == image.read(digest)
            for digest in image.digests
        )


def _write_hosts(folder: Path) -> Path:
    """A folder as `config_path` of containerd's, or `--hosts-dir` of ctr's: docker.io by way of the local agent."""
    hosts = folder / "docker.io" / "hosts.toml"
    hosts.parent.mkdir(parents=True)
    hosts.write_text(
        """server = "https://registry-1.docker.io"

[host."http://127.0.0.1:5000"]
  capabilities = ["pull", "resolve"]
"""
    )
    return folder


@pytest.fixture
def network() -> Iterator[Network]:
    """A network without hosts: `network.host(name)` adds one."""
    need("ip", "tc", "nft")
    _remove_orphans()
    with ExitStack() as stack:
        yield Network(stack)


@pytest.fixture
def upstream(network: Network, start_registry: Callable[..., Registry]) -> Registry:
    """The registry that all nodes take for docker.io, on a host of its own."""
    host = network.host("upstream")
    return start_registry(f"{host.address}:5000", netns=host.netns)


@pytest.fixture
def start_node(
    network: Network,
    upstream: Registry,
    start_containerd: Callable[..., Containerd],
    start_agent: Callable[..., Agent],
    tmp_path: Path,
) -> Callable[..., Node]:
    """Start a host with containerd and agent: `start_node(name, *others_to_join, flags=())`; it has joined then."""

    def start(name: str, *others: Node, flags: Sequence[str] = ()) -> Node:
        host = network.host(name)
        containerd = start_containerd(f"c-{name}", host.netns)
        flags = [*flags, "--containerd", str(containerd.socket), "--containerd-namespace", "default"]
        flags += ["--upstream", f"docker.io=http://{upstream.address}"]
        for other in others:
            flags += ["--join", other.agent.gossip]
        agent = start_agent(name, host.address, *flags, listen="127.0.0.1", netns=host.netns)
        for other in others:
            agent.until_state(other.agent.name, "alive")
            other.agent.until_state(name, "alive")
        return Node(host, containerd, agent, _write_hosts(tmp_path / f"hosts-{name}"))

    return start


@pytest.fixture
def start_member(
    network: Network, upstream: Registry, start_agent: Callable[..., Agent]
) -> Callable[..., tuple[Host, Agent]]:
    """Start a host with an agent alone: `start_member(name, *others_to_join, flags=(), odd="")`."""

    def start(name: str, *others: Agent, flags: Sequence[str] = (), odd: str = "") -> tuple[Host, Agent]:
        host = network.host(name)
        flags = [*flags, "--upstream", f"docker.io=http://{upstream.address}"]
        for other in others:
            flags += ["--join", other.gossip]
        return host, start_agent(name, host.address, *flags, listen="127.0.0.1", netns=host.netns, odd=odd)

    return start


@dataclass
class Cluster:
    """Hosts with agents that all see each other, by name."""

    hosts: dict[str, Host]
    agents: dict[str, Agent]

    def until_all(self, state: str = "alive") -> None:
        """Wait until everybody sees everybody in a state."""
        for agent in self.agents.values():
            for name in self.agents.keys() - {agent.name}:
                agent.until_state(name, state)


@pytest.fixture
def start_cluster(start_member: Callable[..., tuple[Host, Agent]]) -> Callable[..., Cluster]:
    """Start agents that join the first: `start_cluster("abcd", flags={name: …}, odd={name: …})`; it is complete."""

    def start(
        names: str, *, flags: Mapping[str, Sequence[str]] | None = None, odd: Mapping[str, str] | None = None
    ) -> Cluster:
        cluster = Cluster({}, {})
        for name in names:
            first = list(cluster.agents.values())[:1]
            host, agent = start_member(name, *first, flags=(flags or {}).get(name, ()), odd=(odd or {}).get(name, ""))
            cluster.hosts[name], cluster.agents[name] = host, agent
        cluster.until_all()
        return cluster

    return start


@pytest.fixture
def a(start_node: Callable[..., Node]) -> Node:
    """The first node."""
    return start_node("a")


@pytest.fixture
def b(start_node: Callable[..., Node], a: Node) -> Node:
    """The second node, which has joined the first."""
    return start_node("b", a)
