"""What is examined: an agent that runs, or the machine on which none does, and which checks that takes."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from ..config import AgentConfig
from ..errors import ConfigError
from ..runtimes import Wanted, sockets
from ..runtimes.host import Host
from ..runtimes.known import Found, find
from ..sources.upstream.registries import known_registries
from . import Finding, Verdict, ok, skipped
from .advice import Advice
from .checks import Check
from .facts import MemberFacts, NodeFacts, Sighting, UpstreamFacts
from .judging import network, node, registries, runtimes, start
from .probing import RuntimeFacts, probe, ways_of
from .settings import FoundSettings
from .starting import SeedFacts, seed_facts, start_facts

_AT_ONCE: Final = 8
"""Runtimes that are tried at a time: more than a machine has."""

T = TypeVar("T")
Sources = Mapping[str, Callable[[], Any]]


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the agent is, or should be.

    Args:
        url: of its API.
        settings: of the agent here.
        advice: commands, as they are here.
        root: stands for `/`, where runtimes have their files and sockets.
        refuses: raises ConfigError if an agent refuses settings.
        is_probing: whether runtimes are told to pull.
    """

    url: str
    settings: FoundSettings
    advice: Advice
    root: Path
    refuses: Callable[[AgentConfig], None]
    is_probing: bool = True


@dataclass(frozen=True, slots=True)
class RunningAgent:
    """An agent that answers.

    Args:
        ask: gives the JSON of a path of its API.
        post: posts nothing to one, and gives the JSON of the answer.
    """

    ask: Callable[[str], Any]
    post: Callable[[str], Any]

    def node(self) -> NodeFacts:
        """What it knows of itself."""
        return _as(self.ask("/api/v1/doctor/node"), NodeFacts)

    def ways(self) -> tuple[NodeFacts, list[MemberFacts]]:
        """What it knows of itself, and what lies between it and the others."""
        rows = self.ask("/api/v1/doctor/members")["members"]
        return self.node(), [] if rows is None else _as(rows, list[MemberFacts])

    def upstreams(self) -> list[UpstreamFacts]:
        """What registries answer it."""
        return _as(self.ask("/api/v1/doctor/upstreams")["upstreams"], list[UpstreamFacts])

    def keys(self) -> tuple[Any, bool]:
        """Which member has which keys; and whether there are any."""
        has_key = self.node().has_key
        return self.ask("/api/v1/keys") if has_key else {}, has_key

    def members_alive(self) -> int:
        """How many others it sees alive."""
        rows = self.ask("/api/v1/members")["members"]
        return sum(row["state"] == "alive" and not row["itself"] for row in rows)

    def about(self) -> tuple[NodeFacts, int]:
        """What it knows of itself, and how many others it sees alive."""
        return self.node(), self.members_alive()

    def announce(self) -> str:
        """Announce a probe; see `probing.ProbedAgent`."""
        answer = self.post("/api/v1/doctor/probes")
        return f"{answer['name']}:{answer['tag']}"

    def sightings(self, name: str) -> Sequence[Sighting]:
        """The requests for a probe that came; see `probing.ProbedAgent`."""
        path = f"/api/v1/doctor/probes/{name.rpartition(':')[0]}"
        return _as(self.ask(path)["sightings"], list[Sighting])


def _as(document: Any, kind: type[T]) -> T:
    """JSON as values of this kind; raise ValueError if an agent of another version says something else."""
    return msgspec.convert(document, kind, strict=False)


def checks_up(machine: Machine, agent: RunningAgent) -> tuple[Sequence[Check], Sources]:
    """The checks of an agent that answers, and where their facts come from."""
    advice, configured = machine.advice, machine.settings.config
    own_name = configured.name if configured is not None and machine.settings.is_found else None
    checks = [
        Check("agent", "is the agent up", "node", lambda it: node.agent(it[0], machine.url)),
        Check("settings", "are its settings in order", "settings", partial(_settings, advice=advice)),
        Check("name", "does no other node have its name", "node", lambda it: node.name(it[0], own_name, advice)),
        Check("address", "do others get the right address", "node", lambda it: node.address(it[0], advice, it[1])),
        Check("cluster", "has it found the others", "node", lambda it: node.cluster(it[0], it[1], advice)),
        Check("seeds", "are the nodes there through which it joins", "seeds", partial(_seeds, advice=advice)),
        Check("keys", "do all members have the same keys", "keys", lambda it: node.keys(it[0], it[1], advice)),
        Check("tcp", "are ports reached over TCP, both ways", "members", lambda it: network.tcp(it[0], it[1], advice)),
        Check("udp", "does gossip pass over UDP, both ways", "members", lambda it: network.udp(it[0], it[1], advice)),
        Check("mtu", "do large packets pass, both ways", "members", lambda it: network.mtu(it[0], it[1], advice)),
        Check("clock", "are the clocks alike", "members", lambda it: network.clock(it[1])),
        Check("runtime", "does each runtime ask the agent", "runtimes", runtimes.runtimes),
        Check("containerd", "is the containerd there whose content is shared", "containerd",
              lambda it: node.containerd(it[0], it[1], advice)),
        Check("upstream", "do registries answer", "upstreams", lambda it: registries.upstream(it, advice)),
        Check("disk", "is there room on the disk", "node", lambda it: node.disk(it[0], advice)),
        Check("files", "may it have enough files open", "node", lambda it: node.files(it[0], advice)),
    ]  # fmt: skip
    sources: Sources = {
        "node": agent.about,
        "containerd": lambda: (agent.node(), sockets.there(Host(machine.root))),
        "settings": lambda: _looked_through(machine),
        "seeds": lambda: _gathered_seeds(agent),
        "keys": agent.keys,
        "members": agent.ways,
        "runtimes": lambda: runtime_facts(machine, agent),
        "upstreams": agent.upstreams,
    }
    return checks, sources


