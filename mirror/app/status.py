"""What people and their tools ask an agent about itself: health, readiness, metrics, members, who has what."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ..errors import DigestInvalid, NameInvalid, PeerError
from ..fetch import Fetcher, Record
from ..images.holdings import Holdings
from ..images.tags import Tags
from ..metrics import Metrics
from ..oci.content import Content
from ..oci.digest import Digest
from ..oci.reference import Reference, Repository, parse_image
from ..routers import Peer

if TYPE_CHECKING:
    from ..stores import Tag

_ANYWHERE = Repository("docker.io", "library/any")
"""Members serve a digest under whatever name it is asked for."""


class StatusEndpoint:
    """The routes beside `/v2`.

    Args:
        name: this node's.
        holdings: what its stores hold.
        fetcher: knows the members and what was fetched.
        tags: asks members what they know of a tag.
        metrics: rendered on `/metrics`.
        serving: whether the agent is up and not leaving.
    """

    def __init__(
        self,
        name: str,
        holdings: Holdings,
        fetcher: Fetcher,
        tags: Tags,
        metrics: Metrics,
        serving: Callable[[], bool],
    ) -> None:
        self._name = name
        self._holdings = holdings
        self._fetcher = fetcher
        self._tags = tags
        self._metrics = metrics
        self._serving = serving

    def routes(self) -> list[Route]:
        """The routes, for a Starlette application."""
        return [
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
            Route("/metrics", self.metrics),
            Route("/api/v1/members", self.members),
            Route("/api/v1/find", self.find),
            Route("/api/v1/fetches", self.fetches),
        ]

    async def healthz(self, request: Request) -> Response:
        """200 as long as the process answers."""
        return PlainTextResponse("ok\n")

    async def readyz(self, request: Request) -> Response:
        """200 when pulls can be served, by a lone node too; 503 while it starts or leaves."""
        if self._serving() and self._fetcher.router.ready():
            return PlainTextResponse("ready\n")
        return PlainTextResponse("not ready: starting or leaving\n", status_code=503)

    async def metrics(self, request: Request) -> Response:
        """All metrics in Prometheus' text format."""
        states: dict[str, int] = dict.fromkeys(("alive", "suspect", "dead", "left"), 0)
        for standing in self._fetcher.router.statuses():
            states[standing.state] += 1
        for state, count in states.items():
            self._metrics.members.labels(state).set(count)
        self._metrics.holdings.set(len(self._holdings))
        self._metrics.cache_bytes.set(self._fetcher.cache.used_bytes)
        return Response(generate_latest(self._metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def members(self, request: Request) -> Response:
        """Everybody known, this node included."""
        rows = [
            {
                "name": standing.peer.name,
                "state": standing.state,
                "peer": standing.peer.url,
                "keys": standing.keys,
                "itself": standing.itself,
                "flapping": standing.flapping,
                "home": standing.home,
                "rtt_ms": None if standing.rtt_s is None else round(1000 * standing.rtt_s, 2),
            }
            for standing in self._fetcher.router.statuses()
        ]
        return JSONResponse({"node": self._name, "members": sorted(rows, key=lambda row: str(row["name"]))})

    async def fetches(self, request: Request) -> Response:
        """The last fetches of this node, newest first, each with the bytes that every source brought."""
        return JSONResponse({"node": self._name, "fetches": [_row(r) for r in reversed(self._fetcher.records)]})

    async def find(self, request: Request) -> Response:
        """Who has an image or digest (`?q=`): asked of the members that may, not only looked up."""
        asked = request.query_params.get("q", "")
        try:
            wanted = Digest.parse(asked) if asked.startswith("sha256:") else parse_image(asked)
        except (NameInvalid, DigestInvalid) as error:
            message = f"q={asked[:200]!r} is no image name and no digest: {error}"
            return JSONResponse({"error": message}, status_code=400)
        answer: dict[str, Any] = {"node": self._name, "asked": asked}
        if isinstance(wanted, Reference):
            answer["reference"] = str(wanted)
            answer["tags"] = await self._find_tags(wanted)
            digests = {row["digest"]: Digest.parse(row["digest"]) for row in answer["tags"]}
            answer["holders"] = {text: await self._find_holders(digest) for text, digest in digests.items()}
        else:
            digest = wanted if isinstance(wanted, Digest) else wanted[1]
            answer["holders"] = {str(digest): await self._find_holders(digest)}
        return JSONResponse(answer)

    async def _find_tags(self, reference: Reference) -> list[dict[str, Any]]:
        """What this node and the members know of a tag, newest first."""
        found: list[tuple[str, Tag]] = [(self._name, tag) for tag in self._holdings.tags(reference)]
        found += [(peer.name, tag) for peer, tag in await self._tags.members(reference)]
        found.sort(key=lambda row: -row[1].checked_unix_s)
        now = time.time()
        return [
            {
                "member": name,
                "digest": str(tag.digest),
                "authority": tag.authority,
                "age_seconds": round(max(0.0, now - tag.checked_unix_s), 1),
            }
            for name, tag in found
        ]

    async def _find_holders(self, digest: Digest) -> list[dict[str, Any]]:
        """RangeRequest everybody whose filter says so whether it has the content."""
        content = Content(_ANYWHERE, "blobs", digest)
        rows: list[dict[str, Any]] = []
        held = self._holdings.open(digest)
        if held is not None:
            with held:
                rows.append({"member": self._name, "has": True, "bytes": held.size, "store": held.store})

        async def ask(peer: Peer) -> dict[str, Any]:
            try:
                return {"member": peer.name, "has": True, "bytes": await self._fetcher.peers.size(peer, content)}
            except PeerError as error:
                return {"member": peer.name, "has": False, "reason": error.reason}

        return rows + list(await asyncio.gather(*map(ask, self._fetcher.holders(content))))


def _row(record: Record) -> dict[str, Any]:
    return {**asdict(record), "failures": list(record.failures)}
