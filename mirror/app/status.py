"""What people and their tools ask an agent about itself: health, readiness, metrics, members, fetches."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ..cluster.health import Trouble
from ..errors import DigestInvalid, NameInvalid
from ..fetch import Progress, Record
from ..images.tag_trust import Contradiction
from ..metrics import Metrics
from ..routers import MemberStatus
from ..service import Service
from ..settings import AppSettings
from ..sources import UPSTREAM
from .find import Find
from .member_rows import member_row
from .origin import UNNAMED
from .problems import Facts, problems_of
from .progress import ClientPull, pulls_in_progress
from .recent import Recent

Answer = Callable[[Request], Awaitable[Response]]

_FINDS_MAX = 8
"""Bounds the questions who has something that are under way at once: each asks all members that may have it."""
_ALONE = "alone: no other member is reached; `skvaller members` says what was tried"
"""In the answer of a node that is ready; everybody may ask for that, so it names no address."""
_QUERY_SHOWN_MAX = 200
"""Characters of a wrong query that go into the answer: enough to recognise it, and bounded."""


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """What a registry still lets the members ask, as it last said to one of them.

    Args:
        registry: its name.
        source: whose budget it is, as the registry says; empty if it does not.
        remaining: requests that are left; None if it does not say.
        limit: of how many.
        window_s: within which time, s.
        wait_s: for how long nobody asks, s; 0 if they may.
        age_s: how long ago it said so, s.
        refused: what it answered with 429: `nothing`, `pulls`, or `all`.
    """

    registry: str
    source: str
    remaining: int | None
    limit: int | None
    window_s: int | None
    wait_s: float
    age_s: float
    refused: str


@dataclass(frozen=True, slots=True)
class OutageStatus:
    """A registry that does not answer.

    Args:
        registry: its name.
        out_s: for how long it has not answered this node, s; None if only others say that it does not answer.
        members: names of those.
    """

    registry: str
    out_s: float | None
    members: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """What the status endpoint reads of the node. Each callable reads local memory and does not wait.

    Args:
        name: of this node.
        is_ready: whether pulls can be served: the agent is up, knows what the cluster knows, and is not leaving.
        statuses: all known members, this node included.
        alone: what was tried and what came back, while this node looks for others and reaches none; else nothing.
        distrusted: members that are not asked about tags now, by name, each with what it said of one.
        records: the last fetches, the oldest first.
        key_count: number of keys that this node can serve.
        cache_bytes: bytes in the cache, arriving ones included.
        keeps_nothing: why the cache keeps nothing that arrives now; None if it does.
        withheld: how many blobs are in the cache and are not served, by reason.
        pinned: the pinned images that this node is to keep, by state.
        budgets: what registries still let the members ask.
        outages: registries that do not answer.
        version: of the program.
        service: what starts it.
        cache_limit_bytes: bounds `cache_bytes`.
        troubles: members that this node does not ask for content now, by name, each with why.
        pace: what came from a member, or from `upstream`, within the last seconds, bytes per second.
        fetches: how far the last fetches are, the oldest first.
        clients: what clients ask for now.
        pins: the rows of all pins; awaited, for it takes up to 100 ms, in parts.
    """

    name: str
    is_ready: Callable[[], bool]
    statuses: Callable[[], Sequence[MemberStatus]]
    alone: Callable[[], str]
    distrusted: Callable[[], Mapping[str, Contradiction]]
    records: Callable[[], Iterable[Record]]
    key_count: Callable[[], int]
    cache_bytes: Callable[[], int]
    keeps_nothing: Callable[[], str | None]
    withheld: Callable[[], Mapping[str, int]]
    pinned: Callable[[], Mapping[str, int]]
    budgets: Callable[[], Sequence[BudgetStatus]]
    outages: Callable[[], Sequence[OutageStatus]]
    version: str
    service: Service
    cache_limit_bytes: int
    troubles: Callable[[], Mapping[str, Trouble]]
    pace: Callable[[str], float]
    fetches: Callable[[], Sequence[Progress]]
    clients: Callable[[], Sequence[ClientPull]]
    pins: Callable[[], Awaitable[Sequence[Mapping[str, Any]]]]


class StatusEndpoint:
    """The routes beside `/v2`.

    Args:
        node: what they show.
        find: answers who has some content.
        metrics: rendered on `/metrics`.
        settings: for how long an answer is given again.
    """

    def __init__(self, node: NodeStatus, find: Find, metrics: Metrics, settings: AppSettings | None = None) -> None:
        self._settings = settings or AppSettings()
        self._recent = Recent(self._state)
        self._pins: tuple[float, Sequence[Mapping[str, Any]]] = (-math.inf, ())
        self._node = node
        self._find = find
        self._metrics = metrics
        self._turn = asyncio.Lock()
        self._finding = asyncio.Semaphore(_FINDS_MAX)

    def probes(self) -> list[Route]:
        """The routes that say whether the agent lives, for a Starlette application."""
        return [Route("/healthz", self.healthz), Route("/readyz", self.readyz)]

    def figures(self) -> Route:
        """The route of the metrics, which name no image and no member."""
        return Route("/metrics", self._in_turn(self.metrics))

    def routes(self) -> list[Route]:
        """The other routes, which tell about images and members."""
        return [
            self.figures(),
            Route("/api/v1/status", self.status),
            Route("/api/v1/members", self._in_turn(self.members)),
            Route("/api/v1/find", self.find),
            Route("/api/v1/fetches", self._in_turn(self.fetches)),
        ]

    def _in_turn(self, answer: Answer) -> Answer:
        """One of the answers that take milliseconds to make: one in a turn of the event loop, however many ask."""

        async def answered(request: Request) -> Response:
            async with self._turn:
                await asyncio.sleep(0)
                return await answer(request)

        return answered

    async def healthz(self, request: Request) -> Response:
        """200 as long as the process answers."""
        return PlainTextResponse("ok\n")

    async def readyz(self, request: Request) -> Response:
        """200 when pulls can be served, by a lone node too; 503 while it starts or leaves. Then what is not well."""
        if self._node.is_ready():
            complaints = () if UNNAMED in request.scope.get("extensions", {}) else self._complaints()
            return PlainTextResponse("".join(f"{line}\n" for line in ("ready", *complaints)))
        return PlainTextResponse("not ready: starting or leaving\n", status_code=503)

    def _complaints(self) -> Iterator[str]:
        """What an operator should look at although pulls are served."""
        if self._node.alone():
            yield _ALONE
        if (why := self._node.keeps_nothing()) is not None:
            yield f"cache: nothing is kept, for {why}"
        if unreadable := self._node.withheld().get("unreadable"):
            yield f"cache: {unreadable} blobs cannot be read, and are not served"
        if too_much := self._node.pinned().get("no_room"):
            yield f"cache: it has no room for {too_much} of the images that are pinned"

    async def metrics(self, request: Request) -> Response:
        """All metrics in Prometheus' text format."""
        states = Counter({"alive": 0, "suspect": 0, "dead": 0, "left": 0})
        states.update(status.state for status in self._node.statuses())
        for state, count in states.items():
            self._metrics.members.labels(state).set(count)
        self._metrics.ready.set(self._node.is_ready())
        self._metrics.holdings.set(self._node.key_count())
        self._metrics.cache_bytes.set(self._node.cache_bytes())
        self._metrics.cache_keeping.set(self._node.keeps_nothing() is None)
        for why, count in self._node.withheld().items():
            self._metrics.cache_withheld.labels(why).set(count)
        for state, count in self._node.pinned().items():
            self._metrics.pinned_images.labels(state).set(count)
        self._metrics.show_budgets({it.registry: (it.remaining, it.limit, it.wait_s) for it in self._node.budgets()})
        self._metrics.show_outages([it.registry for it in self._node.outages() if it.out_s is not None])
        return Response(generate_latest(self._metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def members(self, request: Request) -> Response:
        """All known members, this node included, by name."""
        return JSONResponse({"node": self._node.name, "alone": self._node.alone(), **self._shown()})

    async def status(self, request: Request) -> Response:
        """How this node, the members and the registries are, and which pulls go on: what the status page shows."""
        return await self._recent.answer(request, self._settings.status_s)

    async def _state(self) -> dict[str, Any]:
        node, shown = self._node, self._shown()
        facts = Facts(
            me=node.name,
            service=node.service,
            is_ready=node.is_ready(),
            alone=node.alone(),
            members=shown["members"],
            budgets=shown["budgets"],
            outages=shown["outages"],
            pins=await self._known_pins(),
            keeps_nothing=node.keeps_nothing(),
            unreadable=node.withheld().get("unreadable", 0),
            without_room=node.pinned().get("no_room", 0),
        )
        return {
            "node": node.name,
            "version": node.version,
            "ready": facts.is_ready,
            "alone": facts.alone,
            "cache": {
                "bytes": node.cache_bytes(),
                "limit_bytes": node.cache_limit_bytes,
                "keeps_nothing": facts.keeps_nothing,
            },
            "upstream_pace": round(node.pace(UPSTREAM)),
            "pulls": pulls_in_progress(node.fetches(), node.clients(), self._settings.pull_quiet_s),
            "problems": problems_of(facts),
            "pins": {"count": len(facts.pins), "lacking": sum(row["missing"] > 0 for row in facts.pins)},
            **shown,
        }

    async def _known_pins(self) -> Sequence[Mapping[str, Any]]:
        """The rows of pins, as of now or some seconds ago."""
        at, rows = self._pins
        if time.monotonic() - at >= self._settings.status_pins_s:
            rows = await self._node.pins()
            self._pins = time.monotonic(), rows
        return rows

    def _shown(self) -> dict[str, list[Any]]:
        """All known members, this node included, by name, and what is known of registries."""
        distrusted, troubles = self._node.distrusted(), self._node.troubles()
        rows = [
            member_row(it, distrusted.get(it.peer.name), troubles.get(it.peer.name), self._node.pace)
            for it in self._node.statuses()
        ]
        return {
            "members": sorted(rows, key=lambda row: str(row["name"])),
            "budgets": [asdict(it) for it in self._node.budgets()],
            "outages": [asdict(it) for it in self._node.outages()],
        }

    async def fetches(self, request: Request) -> Response:
        """The last fetches of this node, newest first, each with the bytes that every source sent."""
        rows = [record.row() for record in self._node.records()]
        return JSONResponse({"node": self._node.name, "fetches": rows[::-1]})

    async def find(self, request: Request) -> Response:
        """Who has an image or digest (`?q=`)."""
        query = request.query_params.get("q", "")
        try:
            async with self._finding:
                return JSONResponse(await self._find.find(query))
        except (NameInvalid, DigestInvalid) as error:
            message = f"q={query[:_QUERY_SHOWN_MAX]!r} is no image name and no digest: {error}"
            return JSONResponse({"error": message}, status_code=400)
