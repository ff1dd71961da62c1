"""An agent on each host, which its client asks."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from testbed.agents import CLIENT_PORT, GOSSIP_PORT, PEER_PORT, Agent, Endpoints
from testbed.images import Image
from testbed.network import Address, Host
from testbed.processes import Process, wait_until

from ..asking import TIMEOUT_S, Asker
from ..finding import AgentFinder, Finder
from ..servers import UPSTREAM
from . import Mode, Site

_SUSPECTED: Final = 'skvaller_gossip_events_total{event="member_suspected"}'
_LAG: Final = 'skvaller_event_loop_lag_seconds{percentile="99"}'
_SUSPICION: Final = re.compile(r"event=MemberSuspected member=(\S+)")


class Skvaller(Mode):
    """Agents, empty at first, with the names of their hosts.

    Args:
        name: on the command line.
        site: where they run.
        flags: what they are told beyond the addresses of others.
    """

    control_port = GOSSIP_PORT
    knows_others = True
    tells_sources = True

    def __init__(self, name: str, site: Site, flags: Sequence[str] = ()) -> None:
        super().__init__(name, site)
        told = [] if site.hub_url else ["--upstream", f"docker.io={site.url}"]
        usual = [*told, *site.agent_flags, *flags]
        self._agents = {
            node.name: agent_on(node, site.place(node) / "agent", [*usual, *self._others(node)]) for node in site.nodes
        }

    def _others(self, host: Host) -> Sequence[str]:
        """What the agent of a host is told of the others: the first nothing, and the rest where the first is."""
        seed = self.site.nodes[0]
        return ["--join", seed.address] if seed != host else []

    @property
    def processes(self) -> Mapping[str, Process]:
        """The agents."""
        return self._agents

    def is_ready(self, host: Host) -> bool:
        """Whether its agent says so."""
        return self._agents[host.name].is_ready()

    def known_by(self, host: Host) -> set[str]:
        """Those that its agent sees alive."""
        return {row["name"] for row in _members(self._agents[host.name]) if row["state"] == "alive"}

    def asked(self, host: Host) -> str:
        """Its own agent's."""
        return str(self._agents[host.name].endpoints.client)

    def until_found(self, holder: Host, image: Image) -> None:
        """Wait until all agents that run find its name, its manifest and its blobs on the holder."""
        wanted = (image.name, image.manifest, image.config, *image.layers)

        def found() -> bool:
            running = [agent for agent in self._agents.values() if agent.running]
            return all(_finds(agent, what, holder.name) for agent in running for what in wanted)

        wait_until(found, f"the others to find what {holder.name} holds", self.found_within_s)

    def busiest(self) -> str | None:
        """The agent that has fetched most from upstream and served most to others."""
        moved = dict.fromkeys(self._agents, 0)
        for name, sources in self.sources().items():
            for source, count in sources.items():
                moved[name if source == UPSTREAM else source] += count
        return max(moved, key=lambda name: moved[name])

    def sources(self) -> Mapping[str, Mapping[str, int]]:
        """As the agents tell it, bodies only."""
        asked = ((name, received(agent)) for name, agent in self._agents.items())
        return {name: sources for name, sources in asked if sources is not None}

    def finder(self, host: Host, timeout_s: float = TIMEOUT_S) -> Finder:
        """Asks its agent who has what."""
        return AgentFinder(Asker(host, self.asked(host), timeout_s))

    def key_count(self, host: Host) -> int:
        """As its agent says."""
        return keys_of(self._agents[host.name], host.name)

    def counters(self) -> Mapping[str, float]:
        """Suspicions that each agent that answers had."""
        return {name: shown[_SUSPECTED] for name, agent in self._agents.items() if (shown := metrics(agent))}

    def figures(
        self, before: Mapping[str, float], after: Mapping[str, float], gone: Collection[str]
    ) -> Mapping[str, float]:
        """Suspicions among members that were there all the time, and the worst loop lag of all that answer."""
        lags = [shown[_LAG] for name in after if (shown := metrics(self._agents[name]))]
        found = {"lag_ms": 1000 * max(lags)} if lags else {}
        stayed = [name for name in after if name in before and name not in gone]
        if not stayed:
            return found
        suspicions = sum(after[name] - before[name] for name in stayed)
        rightly = sum(suspicions_of(self._agents[name], other) for name in stayed for other in gone)
        return {**found, "suspicions": suspicions - rightly}


def agent_on(host: Host, folder: Path, flags: Sequence[str]) -> Agent:
    """An agent with the name of its host.

    Args:
        host: where it runs.
        folder: for its data.
        flags: what it is told beyond its addresses.
    """
    endpoints = Endpoints(
        Address("127.0.0.1", CLIENT_PORT), Address("0.0.0.0", PEER_PORT), Address("0.0.0.0", GOSSIP_PORT)
    )
    usual = ["--cache-size", "20GiB", "--advertise", host.address, "--log-level", "info"]
    return Agent(folder, host.name, endpoints, [*usual, *flags], netns=host.netns)


# What agents answer. One that does not answer, for example because it was killed, counts as empty.


def keys_of(agent: Agent, name: str) -> int:
    """How many keys an agent knows a member to hold; 0 while it does not answer."""
    return next((int(row["keys"]) for row in _members(agent) if row["name"] == name), 0)


def received(agent: Agent) -> Mapping[str, int] | None:
    """Bytes that an agent has received, by source: a member's name or `upstream`; None if it does not answer."""
    answer = _ask(agent, "/api/v1/fetches")
    if answer is None:
        return None
    total: Counter[str] = Counter()
    for record in answer["fetches"]:
        total.update(record["sources"])
    return total


def metrics(agent: Agent) -> Mapping[str, float]:
    """An agent's metrics, by name and labels as they are printed; empty if it does not answer."""
    with suppress(OSError):
        return agent.metrics()
    return {}


def suspicions_of(agent: Agent, name: str) -> int:
    """How often an agent has suspected a member, by its log."""
    return _SUSPICION.findall(agent.output).count(name)


def _finds(agent: Agent, what: str, holder: str) -> bool:
    """Whether an agent finds a digest or image name on a holder."""
    with suppress(OSError):
        return holder in agent.holders(what)
    return False


def _members(agent: Agent) -> list[dict[str, Any]]:
    answer = _ask(agent, "/api/v1/members")
    return list(answer["members"]) if answer is not None else []


def _ask(agent: Agent, path: str) -> Any:
    if agent.running:
        with suppress(OSError):
            return agent.ask(path)
    return None
