"""The peer endpoint: for other nodes, what this node holds, and what it is to bring as their home of it.

What a member asks of it as a home is brought from a holder or from upstream, and streamed on while it arrives. Nothing
is asked of another home on the way, so no request goes in circles.
"""

import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterable, Iterator

from starlette.datastructures import Headers as RequestHeaders
from starlette.types import Receive, Scope, Send

from ..cluster.homes import MEBIBYTE
from ..cluster.throughput import SlowReports
from ..errors import (
    BlobUnknown,
    ManifestUnknown,
    MirrorError,
    OciError,
    Reason,
    Refusal,
    Unauthorized,
    UnknownUpstream,
    UpstreamRateLimited,
    UpstreamUnknown,
)
from ..fetch import Fetcher, Relay
from ..fetch.spool import Audience
from ..images.holdings import Holdings
from ..images.manifests import Manifests
from ..images.tags import Tags
from ..metrics import Metrics
from ..oci.content import Content
from ..oci.digest import Digest
from ..oci.reference import Reference
from ..routers import is_member_name
from ..sources.peers.auth import PeerAuth
from ..sources.peers.client import (
    AVOID_HEADER,
    HOME_HEADER,
    NODE_HEADER,
    ORIGIN_HEADER,
    SHARE_HEADER,
    TAG_AGE_HEADER,
    TAG_AUTHORITY_HEADER,
)
from ..stores import Held, Tag
from .admission import Admission
from .blob import BlobResponse, Headers, blob_headers
from .request import Asked, parse, target
from .responses import (
    API_VERSION,
    OCTETS,
    Body,
    requested_range,
    send_blob,
    send_content,
    send_empty,
    send_error,
    send_json,
)

_AVOIDED_MAX = 16
_ANY_SIZE = 1 << 62


