"""Hosts in network namespaces of their own, with an upstream registry; all of it goes at the test's end.

A test process that was killed leaves namespaces without a process in them; the next run removes those.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from testbed.agents import Agent
from testbed.containerd import Containerd, write_hosts
from testbed.network import Address, Host, Network, remove_orphans
from testbed.nodes import CONTAINERD_NAMESPACE, Cluster, Node
from testbed.registry import Registry
from tests.clients.conftest import need


@pytest.fixture
def network() -> Iterator[Network]:
    """A network without hosts: `network.host(name)` adds one."""
    need("ip", "tc", "nft")
    remove_orphans()
    with ExitStack() as stack:
        yield Network(stack)


@pytest.fixture
def upstream(network: Network, start_registry: Callable[..., Registry]) -> Registry:
    """The registry that all nodes take for docker.io, on a host of its own."""
    host = network.host("upstream")
    return start_registry(Address(host.address, 5000), netns=host.netns)


@pytest.fixture
def start_node(
    network: Network,
    upstream: Registry,
    start_containerd: Callable[..., Containerd],
    start_agent: Callable[..., Agent],
    tmp_path: Path,
) -> Callable[..., Node]:
    """Start a host with containerd and agent: `start_node(name, *others, flags=(), parallel=3)`; it has joined then."""

    def start(name: str, *others: Node, flags: Sequence[str] = (), parallel: int = 3) -> Node:
        host = network.host(name)
        containerd = start_containerd(f"c-{name}", host.netns, parallel)
        flags = [*flags, "--containerd", str(containerd.socket), "--containerd-namespace", CONTAINERD_NAMESPACE]
        flags += ["--upstream", f"docker.io=http://{upstream.address}"]
        for other in others:
            flags += ["--join", other.agent.gossip]
        agent = start_agent(name, host.address, *flags, listen="127.0.0.1", netns=host.netns)
        for other in others:
            agent.until_state(other.agent.name, "alive")
            other.agent.until_state(name, "alive")
        return Node(host, containerd, agent, write_hosts(tmp_path / f"hosts-{name}", agent.url))

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
