"""Clusters as the status page may have to show them: the real endpoints, over nodes that are made up."""

import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from mirror.app import BudgetStatus, Find, NodeStatus, NoPages, OutageStatus, StatusEndpoint, StatusPage, api_app
from mirror.app.progress import ClientPull
from mirror.cluster.health import Trouble
from mirror.events import Entry, Kind, MemberChanged, PullEnded
from mirror.fetch import Phase, Progress
from mirror.images.tag_trust import Contradiction
from mirror.metrics import Metrics
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference
from mirror.routers import MemberStatus, Peer, Serves
from mirror.service import Service
from mirror.settings import AppSettings

MIB = 1 << 20
HOSTILE = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>\u202egnp.exe\u0007'
"""What somebody may try to get into a page: markup, a script, text that turns round, a bell."""


@dataclass(slots=True)
class Scene:
    """One cluster, as the node `n0` sees it."""

    statuses: list[MemberStatus] = field(default_factory=list)
    troubles: dict[str, Trouble] = field(default_factory=dict)
    contradictions: dict[str, Contradiction] = field(default_factory=dict)
    paces: dict[str, float] = field(default_factory=dict)
    fetches: list[Progress] = field(default_factory=list)
    clients: list[ClientPull] = field(default_factory=list)
    budgets: list[BudgetStatus] = field(default_factory=list)
    outages: list[OutageStatus] = field(default_factory=list)
    pins: list[Mapping[str, Any]] = field(default_factory=list)
    images: list[dict[str, Any]] = field(default_factory=list)
    silent: list[dict[str, str]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    alone: str = ""
    keeps_nothing: str | None = None
    withheld: dict[str, int] = field(default_factory=dict)
    is_ready: bool = True
    name: str = "n0"
    version: str = "0.1.0"
    asked: list[str] = field(default_factory=list)
    """Paths that were asked for, in order."""

    def status(self) -> NodeStatus:
        """What the real endpoint reads."""

        async def pins() -> Sequence[Mapping[str, Any]]:
            return self.pins

        return NodeStatus(
            name=self.name,
            is_ready=lambda: self.is_ready,
            statuses=lambda: self.statuses,
            alone=lambda: self.alone,
            distrusted=lambda: self.contradictions,
            records=list,
            key_count=lambda: 10,
            cache_bytes=lambda: 300 * MIB,
            keeps_nothing=lambda: self.keeps_nothing,
            withheld=lambda: self.withheld,
            pinned=dict,
            budgets=lambda: self.budgets,
            outages=lambda: self.outages,
            version=self.version,
            service=Service.SYSTEMD,
            cache_limit_bytes=20 << 30,
            troubles=lambda: self.troubles,
            pace=lambda source: self.paces.get(source, 0.0),
            fetches=lambda: self.fetches,
            clients=lambda: self.clients,
            pins=pins,
        )

    def app(self, *, has_events: bool = True) -> ASGIApp:
        """Its endpoint, as browsers reach it."""

        def route(path: str, answer: Callable[[Request], Awaitable[Response]]) -> Route:
            return Route(path, answer)

        async def images(request: Request) -> Response:
            return JSONResponse(
                {"node": self.name, "members": len(self.statuses), "silent": self.silent, "images": self.images}
            )

        async def why(request: Request) -> Response:
            return JSONResponse(_why(request.query_params["q"]))

        async def events(request: Request) -> Response:
            after = int(request.query_params.get("after", 0))
            rows = [json.dumps(row) + "\n" for row in self.events if row["number"] > after]
            return Response("".join(rows), media_type="application/x-ndjson")

        at_once = AppSettings(status_s=0.0, status_pins_s=0.0)  # pages of tests let time pass at once
        status = StatusEndpoint(self.status(), cast("Find", None), Metrics(), at_once)
        others = [route("/api/v1/images", images), route("/api/v1/why", why)]
        others += [route("/api/v1/events", events)] if has_events else []
        app = NoPages(api_app(status, *StatusPage().routes(), *status.routes(), *others), {"n0"})

        async def noted(scope: Any, receive: Any, send: Any) -> None:
            self.asked.append(scope["path"])
            await app(scope, receive, send)

        return noted


def member(name: str, number: int, state: str = "alive", **others: Any) -> MemberStatus:
    given = {"keys": 40 * number, "itself": number == 0, "rtt_s": None if number == 0 else 0.0004 * number, **others}
    return MemberStatus(Peer(name, f"10.0.{number // 250}.{number % 250 + 1}", 5001), state, **given)


def members(count: int) -> list[MemberStatus]:
    return [member(f"n{number}", number) for number in range(count)]


def image(
    reference: str, size: int, whole: Sequence[str], partial: Sequence[str] = (), **others: Any
) -> dict[str, Any]:
    return {
        "reference": reference,
        "digest": str(Digest.of(reference.encode())),
        "bytes": size,
        "whole": list(whole),
        "partial": list(partial),
        "unused_s": 90.0,
        "here": None,
        "pinned": None,
        "from": {},
    } | others


def fetch(repository: str, sources: Mapping[str, int], size: int | None, **others: Any) -> Progress:
    given: dict[str, Any] = {
        "digest": str(Digest.of(f"{repository} {size}".encode())),
        "repository": repository,
        "started_unix_s": time.time() - 8,
        "seconds": 0.0,
        "size": size,
        "sources": sources,
        "resumed": 0,
        "outcome": Phase.RUNNING,
        "is_read": True,
        "for_clients": True,
        "failures": (),
    }
    return Progress(**(given | others))


def pull(repository: str, tag: str = "1.27", client: str = "127.0.0.1", held: int = 0) -> ClientPull:
    image = f"{repository}:{tag}" if tag else repository
    return ClientPull(repository=repository, image=image, client=client, seconds=9.0, held=held, is_waiting=True)


def pin(name: str, held: int, wanted: int, problem: str = "") -> dict[str, Any]:
    return {"name": name, "held": held, "wanted": wanted, "missing": wanted - held, "problem": problem}


def empty() -> Scene:
    """A node that has just been started for the first time."""
    return Scene(members(1))


def usual(count: int = 5) -> Scene:
    """A cluster where all is well."""
    names = [f"n{number}" for number in range(count)]
    scene = Scene(members(count))
    scene.images = [
        image("docker.io/library/nginx:1.27", 71 * MIB, names, pinned=2),
        image("docker.io/library/postgres:17", 160 * MIB, names[:2], names[2:3]),
        image("ghcr.io/grafana/grafana:11.2.0", 452 * MIB, names[1:2], unused_s=3 * 86400.0),
        image("registry.k8s.io/pause:3.10", 318 * 1024, names, pinned="all", unused_s=None),
        image("", 12 * MIB, names[:1]),
    ]
    scene.budgets = [BudgetStatus("docker.io", "203.0.113.7", 84, 100, 21600, 0.0, 140.0, "nothing")]
    scene.pins = [pin("docker.io/library/nginx:1.27", 2, 2)]
    ended = PullEnded(
        image="docker.io/library/nginx:1.27",
        client="127.0.0.1",
        seconds=2.31,
        requests=9,
        failed=0,
        bytes=71 * MIB,
        sources={"n1": 50 * MIB, "upstream": 21 * MIB},
        upstream_bytes=21 * MIB,
        why_upstream="no member had it",
    )
    joined = MemberChanged(Kind.MEMBER_JOINED, "n1", "10.0.0.2:7946")
    now = time.time()
    scene.events = [
        Entry(3, now - 60, joined).row(),
        Entry(5, now - 9, ended).row(),
        {"number": 9, "time_unix_s": now - 2, "kind": "something-new", "detail": "whatever it is"},
    ]
    return scene


def fan_out() -> Scene:
    """Five nodes pull the same at once."""
    scene = usual()
    scene.paces = {"n1": 31e6, "n2": 18e6, "n3": 22e6, "upstream": 9e6}
    name = "docker.io/library/postgres"
    ended = {"outcome": Phase.COMPLETE, "seconds": 2.0}
    scene.fetches = [
        fetch(name, {"n1": 9 * MIB}, 9 * MIB, **ended),
        fetch(name, {"upstream": 14 * MIB, "n1": 22 * MIB, "n2": 19 * MIB, "n3": 8 * MIB}, 110 * MIB, resumed=7 * MIB),
        fetch(name, {"n4": 3 * MIB}, 12 * MIB, failures=("n2 did not deliver: no byte came for 30 s",)),
        fetch("ghcr.io/grafana/grafana", {"upstream": 40 * MIB}, None, for_clients=False),
    ]
    scene.clients = [pull(name, "17"), pull("quay.io/prometheus/prometheus", "v3.5.0", "10.0.0.77", 70 * MIB)]
    return scene


def in_trouble() -> Scene:
    """A cluster where much is wrong."""
    scene = usual()
    nginx = Reference.parse("nginx:1.27")
    scene.statuses = [
        *members(2),
        member("n2", 2, "dead"),
        member("n3", 3, flapping=True, home=Serves.NO),
        member("n4", 4),
        member("n5", 5, "suspect"),
        member("n6", 6),
        member("n7", 7, "left"),
    ]
    scene.troubles = {"n4": Trouble.BANNED, "n6": Trouble.OUT_OF_REACH}
    scene.contradictions = {"n4": Contradiction(nginx, Digest.of(b"old"), Digest.of(b"new"), time.monotonic() + 3000)}
    scene.budgets = [BudgetStatus("docker.io", "203.0.113.7", 0, 100, 21600, 1210.0, 30.0, "pulls")]
    scene.outages = [OutageStatus("ghcr.io", 48.0, ["n1"]), OutageStatus("quay.io", None, ["n3"])]
    scene.pins = [pin("docker.io/library/nginx:1.27", 1, 2, "only 1 members keep images"), pin("quay.io/a/b:1", 0, 3)]
    scene.keeps_nothing = "the disk has no space left"
    scene.withheld = {"unreadable": 3}
    scene.silent = [{"member": "n6", "reason": "n6 at 10.0.0.7:5001 cannot be reached within 2 s"}]
    scene.images[0]["whole"] = ["n0"]
    return scene


def crowded() -> Scene:
    """A hundred members, with as many images."""
    scene = usual(100)
    scene.statuses[42] = member("n42", 42, "dead")
    names = [f"n{number}" for number in range(100)]
    scene.images += [image(f"registry.example.com/team/app-{at}:v{at}", at * MIB, names[at:]) for at in range(1, 250)]
    return scene


def long_names() -> Scene:
    """Names as long as they may be."""
    scene = usual(3)
    name = "edge-node-with-a-name-that-somebody-generated-out-of-a-template1"[:63]
    scene.name = name
    scene.statuses[0] = member(name, 0)
    repository = (
        "registry-of-the-whole-company.internal.example.com:5443/platform/team-with-a-long-name/service/component"
    )
    scene.images = [image(f"{repository}:{'v1.2.3-rc.1-' * 10}end", 71 * MIB, [name], pinned="all")]
    scene.fetches = [fetch(repository, {name: 12 * MIB, "upstream": 5 * MIB}, 71 * MIB)]
    scene.clients = [pull(repository, "v1.2.3-rc.1-" * 10 + "end", "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff")]
    return scene


def hostile() -> Scene:
    """All that others may say has markup in it, also where the agent would not let that pass."""
    scene = usual(2)
    scene.name = HOSTILE
    scene.statuses = [
        MemberStatus(Peer(HOSTILE, HOSTILE, 1), HOSTILE, 1, itself=False),
        member(HOSTILE + "2", 2, "dead"),
    ]
    scene.fetches = [fetch(HOSTILE, {HOSTILE: MIB, "upstream": MIB}, 3 * MIB, failures=(HOSTILE,))]
    scene.clients = [
        ClientPull(repository=HOSTILE, image=HOSTILE, client=HOSTILE, seconds=1.0, held=1, is_waiting=True)
    ]
    scene.images = [image(HOSTILE, MIB, [HOSTILE], [HOSTILE])]
    scene.silent = [{"member": HOSTILE, "reason": HOSTILE}]
    scene.budgets = [BudgetStatus(HOSTILE, HOSTILE, 1, 100, 3600, 0.0, 1.0, HOSTILE)]
    scene.outages = [OutageStatus(HOSTILE, 1.0, [HOSTILE])]
    scene.pins = [pin(HOSTILE, 0, 1, HOSTILE)]
    scene.alone, scene.keeps_nothing = HOSTILE, HOSTILE
    scene.events = [
        {"number": 1, "time_unix_s": 1.0, "kind": "outage-began", "registry": HOSTILE, "why": HOSTILE},
        {"number": 2, "time_unix_s": 1.0, "kind": HOSTILE, HOSTILE: {HOSTILE: HOSTILE}},
    ]
    return scene


def _why(query: str) -> dict[str, Any]:
    """As `/api/v1/why` answers; what is asked for is in all texts."""
    digest = str(Digest.of(b"manifest"))
    said = {"member": "n1", "digest": digest, "authority": "upstream", "age_seconds": 7.0}
    layer = {
        "digest": str(Digest.of(b"layer")), "kind": "layer", "bytes": 3 * MIB, "here": "cache", "absent": None,
        "origin": {"how": "fetched", "sources": {"n1": 2 * MIB, "upstream": MIB}, "origins": {}},
        "holders": [{"member": "n1", "has": True, "bytes": 3 * MIB}],
        "fetches": [{"failures": [f"{query}: it was slow"]}],
    }  # fmt: skip
    lost = {**layer, "here": None, "origin": None, "absent": f"{query}: nobody asked for it", "fetches": []}
    return {
        "node": "n0", "reference": query, "digest": digest, "tag": {"said": [said]}, "content": [layer, lost],
        "registry": {"name": "docker.io", "refusal": None}, "notes": [f"a note about {query}"],
    }  # fmt: skip