class PeerEndpoint:
    """An ASGI application for the peer listener.

    Args:
        holdings: what this node's stores hold.
        fetcher: brings what others ask of this node as a home.
        manifests: gives manifests by digest.
        tags: what this node knows of tags.
        reports: hears what others find of this node's pace.
        auth: tells members from others, where the cluster has a key.
        metrics: counts.
    """

    def __init__(  # noqa: PLR0913 - the parts of a node that other nodes see
        self,
        holdings: Holdings,
        fetcher: Fetcher,
        manifests: Manifests,
        tags: Tags,
        *,
        reports: SlowReports,
        auth: PeerAuth,
        metrics: Metrics,
    ) -> None:
        self._holdings = holdings
        self._fetcher = fetcher
        self._manifests = manifests
        self._tags = tags
        self._reports = reports
        self._auth = auth
        self._metrics = metrics
        self._served = metrics.served_bytes.labels("peer")
        self._admission = Admission()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; an error becomes an answer in the specification's form."""
        kind = "other"
        headers = RequestHeaders(scope=scope)
        try:
            if not self._auth.accepts(scope["method"], target(scope), headers):
                raise Unauthorized("only members of the cluster may ask here: the request is not signed with its key")
            self._hear(headers)
            asked = parse(scope)
            if asked is None:
                await send_json(scope, send, 200, {})
            elif isinstance(asked.what, Reference):
                kind = "tags"
                await self._tag(scope, send, asked.what, as_home=headers.get(HOME_HEADER) == "bring")
            else:
                kind = asked.kind
                await self._content(scope, receive, send, asked, asked.what)
        except OciError as error:
            self._count(kind, "missing" if error.status == 404 else "refused")
            await send_error(scope, send, error)

    def _hear(self, headers: RequestHeaders) -> None:
        """Take note of what the asking node finds of this one's pace, if it is a member that is up."""
        node, share = _node(headers), headers.get(SHARE_HEADER)
        if share is None or node is None or node == self._fetcher.name or node not in self._fetcher.up():
            return
        try:
            self._reports.heard(node, float(share), time.monotonic())
        except ValueError:
            return

    async def _tag(self, scope: Scope, send: Send, reference: Reference, *, as_home: bool) -> None:
        """Tell what this node knows of a tag, or as a home what upstream says; with the manifest, if it is here."""
        tag = await self._checked(reference) if as_home else self._tags.local(reference)
        if tag is None:
            raise ManifestUnknown(f"this node does not know {reference}")
        self._count("tags", "held")
        said: Headers = [
            (TAG_AGE_HEADER.lower().encode(), b"%.3f" % max(0.0, time.time() - tag.checked_unix_s)),
            (TAG_AUTHORITY_HEADER.lower().encode(), tag.authority.encode()),
        ]
        if scope["method"] == "HEAD":
            await send_empty(send, 200, [(b"docker-content-digest", str(tag.digest).encode()), *said])
            return
        manifest = self._manifests.held(tag.digest)
        if manifest is None:
            raise ManifestUnknown(f"this node does not hold {tag.digest}, which {reference} means")
        await send_content(scope, send, tag.digest, manifest.media_type, manifest.body, said)

    async def _checked(self, reference: Reference) -> Tag:
        try:
            return await self._tags.check(reference)
        except MirrorError as error:
            raise _as_home(error) from error

    async def _content(self, scope: Scope, receive: Receive, send: Send, asked: Asked, digest: Digest) -> None:
        headers = RequestHeaders(scope=scope)
        as_home = headers.get(HOME_HEADER) == "bring"
        if asked.kind == "manifests":
            await self._manifest(scope, send, asked, digest, as_home=as_home)
            return
        held = self._holdings.open(digest)
        if held is not None:
            with held, self._admitted(scope, digest, held, headers):
                self._count("blobs", "held")
                await send_blob(scope, receive, send, Body.held(digest, held), self._served)
            return
        if not as_home and not self._has_got(scope, headers, asked.content(digest)):
            raise BlobUnknown(f"this node does not hold {digest}")
        try:
            await self._relay(scope, receive, send, asked, digest)
        except OciError as error:
            raise error if error.status == 416 else _as_home(error) from error
        except MirrorError as error:
            raise _as_home(error) from error

    def _has_got(self, scope: Scope, headers: RequestHeaders, content: Content) -> bool:
        """Whether a member asks for what this node has got of a blob, and it has."""
        asked = requested_range(scope, _ANY_SIZE) if headers.get(HOME_HEADER) == "kept" else None
        return asked is not None and self._fetcher.has(content, *asked)

    @contextlib.contextmanager
    def _admitted(self, scope: Scope, digest: Digest, held: Held, headers: RequestHeaders) -> Iterator[None]:
        """Let a request for a held blob pass, or send it to the homes; who asks for the head alone costs nothing."""
        if scope["method"] == "HEAD":
            yield
            return
        asker, now, for_others = _node(headers) or "", time.monotonic(), HOME_HEADER in headers
        if not self._admission.admits(digest.hex, held.size, asker, now, for_others=for_others):
            raise Refusal(Reason.BUSY, f"this node serves others with {digest}: ask the homes of its pieces")
        self._admission.transfers += 1
        try:
            yield
        finally:
            self._admission.transfers -= 1

    async def _manifest(self, scope: Scope, send: Send, asked: Asked, digest: Digest, *, as_home: bool) -> None:
        manifest = self._manifests.held(digest)
        if manifest is None and as_home:
            try:
                manifest, _ = await self._manifests.get(asked.content(digest), Audience.MEMBER)
            except MirrorError as error:
                raise _as_home(error) from error
        if manifest is None:
            raise ManifestUnknown(f"this node does not hold {digest}")
        self._count("manifests", "held")
        await send_content(scope, send, digest, manifest.media_type, manifest.body, [])

    async def _relay(self, scope: Scope, receive: Receive, send: Send, asked: Asked, digest: Digest) -> None:
        """Send on what this node is a home of, while it arrives."""
        content = asked.content(digest)
        if scope["method"] == "HEAD":
            size = await self._fetcher.size(content, Audience.MEMBER)
            await send_empty(send, *blob_headers(digest, OCTETS, size))
            return
        with self._fetcher.relaying(content, requested_range(scope, _ANY_SIZE) or (0, MEBIBYTE)) as relay:
            size = await relay.reader.size()
            if relay.is_elsewhere:
                raise Refusal(
                    Reason.WHOLE, f"upstream has no ranges, and another member is the home of all of {digest}"
                )
            wanted = requested_range(scope, size)
            start, stop = wanted or (0, size)
            await relay.distrust(self._avoided(RequestHeaders(scope=scope)), start, stop)
            response = _Relay(relay, digest, size, wanted)
            await response(scope, receive, send)
            self._served.inc(response.sent)
            if response.refused is not None:
                raise response.refused
        self._count("blobs", "relayed")

    def _avoided(self, headers: RequestHeaders) -> list[str]:
        """Members that the bytes are not to come from: with those that failed meanwhile, whose bytes may be here."""
        members = self._fetcher.up() | {seat.peer.name for seat in self._fetcher.router.seats()}
        named = dict.fromkeys(headers.get(AVOID_HEADER, "").split(","))
        return [name for name in named if name in members and name != self._fetcher.name][:_AVOIDED_MAX]

    def _count(self, kind: str, outcome: str) -> None:
        self._metrics.requests.labels("peer", kind, outcome).inc()


