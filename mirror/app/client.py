"""The client endpoint: `/v2/` for the container runtime of this node, and for people's tools.

What this node holds is served from its stores. What it does not hold is fetched, and sent on while it arrives; so is
the rest of a copy that turns out damaged in the middle of an answer. Another cluster may have this endpoint as its
upstream, and is a client like any other. But a request that came through this cluster before is answered from the
stores alone, so that nobody sends requests round in circles.
"""

import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import replace
from functools import partial

from starlette.types import Receive, Scope, Send

from ..access import Gate, Passage
from ..errors import (
    WRONG_COPIES_MAX,
    BlobUnknown,
    ManifestUnknown,
    MirrorError,
    OciError,
    SizeUnproven,
    StorageError,
    StorageFailed,
    Unavailable,
    WrongCopy,
)
from ..fetch import Audience, Reader
from ..images.manifests import Manifest
from ..oci.content import Content
from ..oci.digest import Digest
from ..oci.ranges import IntRange, Span, first_span, is_read_by_itself
from ..oci.reference import Reference
from ..sources.chain import Chain, came_by
from ..stores import Held
from .again import rest, sha256_of, taken_over
from .backend import Backend
from .blob import Extent, Headers, blob_headers
from .lists import page_of
from .patience import patiently
from .progress import CACHE
from .pulls import Following, Pulls
from .request import ListRequest, RegistryRequest, authorization, parse
from .responses import (
    OCTETS,
    Body,
    age,
    blob_response,
    challenge,
    send_empty,
    send_error,
    send_json,
    send_manifest,
    send_page,
    warning,
)

log = logging.getLogger(__name__)


