"""What takes part in a run, and who did what in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from testbed.agents import Agent
from testbed.network import Host, Network
from testbed.processes import Usage
from testbed.registry import Registry
from testbed.servers import Server

from .clients import Client
from .servers import received

PROXY: Final = "proxy"
"""Name of the host with the pull-through cache."""


@dataclass(frozen=True, slots=True)
class Scene:
    """All that takes part in one run.

    Args:
        mode: who is asked: skvaller, direct or pullthrough.
        network: where.
        link_bits: what the nodes' links carry, bits per second.
        nodes: the hosts with a client.
        upstream: the registry.
        agents: by name of their host; none in the other modes.
        proxy: the pull-through cache, in that mode.
        clients: one per node.
        image_bytes: size of what they pull.
    """

    mode: str
    network: Network
    link_bits: int
    nodes: Sequence[Host]
    upstream: Registry
    agents: Mapping[str, Agent]
    proxy: Registry | None
    clients: Sequence[Client]
    image_bytes: int

    @property
    def servers(self) -> Mapping[str, Server]:
        """What stands between the clients and upstream, by host."""
        return self.agents or ({PROXY: self.proxy} if self.proxy else {})

    def sources(self) -> Mapping[str, Mapping[str, int]]:
        """Bytes that every agent that answers has received, by source."""
        asked = ((name, received(agent)) for name, agent in self.agents.items())
        return {name: sources for name, sources in asked if sources is not None}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Who did what in a scenario.

    Args:
        counted: the clients whose times and errors count.
        late: those of them that joined later.
        apart: those that are shown, and do not count.
        batches: the counted ones, by the order in which they went, where that was one batch after the other.
        killed: host of the agent that was killed.
        lost: what that one had used.
    """

    counted: Sequence[Client]
    late: Sequence[Client] = ()
    apart: Sequence[Client] = ()
    batches: Sequence[Sequence[Client]] = ()
    killed: str | None = None
    lost: Usage | None = None