def checks_down(machine: Machine, why_none: str) -> tuple[Sequence[Check], Sources]:
    """The checks of a machine on which no agent answers, and where their facts come from.

    Args:
        machine: which.
        why_none: why none answers: a sentence without its full stop.
    """
    settings, advice = machine.settings, machine.advice
    if (config := settings.config) is None:

        def unreadable(_: object) -> list[Finding]:
            return [
                Finding("agent", Verdict.ERROR, why_none, "What keeps it from its start is said below.", advice.log),
                start.settings_problem(settings.problem, advice),
            ]

        return [Check("agent", "why does no agent run", "nothing", unreadable)], {"nothing": lambda: None}
    checks = [
        Check("agent", "why does no agent run", "start", lambda it: start.start(it, why_none, advice)),
        Check("runtime", "do the runtimes' files say that they ask the agent", "runtimes", runtimes.without_agent),
    ]
    sources: Sources = {
        "start": lambda: start_facts(config, machine.root, machine.refuses, settings.runs_as),
        "runtimes": lambda: runtime_facts(machine, None),
    }
    return checks, sources


def runtime_facts(machine: Machine, agent: RunningAgent | None) -> list[RuntimeFacts]:
    """The runtimes of a machine, and what came of a probe in each, if an agent runs; all are tried at a time."""

    def facts_of(it: Found) -> RuntimeFacts:
        ways = ways_of(it.runtime, machine.root) if agent is not None and machine.is_probing else ()
        return RuntimeFacts(
            it.runtime,
            it.version or "",
            None if it.change is None else it.asks,
            it.problem or "",
            it.change.notes if it.change is not None else (),
            " ".join(it.change.restart) if it.change is not None else "",
            probe(ways, agent) if ways and agent is not None else None,
        )

    with ThreadPoolExecutor(max_workers=_AT_ONCE) as threads:
        return list(threads.map(facts_of, find(machine.root, _wanted(machine))))


def _wanted(machine: Machine) -> Wanted:
    """Whom runtimes should ask: the agent's client endpoint, for all that it serves."""
    config = machine.settings.config
    if config is None:
        return Wanted(machine.url, tuple(sorted(known_registries(()))))
    return Wanted(config.client_url or machine.url, tuple(sorted(known_registries(config.upstream))))


def _looked_through(machine: Machine) -> FoundSettings:
    """The settings, with what an agent would refuse in them now."""
    settings = machine.settings
    if settings.config is not None and settings.is_found:
        try:
            machine.refuses(settings.config)
        except ConfigError as error:
            return replace(settings, problem=str(error))
    return settings


def _settings(settings: FoundSettings, advice: Advice) -> list[Finding]:
    """Whether the settings would let the agent start again."""
    if "ermission denied" in settings.problem:
        return [skipped("settings", settings.problem, "This user may not read them.", "sudo skvaller doctor")]
    if settings.problem:
        wrong = start.settings_problem(settings.problem, advice)
        return [replace(wrong, means=f"The agent runs, and does not start the next time. {wrong.means}")]
    if not settings.is_found:
        return [
            skipped("settings", "neither a unit nor /etc/skvaller/agent.toml is here: give the agent's flags after --")
        ]
    return [ok("settings", f"{settings.origin} is in order")]


def _gathered_seeds(agent: RunningAgent) -> tuple[list[SeedFacts], int]:
    return [seed_facts(it) for it in agent.node().seeds], agent.members_alive()


def _seeds(given: tuple[list[SeedFacts], int], advice: Advice) -> list[Finding]:
    """Whether the nodes to join through are there. While the node has found others, they matter at its next start."""
    seeds, alive = given
    if seeds and not alive:
        return []  # said by `node.cluster`
    found = [start.seed(it, advice) for it in seeds]
    later = "It has found others; its next start may not. "
    return [
        replace(it, verdict=Verdict.WARNING, means=later) if it.verdict is Verdict.ERROR else it for it in found
    ] or [skipped("seeds", "it is to join through no other node")]