class ClientEndpoint:
    """An ASGI application for everything below `/v2`.

    Args:
        backend: the parts of the node that it answers from.
        chain: tells circles of clusters.
        gate: decides who may have what.
        apart: answers what is to be kept nowhere and shared with nobody; None: this one does.
        registry: of requests that name none; without it, that is Docker Hub, or what a name begins with.
        pulls: follows what clients ask for; None: those of the backend.
    """

    def __init__(
        self,
        backend: Backend,
        chain: Chain,
        gate: Gate,
        apart: "ClientEndpoint | None" = None,
        registry: str | None = None,
        pulls: Pulls | None = None,
    ) -> None:
        self._backend = backend
        self._gate = gate
        self._apart = apart
        self._chain = chain
        self._registry = registry
        self._served = backend.metrics.served_bytes.labels("client")
        self._pulls = pulls or backend.pulls
        self._counts: dict[tuple[str, str], Callable[[], None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; an error becomes an answer in the specification's form."""
        kind = "other"
        try:
            if scope["path"] == "/v2":
                # Relative: what name and scheme the client knows this endpoint by is its own affair.
                await send_empty(send, 307, [(b"location", b"/v2/"), (b"content-length", b"0")])
                return
            request = parse(scope, self._registry)
            if request is None:
                await send_json(scope, send, 200, {}, [challenge("private")] if self._gate.asks_for_login else [])
                return
            if self._chain.is_circle(request.came_by):
                request = replace(request, is_hop=True)
            came_by.set(request.came_by)
            kind = "lists" if isinstance(request, ListRequest) else request.kind
            passage = await self._gate.enter(
                request.repository, request.below, authorization(scope), may_ask=not request.is_hop
            )
            if passage.is_apart and self._apart is not None:
                await self._apart(scope, receive, send)
            elif isinstance(request, ListRequest):
                await self._list(scope, send, request, passage)
            else:
                with self._pulls.following(scope, request, send) as following:
                    # Another cluster's agent has a bound of its own, and tells its clients to wait.
                    patience_s = 0.0 if request.came_by else self._backend.settings.patience_s
                    answer = partial(self._answer, scope, receive, following, request, passage)
                    await patiently(answer, patience_s, self._backend.settings.patience_step_s)
        except OciError as error:
            self._count(kind, "missing" if error.status == 404 else "refused" if error.status < 500 else "failed")
            log.debug("%s %s: %d %s", scope["method"], scope["path"][:300], error.status, error)
            await send_error(scope, send, error)
        except MirrorError as error:
            self._count(kind, "failed")
            log.debug("%s %s: %s", scope["method"], scope["path"][:300], error)
            await send_error(scope, send, Unavailable(str(error)))

    async def _answer(
        self, scope: Scope, receive: Receive, following: Following, request: RegistryRequest, passage: Passage
    ) -> None:
        """A manifest or a blob, for a client that may have it."""
        if isinstance(request.what, Reference):
            await self._tag(following, request, request.what, passage)
        elif request.kind == "manifests":
            manifest = await self._find(following, request, request.what, passage)
            await send_manifest(following.send, request, manifest, [])
        else:
            await self._blob(scope, receive, following, request, request.content(request.what), passage)

    async def _list(self, scope: Scope, send: Send, request: ListRequest, passage: Passage) -> None:
        """A page of tags, or of the manifests that refer to one."""
        if request.referred is not None:
            await self._gate.release(passage, Content(request.repository, "manifests", request.referred))
        page, why = await page_of(self._backend, request)
        self._count("lists", "held" if request.is_hop else "fetched")
        await send_page(scope, send, request, page, [warning(why)] if why else [])

    async def _tag(
        self, following: Following, request: RegistryRequest, reference: Reference, passage: Passage
    ) -> None:
        digest, extra = await self._resolve(following, request, reference)
        try:
            manifest = await self._find(following, request, digest, passage)
        except ManifestUnknown as error:
            if request.is_hop or not await self._backend.tags.has_moved(reference, digest):
                raise ManifestUnknown(f"{reference} means {digest}, which is nowhere to be had: {error}") from error
            digest, extra = await self._resolve(following, request, reference)
            manifest = await self._find(following, request, digest, passage)
        await send_manifest(following.send, request, manifest, extra)

    async def _resolve(
        self, following: Following, request: RegistryRequest, reference: Reference
    ) -> tuple[Digest, Headers]:
        """What a tag means; headers say how long ago that was so, and warn where it may have changed."""
        if request.is_hop:
            tag = self._backend.tags.local(reference)
            if tag is None:
                raise ManifestUnknown(f"this node does not know {reference}")
            return tag.digest, [age(tag.checked_unix_s)]
        asked_at, resolutions = time.monotonic(), self._backend.resolutions
        try:
            answer = await self._backend.tags.resolve(reference, fresh=request.is_fresh)
        except OciError as error:
            resolutions.note(reference, time.monotonic() - asked_at, str(error))
            raise
        following.pull.has_moved |= resolutions.note(reference, time.monotonic() - asked_at, answer)
        extra = [age(answer.tag.checked_unix_s)]
        return answer.tag.digest, [*extra, warning(answer.warning)] if answer.warning else extra

    async def _find(self, following: Following, request: RegistryRequest, digest: Digest, passage: Passage) -> Manifest:
        """A manifest, fetched if this node does not hold it."""
        with self._backend.serving(request, digest):
            if request.is_hop:
                manifest, was_held = await self._backend.manifests.held(digest), True
            else:
                manifest, was_held = await self._backend.manifests.get(request.content(digest))
        if manifest is None:
            raise ManifestUnknown(f"this node does not hold {digest}")
        await self._gate.release(passage, request.content(digest))
        if was_held:
            following.held(CACHE)
        else:
            self._note_fetch(following, digest)
        self._count("manifests", "held" if was_held else "fetched")
        return manifest

    def _note_fetch(self, following: Following, digest: Digest) -> None:
        """Take note of who brings something of a pull."""
        if (record := self._backend.fetching.fetches.record(digest)) is not None:
            following.pull.fetched(record)

    async def _blob(
        self,
        scope: Scope,
        receive: Receive,
        following: Following,
        request: RegistryRequest,
        content: Content,
        passage: Passage,
    ) -> None:
        held = self._open(request, content.digest)
        if held is not None:
            with held, self._backend.serving(request, content.digest):
                await self._gate.release(passage, content)
                self._count("blobs", "held")
                held.note_use()
                following.held(held.store)
                body = Body.held(content.digest, held)
                if not request.is_hop:
                    body = replace(body, extents=lambda start, stop: self._unbroken(held, content, start, stop))
                await self._send_blob(scope, receive, following, request, body)
        elif request.is_hop:
            raise BlobUnknown(f"this node does not hold {content.digest}")
        elif request.is_head:
            size = await self._size(content)
            self._count("blobs", "fetched")
            await send_empty(following.send, *blob_headers(content.digest, OCTETS, size))
        else:
            await self._fetch(scope, receive, following, request, content, passage)

    async def _size(self, content: Content) -> int:
        """The size of a blob that is not here; where one member alone says it, its bytes have to prove it."""
        try:
            return await self._backend.fetching.sizes.size(content)
        except SizeUnproven as error:
            log.debug("%s is fetched for its size: %s", content.digest, error)
            async with self._sized(content, from_start=True) as (_, size):
                return size

    def _open(self, request: RegistryRequest, digest: Digest) -> Held | None:
        """The copy of this node, if there is one that can be opened; if it cannot, the blob may come from elsewhere."""
        try:
            return self._backend.holdings.open(digest)
        except StorageFailed as error:
            if request.is_hop:
                raise
            log.warning("%s is here, but is fetched from elsewhere: %s", digest, error)
            return None

    def _unbroken(self, held: Held, content: Content, start: int, stop: int) -> AsyncGenerator[Extent, None]:
        """The bytes of a copy, and from where it turns out damaged or unreadable, those of others."""
        elsewhere = partial(self._elsewhere, held.size, content, stop)
        return taken_over(content, held.fd, held.ready(start, stop), start, elsewhere)

    async def _elsewhere(self, size: int, content: Content, stop: int, position: int) -> AsyncGenerator[Extent, None]:
        """The rest of a blob that is here no longer, from others."""
        async with self._sized(content, from_start=position == 0) as (reader, other):
            if other != size:
                raise Unavailable(f"{content.digest} has {size} bytes here and {other} elsewhere")
            async with contextlib.aclosing(self._arriving(reader, content, position, stop)) as extents:
                async for extent in extents:
                    yield extent

    async def _fetch(
        self,
        scope: Scope,
        receive: Receive,
        following: Following,
        request: RegistryRequest,
        content: Content,
        passage: Passage,
    ) -> None:
        """Send a blob that this node does not hold, while it arrives."""
        part = request.part(content.digest)
        from_start = part is None or (isinstance(part, IntRange) and part.start == 0)
        first = first_span(part) if is_read_by_itself(part) else None
        async with self._sized(content, from_start=from_start, part=first) as (reader, size):
            await self._gate.release(passage, content)
            self._count("blobs", "passed" if reader.is_in_memory else "fetched")
            self._note_fetch(following, content.digest)
            if first is not None:
                reader.expect(request.spans(content.digest, size))
            body = Body(content.digest, size, lambda start, stop: self._arriving(reader, content, start, stop))
            await self._send_blob(scope, receive, following, request, body)

    @contextlib.asynccontextmanager
    async def _sized(
        self, content: Content, *, from_start: bool, part: Span | None = None
    ) -> AsyncIterator[tuple[Reader, int]]:
        """A reader of a fetch, and the size.

        If the disk has no place before that is known, the reader is one through memory. If a member's copy turns out
        wrong before, others are asked.
        """
        is_kept, wrong = True, 0
        read = partial(self._backend.fetching.fetches.read, content, from_start=from_start, part=part)
        while True:
            with read(is_kept=is_kept) as reader:
                try:
                    size = await reader.size()
                except StorageError as error:
                    if not is_kept:
                        raise
                    log.debug("%s passes through memory: %s", content.digest, error)
                    is_kept = False
                except WrongCopy as error:
                    wrong += 1
                    if wrong == WRONG_COPIES_MAX:
                        raise
                    log.debug("%s is fetched again: %s", content.digest, error)
                else:
                    yield reader, size
                    return

    def _arriving(self, reader: Reader, content: Content, start: int, stop: int) -> AsyncGenerator[Extent, None]:
        """The bytes of a fetch; if the disk takes no more in the middle, the rest of another one, through memory."""
        memory = partial(self._through_memory, reader, content, start, stop)
        return taken_over(content, reader.fd, reader.extents(start, stop), start, memory)

    async def _through_memory(
        self, reader: Reader, content: Content, start: int, stop: int, position: int
    ) -> AsyncGenerator[Extent, None]:
        """The rest of a blob for which the disk has no place."""
        size, given = await reader.size(), await sha256_of(reader.fd, start, position)
        part = (start, stop) if reader.audience is Audience.LAZY else None
        fetches = self._backend.fetching.fetches
        with fetches.read(content, from_start=start == 0, is_kept=False, part=part) as again:
            if await again.size() != size:
                raise Unavailable(f"{content.digest}: its size changed from {size} bytes while it arrived")
            async with contextlib.aclosing(rest(again, start, position, stop, given)) as extents:
                async for extent in extents:
                    yield extent

    async def _send_blob(
        self, scope: Scope, receive: Receive, following: Following, request: RegistryRequest, body: Body
    ) -> None:
        response = blob_response(request, body, self._backend.settings)
        await response(scope, receive, following.send)
        self._served.inc(response.sent)
        if response.error is not None:
            following.broke(response.error)

    def _count(self, kind: str, outcome: str) -> None:
        count = self._counts.get((kind, outcome))
        if count is None:  # to look a label's series up takes longer than all else that a request is counted by
            count = self._counts[kind, outcome] = self._backend.metrics.requests.labels("client", kind, outcome).inc
        count()
