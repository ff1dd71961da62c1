"""How the parts are put together with which an agent is examined; the agent does it once."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.routing import Route

from ... import __version__
from ...config import AgentConfig
from ...doctor.facts import BudgetFacts, NodeFacts, UpstreamFacts, Way
from ...doctor.machine import descriptors, disk_of, unix_way
from ...interfaces import machine_addresses
from ...oci.reference import DOCKER_HUB
from ...routers import Datagrams, Statuses
from ...settings import DoctorSettings
from ...sources import Looked
from ..asked import Answers
from ..status import NodeStatus
from .echoes import Echoes
from .endpoint import ExaminationEndpoint
from .probes import Probes
from .reaching import Myself, Questions, Reaching


@dataclass(frozen=True, slots=True)
class Examination:
    """What an agent has to be examined.

    Args:
        routes: of the API.
        for_members: answer what members ask.
        probes: recognises probes at the client endpoints.
        run: takes in what comes for it, until cancelled.
    """

    routes: Sequence[Route]
    for_members: Sequence[Answers]
    probes: Probes
    run: Callable[[], Coroutine[Any, Any, None]]

    @classmethod
    def build(  # noqa: PLR0913 - what the agent has built before
        cls,
        config: AgentConfig,
        host: str,
        status: NodeStatus,
        router: Statuses,
        datagrams: Datagrams | None,
        *,
        questions: Questions,
        look: Callable[[str, float], Awaitable[Sequence[Looked]]],
        heard: Callable[[], tuple[int, int]],
        settings: DoctorSettings,
    ) -> "Examination":
        """Put the parts together.

        Args:
            config: what the operator sets.
            host: under which others reach this node.
            status: what this node says of itself.
            router: knows the members.
            datagrams: tries the ways to them; None where the router has none.
            questions: asks members.
            look: has the URLs of a registry looked at, within so many seconds.
            heard: datagrams of gossip that came, and nodes that were heard of and have yet to answer.
            settings: bounds.
        """
        probes = Probes(settings)
        node = _Node(config, host, status, router, datagrams, heard)
        reaching: Reaching | None = None
        run: Callable[[], Coroutine[Any, Any, None]] = _nothing
        if datagrams is not None:
            echoes = Echoes(datagrams, settings)
            me = Myself(config.name, __version__)
            reaching = Reaching(me, router.statuses, datagrams, echoes, questions, settings)
            run = echoes.run
        upstreams = _Upstreams(config, status, look, settings)
        endpoint = ExaminationEndpoint(node.facts, router.statuses, reaching, upstreams.facts, probes, settings)
        return cls(endpoint.routes(), [reaching] if reaching is not None else [], probes, run)


async def _nothing() -> None:
    """Nothing comes."""


@dataclass(frozen=True, slots=True)
class _Node:
    """Gathers what a node knows of itself."""

    config: AgentConfig
    host: str
    status: NodeStatus
    router: Statuses
    datagrams: Datagrams | None
    heard: Callable[[], tuple[int, int]]

    def facts(self) -> NodeFacts:
        """What this node knows of itself now."""
        config, status = self.config, self.status
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        return NodeFacts(
            config.name,
            __version__,
            self.host,
            config.peer.port,
            config.discovery[1].port,
            machine_addresses(family),
            [str(address) for address in config.listen],
            status.is_ready(),
            status.alone(),
            config.first_nodes,
            *self.heard(),
            self.datagrams.namesake if self.datagrams else "",
            config.key_file is not None,
            str(config.key_file or ""),
            disk_of(config.data_dir),
            config.cache_size,
            status.cache_bytes(),
            status.keeps_nothing() or "",
            descriptors(),
            config.containerd or "",
            _containerd_way(config.containerd),
        )


def _containerd_way(address: str | None) -> Way | None:
    """Whether containerd's socket takes a connection; None for an address that is none of a Unix socket."""
    path = (address or "").removeprefix("unix://").removeprefix("unix:")
    return unix_way(path) if path.startswith("/") else None


@dataclass(frozen=True, slots=True)
class _Upstreams:
    """Looks at the registries that matter to a node: Docker Hub, those that the operator named or that were asked."""

    config: AgentConfig
    status: NodeStatus
    look: Callable[[str, float], Awaitable[Sequence[Looked]]]
    settings: DoctorSettings

    async def facts(self) -> Sequence[UpstreamFacts]:
        """What they answer now."""
        named = {registry.name for registry in self.config.upstream}
        asked = {it.registry for it in self.status.budgets()} | {it.registry for it in self.status.outages()}
        return await asyncio.gather(
            *(self._facts(name, is_named=name in named) for name in sorted({DOCKER_HUB, *named, *asked}))
        )

    async def _facts(self, name: str, *, is_named: bool) -> UpstreamFacts:
        is_offline = name in self.config.offline
        urls = () if is_offline else await self.look(name, self.settings.upstream_s)
        budgets = [
            BudgetFacts(it.source, it.remaining, it.limit, it.wait_s)
            for it in self.status.budgets()
            if it.registry == name
        ]
        return UpstreamFacts(name, is_named, is_offline, urls, budgets)
