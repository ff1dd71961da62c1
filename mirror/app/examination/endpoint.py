"""The part of the API that gathers facts for `skvaller doctor`, for clients of this machine alone.

It has members and registries asked, so one gathers at a time; and it names folders, and the clients of probes.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Scope

from ...doctor.facts import MemberFacts, NodeFacts, UpstreamFacts
from ...routers import MemberStatus
from ...settings import DoctorSettings
from ..writers import is_from_here, refused
from .echoes import NUMBER_BITS
from .probes import TAG, Probes
from .reaching import Reaching

_LEFT = "left"
"""The state of a member that said goodbye: nothing is wrong if it does not answer."""


class ExaminationEndpoint:
    """The routes.

    Args:
        node: tells what this node knows of itself; called in a thread.
        statuses: all members that are known.
        reaching: tries the ways to them; None where the router has no datagrams.
        upstreams: looks at all registries that matter to this node.
        probes: recognises probes.
        settings: bounds.
    """

    def __init__(
        self,
        node: Callable[[], NodeFacts],
        statuses: Callable[[], Sequence[MemberStatus]],
        reaching: Reaching | None,
        upstreams: Callable[[], Awaitable[Sequence[UpstreamFacts]]],
        probes: Probes,
        settings: DoctorSettings,
    ) -> None:
        self._node = node
        self._statuses = statuses
        self._reaching = reaching
        self._upstreams = upstreams
        self._probes = probes
        self._settings = settings
        self._members_turn = asyncio.Lock()
        self._upstreams_turn = asyncio.Lock()

    def routes(self) -> list[Route]:
        """The routes, for a Starlette application."""
        return [
            Route("/api/v1/doctor/node", _from_here(self.node)),
            Route("/api/v1/doctor/members", _from_here(self.members)),
            Route("/api/v1/doctor/upstreams", _from_here(self.upstreams)),
            Route("/api/v1/doctor/probes", _from_here(self.announce), methods=["POST"]),
            Route("/api/v1/doctor/probes/{name:path}", _from_here(self.sightings)),
        ]

    async def node(self, request: Request) -> Response:
        """What this node knows of itself."""
        return JSONResponse(asdict(await asyncio.to_thread(self._node)))

    async def members(self, request: Request) -> Response:
        """What lies between this node and each other one: they are asked now."""
        reaching = self._reaching
        if reaching is None:
            return JSONResponse({"members": None})
        async with self._members_turn:
            slots = asyncio.Semaphore(self._settings.members_at_once)

            async def examined(status: MemberStatus) -> MemberFacts:
                async with slots:
                    return await reaching.examine(status, secrets.randbits(NUMBER_BITS))

            others = [it for it in self._statuses() if not it.itself and it.state != _LEFT]
            found = await asyncio.gather(*(examined(status) for status in others))
        return JSONResponse({"members": [asdict(it) for it in sorted(found, key=lambda facts: facts.name)]})

    async def upstreams(self, request: Request) -> Response:
        """What registries answer: they are asked now, and nothing is pulled."""
        async with self._upstreams_turn:
            return JSONResponse({"upstreams": [asdict(it) for it in await self._upstreams()]})

    async def announce(self, request: Request) -> Response:
        """Announce a probe, `POST` without a body: the answer has its `name` and `tag`, without a registry."""
        return JSONResponse({"name": self._probes.announce(), "tag": TAG})

    async def sightings(self, request: Request) -> Response:
        """The requests for a probe that came so far."""
        seen = self._probes.sightings(request.path_params["name"])
        if seen is None:
            return refused(404, "no such probe: it was announced more than a minute ago, or not here")
        return JSONResponse({"sightings": [asdict(it) for it in seen]})


def _from_here(answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """An answer for clients of this machine alone."""

    async def answered(request: Request) -> Response:
        if not (is_from_here(request.scope) or _is_own(request.scope)):
            return refused(403, "a node is examined on itself only: run `skvaller doctor` there")
        return await answer(request)

    return answered


def _is_own(scope: Scope) -> bool:
    """Whether a request comes from the address to which it goes."""
    server, client = scope.get("server"), scope.get("client")
    return server is not None and client is not None and server[0] == client[0]