class _Relay(BlobResponse):
    """What arrives, sent on. The head waits for the first byte, so that it can say whose word that is.

    Where the range that was asked for is two members' word, only the first one's part is sent (RFC 9110 section 14.2
    allows that): so nobody is blamed for what another said.

    Args:
        relay: of the blob.
        digest: its digest.
        size: its size, in bytes.
        wanted: the range that was asked for; None for all of it.
    """

    def __init__(self, relay: Relay, digest: Digest, size: int, wanted: tuple[int, int] | None) -> None:
        self._start, self._stop = wanted or (0, size)
        self._arriving = relay.reader.extents(self._start, self._stop)
        super().__init__(200, [], relay.reader.fd, self._arriving)
        self._relay = relay
        self._digest = digest
        self._size = size
        self._wanted = wanted
        self.refused: MirrorError | None = None
        """Why nothing was answered at all."""

    async def _send(self, scope: Scope, send: Send) -> None:
        async with contextlib.aclosing(self._arriving):
            try:
                first = await anext(self._arriving, None)
            except MirrorError as error:
                self.refused = error
                return
            origin, end = self._relay.origin(self._start, self._stop)
            end = end if self._wanted else self._size
            wanted = self._wanted and (self._start, end)
            self.status, headers = blob_headers(self._digest, OCTETS, self._size, wanted)
            said = [] if origin is None else [(ORIGIN_HEADER.lower().encode(), origin.encode())]
            self.headers = [API_VERSION, *headers, *said]
            self._extents = _up_to(end, first, self._arriving)
            await super()._send(scope, send)


async def _up_to(
    end: int, first: tuple[int, int] | None, rest: AsyncIterable[tuple[int, int]]
) -> AsyncGenerator[tuple[int, int], None]:
    """The first extent and the rest, as far as `end`."""
    if first is not None:
        yield first[0], min(first[1], end - first[0])
        if sum(first) >= end:
            return
    async for offset, count in rest:
        yield offset, min(count, end - offset)
        if offset + count >= end:
            return


def _node(headers: RequestHeaders) -> str | None:
    """Who asks, as it says; None where that can be nobody's name."""
    name = headers.get(NODE_HEADER, "")
    return name if is_member_name(name) else None


def _as_home(error: MirrorError) -> OciError:
    """What a member is told when this node, as its home of something, cannot bring it."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, UpstreamUnknown) or (isinstance(error, OciError) and error.status == 404):
        return UnknownUpstream(str(error))
    limited = isinstance(error, UpstreamRateLimited) or isinstance(error.__cause__, UpstreamRateLimited)
    return Refusal(Reason.RATE_LIMITED if limited else Reason.UNABLE, str(error))
