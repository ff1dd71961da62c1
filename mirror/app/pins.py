"""`/api/v1/pins`, `verify` and `prefetch`: what is pinned, whether images are whole, and having nodes fetch them.

Who may read may also have images verified, as far as members are merely asked. What changes something, or has members
read their disks, is an order (`writers`).
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..errors import DigestInvalid, MirrorError, NameInvalid, PeerError, Reason
from ..oci.content import Content
from ..oci.digest import Digest
from ..oci.names import COPIES_MAX, ImageName, Pattern, parse_name, parse_one
from ..oci.platforms import are_platforms
from ..pins.goals import digest_of
from ..pins.inventory import Holders
from ..pins.orders import Fetched, State
from ..pins.placement import keepers
from ..pins.records import ALL, Record
from ..pins.stack import PinStack
from ..pins.verify import Finding, Hashing, Wanted, without_wrong
from ..settings import PinSettings
from .jobs import Job, Jobs
from .writers import Writers, body_of, object_of, refused

_BODY_MAX_BYTES: Final = 60 * 1024
"""Bounds the body of a question, in bytes, as that of an order."""
_IMAGES_MAX: Final = 1000
"""Bounds the images of one order."""
_AT_ONCE: Final = 4
"""Images that are verified, or begun to be fetched, at once."""
_LACKING_SHOWN: Final = 20
"""Bounds the lacking parts of an image that are named."""
_FAILURES_MAX: Final = 5
"""How often in a row a member may fail to answer, before it counts as failed."""


class PinsEndpoint:
    """The routes about pins.

    Args:
        me: this node's name.
        stack: the parts that keep images.
        writers: say who may order something.
        settings: times.
    """

    def __init__(self, me: str, stack: PinStack, writers: Writers, settings: PinSettings) -> None:
        self._me = me
        self._stack = stack
        self._writers = writers
        self._settings = settings
        self._ordered = Jobs()
        """By those who may order something."""
        self._asked = Jobs()
        """By those who may read: they take no place from the others."""

    def routes(self) -> list[Route]:
        """The routes, for a Starlette application."""
        return [
            Route("/api/v1/pins", self.pins, methods=["GET"]),
            Route("/api/v1/pins", self.pin, methods=["POST"]),
            Route("/api/v1/unpin", self.unpin, methods=["POST"]),
            Route("/api/v1/verify", self.verify, methods=["POST"]),
            Route("/api/v1/prefetch", self.prefetch, methods=["POST"]),
            Route("/api/v1/jobs/{job}", self.job, methods=["GET"]),
        ]

    async def close(self) -> None:
        """Give up what is under way."""
        await self._ordered.close()
        await self._asked.close()

    async def pins(self, request: Request) -> Response:
        """What is pinned, and how much of it is held (`?name=`, which may be repeated, for some pins only)."""
        try:
            names = [parse_name(name).text for name in request.query_params.getlist("name")]
        except (NameInvalid, DigestInvalid) as error:
            return refused(400, str(error))
        rows = await self._stack.overview.rows(names)
        return JSONResponse({"node": self._me, "keepers": sorted(self._stack.settled.names), "pins": rows})

    async def pin(self, request: Request) -> Response:
        """Pin `{"names": […], "copies": number or "all", "platforms": […] or null for this node's}`."""

        async def carry_out(order: dict[str, Any]) -> Response:
            copies = _copies(order.get("copies"))
            platforms = _platforms(order.get("platforms"))
            return await self._all(
                _names(order), lambda name: self._stack.pins.pin(name, copies, platforms=platforms), "pinned"
            )

        return await self._writers.answer(request, carry_out)

    async def unpin(self, request: Request) -> Response:
        """Unpin `{"names": […], "force": whether also what stands in settings}`."""

        async def carry_out(order: dict[str, Any]) -> Response:
            is_forced = order.get("force") is True
            return await self._all(
                _names(order), lambda name: self._stack.pins.unpin(name, is_forced=is_forced), "unpinned"
            )

        return await self._writers.answer(request, carry_out)

    async def verify(self, request: Request) -> Response:
        """Begin to verify `{"images": […] or null for all pins, "copies": …, "platforms": …}`; `?deep=1`: on disk."""
        is_deep = request.query_params.get("deep") == "1"

        async def carry_out(order: dict[str, Any]) -> Response:
            wanted, jobs = self._wanted(order), self._ordered if is_deep else self._asked
            return JSONResponse(jobs.start(lambda job: self._verify(job, wanted, is_deep=is_deep)).shown())

        if is_deep:
            return await self._writers.answer(request, carry_out)
        try:
            return await carry_out(object_of(await body_of(request, _BODY_MAX_BYTES)))
        except ValueError as error:
            return refused(400, str(error))

    async def prefetch(self, request: Request) -> Response:
        """Begin to have `{"images": […], "nodes": number, "all" or names, "platforms": …}` fetched."""

        async def carry_out(order: dict[str, Any]) -> Response:
            names = [_one(name) for name in _names(order, "images")]
            platforms = self._own(_platforms(order.get("platforms")))
            choose = self._chooser(order.get("nodes", "all"))
            return JSONResponse(self._ordered.start(lambda job: self._prefetch(job, names, platforms, choose)).shown())

        return await self._writers.answer(request, carry_out)

    async def job(self, request: Request) -> Response:
        """How far a job is."""
        identity = request.path_params["job"]
        job = self._ordered.get(identity) or self._asked.get(identity)
        return refused(404, "there is no such order any more") if job is None else JSONResponse(job.shown())

    # Pins.

    async def _all(self, names: Sequence[str], do: Callable[[str], Any], done: str) -> Response:
        """Do something with each name; say what is done, and what is not and why."""
        told: list[str] = []
        problems: dict[str, str] = {}
        for name in names:
            try:
                result = await do(name)
                told += [record.name for record in ([result] if isinstance(result, Record) else result)]
            except MirrorError as error:
                problems[name] = str(error)
            except OSError as error:
                problems[name] = f"it cannot be written down: {error.strerror}"
        return JSONResponse({"node": self._me, done: told, "problems": problems})

    # Verifying.

    def _wanted(self, order: Mapping[str, Any]) -> list[Wanted]:
        """The images that an order names, or all that is pinned, with the copies that are wanted."""
        copies = _copies(order.get("copies"))
        platforms = _platforms(order.get("platforms"))
        pins = {record.name: record for record in self._stack.pins.book.pins()}
        if order.get("images") is None:
            names = [it for it in map(parse_name, pins) if isinstance(it, ImageName)]
        else:
            names = [_one(name) for name in _names(order, "images")]
        wanted = []
        for name in names:
            record = pins.get(name.text) or _pin_of(name, pins.values())
            count = copies if copies is not None else record.copies if record is not None else 1
            count = len(self._stack.settled.everyone) if count == ALL else count
            chosen = record.platforms if record is not None and platforms is None else self._own(platforms)
            wanted.append(Wanted(name, count, chosen, None if record is None else digest_of(record)))
        return wanted

    async def _verify(self, job: Job, wanted: Sequence[Wanted], *, is_deep: bool) -> None:
        places = asyncio.Semaphore(_AT_ONCE)
        looked: list[tuple[Wanted, Finding, Holders]] = []
        job.progress = {"images": len(wanted), "looked": 0}

        async def look(it: Wanted) -> tuple[Wanted, Finding, Holders]:
            async with places:
                finding, holders = await self._stack.verifier.look(it)
            job.progress["looked"] += 1
            return it, finding, holders

        looked = await asyncio.gather(*map(look, wanted))
        rows = [_finding_row(finding) for _, finding, _ in looked]
        if is_deep:
            async for step in self._stack.verifier.hash(looked):
                if isinstance(step, Hashing):
                    job.progress |= {"hashed_bytes": step.done_bytes, "bytes": step.bytes}
                    continue
                rows = []
                for it, finding, holders in looked:
                    wrong = {key: outcome for key, outcome in step.items() if key[1] in holders}
                    row = _finding_row(without_wrong(it, finding, holders, wrong))
                    row["wrong"] = [
                        {"member": member, "digest": str(digest), "found": outcome.name.lower()}
                        for (member, digest), outcome in wrong.items()
                    ]
                    rows.append(row)
        job.rows = rows

    # Fetching.

    def _own(self, platforms: Sequence[str] | None) -> tuple[str, ...]:
        return (self._stack.pins.platform,) if platforms is None else tuple(platforms)

    def _chooser(self, nodes: Any) -> Callable[[Digest], Collection[str]]:
        """Which nodes fetch an image; raise ValueError if there are no such nodes."""
        up = sorted({self._me, *(peer.name for peer in self._stack.members())})
        if isinstance(nodes, list) and nodes and all(isinstance(name, str) for name in nodes):
            if unknown := sorted(set(nodes).difference(up)):
                raise ValueError(
                    f"nodes: {', '.join(unknown)[:200]} is no member that is up; there are {', '.join(up)}"
                )
            return lambda digest: nodes
        count = _copies(nodes)
        return lambda digest: keepers(digest.key, up, ALL if count is None else count)

    async def _prefetch(
        self,
        job: Job,
        names: Sequence[ImageName],
        platforms: tuple[str, ...],
        choose: Callable[[Digest], Collection[str]],
    ) -> None:
        places = asyncio.Semaphore(_AT_ONCE)

        async def fetch(name: ImageName) -> None:
            async with places:
                try:
                    digest = await self._stack.pins.resolve(name)
                except MirrorError as error:
                    job.rows.append({"image": name.text, "state": "failed", "problem": str(error)})
                    return
                content = Content(name.repository, "manifests", digest)
                await asyncio.gather(*(follow(name, content, member) for member in choose(digest)))

        async def follow(name: ImageName, content: Content, member: str) -> None:
            row: dict[str, Any] = {"image": name.text, "digest": str(content.digest), "member": member, "problem": ""}
            job.rows.append(row)
            following = _Following(row, self._settings)
            while following.goes_on():
                try:
                    following.heard(await self._stack.fetch_at(member, content, platforms))
                except PeerError as error:
                    following.failed(error)
                if following.goes_on():
                    await asyncio.sleep(self._settings.progress_s)

        await asyncio.gather(*map(fetch, names))
        if any(row["state"] != "done" for row in job.rows):
            job.error = "some images were not fetched everywhere"


@dataclass(slots=True)
class _Following:
    """How far a member is with an image, as a row of a job.

    Args:
        row: of the job.
        settings: how long nothing may come.
        quiet: answers in a row with which nothing had come.
        failures: in a row.
    """

    row: dict[str, Any]
    settings: PinSettings
    quiet: int = 0
    failures: int = 0

    def goes_on(self) -> bool:
        """Whether the member is to be asked again."""
        return bool(self.row.setdefault("state", "runs") == "runs")

    def heard(self, fetched: Fetched) -> None:
        """Take note of an answer."""
        self.quiet = self.quiet + 1 if self.row.get("missing_bytes") == fetched.missing_bytes else 0
        self.failures = 0
        self.row |= {"missing_bytes": fetched.missing_bytes, "bytes": fetched.all_bytes}
        if fetched.state is State.DONE:
            self.row["state"] = "done"
        elif fetched.state is State.FAILED:
            self.row |= {"state": "failed", "problem": "it could not fetch all of it: its log says why"}
        elif self.quiet * self.settings.progress_s > self.settings.fetch_max_s:
            self.row |= {"state": "failed", "problem": f"nothing came for {self.settings.fetch_max_s:g} s"}

    def failed(self, error: PeerError) -> None:
        """Take note that the member did not answer so."""
        self.failures += error.reason is not Reason.BUSY
        self.quiet += 1
        is_over = self.quiet * self.settings.progress_s > self.settings.fetch_max_s
        if self.failures >= _FAILURES_MAX or is_over:
            self.row |= {"state": "failed", "problem": str(error)}


def _pin_of(name: ImageName, pins: Collection[Record]) -> Record | None:
    """A pin of the same content, for an image that is named by its digest."""
    if name.digest is None:
        return None
    return next((record for record in pins if digest_of(record) == name.digest), None)


def _names(order: Mapping[str, Any], key: str = "names") -> list[str]:
    """The names in an order; raise ValueError if there are none."""
    names = order.get(key)
    if not isinstance(names, list) or not 0 < len(names) <= _IMAGES_MAX:
        raise ValueError(f"{key} must be a list of 1 to {_IMAGES_MAX} names")
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"{key} must be texts")
    return list(dict.fromkeys(names))


def _one(text: str) -> ImageName:
    """The name of one image; raise ValueError if it is none."""
    try:
        if isinstance(parse_name(text), Pattern):
            raise ValueError(f"{text[:200]!r} is a pattern: name images")
        return parse_one(text)
    except (NameInvalid, DigestInvalid) as error:
        raise ValueError(str(error)) from None


def _copies(value: Any) -> int | None:
    """A number of copies in an order; raise ValueError if it is none."""
    if value is None:
        return None
    if value == "all":
        return ALL
    if type(value) is not int or not 0 < value <= COPIES_MAX:
        raise ValueError(f"{str(value)[:50]!r} is not allowed; give a number from 1 to {COPIES_MAX}, or all")
    return value


def _platforms(value: Any) -> tuple[str, ...] | None:
    """Platforms in an order; None for those of this node; raise ValueError if they are none."""
    if value is None:
        return None
    if value == "all":
        return ()
    if not isinstance(value, list) or not all(isinstance(it, str) for it in value) or not are_platforms(value):
        shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        raise ValueError(f"{shown[:50]!r} is no platform; give some such as linux/amd64 and linux/arm64, or all")
    return tuple(value)


def _finding_row(it: Finding) -> dict[str, Any]:
    lacking = [
        {"digest": str(part.content.digest), "kind": part.content.kind, "bytes": part.size}
        for part in it.lacking[:_LACKING_SHOWN]
    ]
    return {
        "image": it.name,
        "digest": None if it.digest is None else str(it.digest),
        "whole": it.is_whole,
        "enough": it.is_enough,
        "copies_wanted": it.copies,
        "copies": len(it.members),
        "members": list(it.members),
        "parts": len(it.image.parts),
        "bytes": it.image.bytes,
        "lacking": lacking,
        "lacking_count": len(it.lacking),
        "needed_members": list(it.needed),
        "problems": list(it.problems),
        "wrong": [],
    }
