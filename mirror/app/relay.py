"""What this node fetches for other members, as the home that they ask, and how it sends that on while it arrives.

A home asks holders and upstream, never another home, so no request goes round in a circle.
"""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Collection, Iterable, Iterator

from starlette.types import Scope, Send

from ..cluster.homes import MEBIBYTE
from ..errors import (
    MirrorError,
    OciError,
    RangeInvalid,
    RangeUnsatisfiable,
    Reason,
    Refusal,
    UnknownRefusal,
    UpstreamError,
    UpstreamOffline,
    UpstreamUnknown,
)
from ..fetch import Audience, Relay
from ..images.manifests import Manifest
from ..oci.content import Content
from ..oci.digest import Digest
from ..oci.ranges import IntRange, RequestedRange, SeveralRanges
from ..oci.reference import Reference
from ..settings import AppSettings
from ..sources import SIZE_MAX_BYTES
from ..sources.peers.protocol import MemberAnswer
from ..stores import Tag
from .backend import Backend
from .blob import BlobResponse, blob_headers, of_file
from .request import RegistryRequest
from .responses import API_VERSION, OCTETS, encoded


class Home:
    """Fetches for other members what they take this node for the home of.

    All that fails here is raised as a `Refusal`, which tells the member why; but a range beyond the content's end stays
    `RangeUnsatisfiable`.

    Args:
        backend: the parts of the node.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._fetching = backend.fetching
        self._served = backend.metrics.served_bytes.labels("peer")

    async def tag(self, reference: Reference, *, recheck: bool) -> Tag:
        """What upstream says of a tag: a moment ago, or with `recheck` now."""
        with _refusals():
            return await self._backend.tags.check(reference, recheck=recheck)

    async def manifest(self, content: Content) -> Manifest:
        """A manifest from a holder or upstream."""
        with _refusals():
            manifest, _ = await self._backend.manifests.get(content, Audience.MEMBER)
            return manifest

    async def size(self, content: Content) -> int:
        """The size of a blob in bytes, from a holder or upstream."""
        with _refusals():
            return await self._fetching.sizes.size(content, Audience.MEMBER)

    def has_part(self, content: Content, part: RequestedRange | None) -> bool:
        """Whether a part of a blob that is still arriving is here."""
        if not isinstance(part, IntRange) or part.stop is None:
            return False
        return self._fetching.fetches.has(content, part.start, part.stop)

    @contextlib.asynccontextmanager
    async def blob(
        self, request: RegistryRequest, content: Content, avoid: Collection[str]
    ) -> AsyncIterator["RelayResponse"]:
        """The answer with a blob, or the range of it that is asked for; it is sent inside the context.

        Args:
            request: what is asked for.
            content: the blob.
            avoid: names of members that the bytes must not come from.
        """
        with _refusals(), self._fetching.fetches.relay(content, hint(request.range)) as relay:
            response = await self._response(relay, request, content.digest, avoid)
            yield response
            self._served.inc(response.sent)
            if response.refused is not None:
                raise response.refused

    async def _response(
        self, relay: Relay, request: RegistryRequest, digest: Digest, avoid: Collection[str]
    ) -> "RelayResponse":
        size = await relay.reader.size()
        if relay.is_elsewhere:
            raise Refusal(Reason.WHOLE, f"upstream has no ranges, and another member is the home of all of {digest}")
        wanted = request.one_span(size)
        start, stop = wanted or (0, size)
        if avoid:
            await relay.distrust(self._known(avoid), start, stop)
        return RelayResponse(relay, digest, size, wanted, self._backend.settings)

    def _known(self, names: Iterable[str]) -> list[str]:
        """Those names that members have. Members that have failed count too: bytes of theirs may have arrived."""
        cluster, most = self._fetching.cluster, self._backend.settings.avoided_max
        members = cluster.known() - {cluster.me}
        return [name for name in names if name in members][:most]


class RelayResponse(BlobResponse):
    """A blob that is arriving, sent on. The head waits for the first byte, so that it can say who the bytes are from.

    Where the range that was asked for has two origins, only the part with the first one is sent (RFC 9110 section 14.2
    allows that). So no member is blamed for what another one sent.

    Args:
        relay: of the blob.
        digest: its digest.
        size: its size, in bytes.
        wanted: the range that was asked for; None for all of it.
        settings: see `BlobResponse`.
    """

    def __init__(
        self, relay: Relay, digest: Digest, size: int, wanted: tuple[int, int] | None, settings: AppSettings
    ) -> None:
        self._start, self._stop = wanted or (0, size)
        self._arriving = relay.reader.extents(self._start, self._stop)
        super().__init__(200, [], (), settings)
        self._relay = relay
        self._digest = digest
        self._size = size
        self._wanted = wanted
        self.refused: MirrorError | None = None
        """Why nothing was answered at all; then the caller still has to answer."""

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
            self.headers = [API_VERSION, *headers, *encoded(MemberAnswer(origin=origin).headers())]
            self._extents = of_file(self._relay.reader.fd, _up_to(end, first, self._arriving))
            await super()._send(scope, send)


async def _up_to(
    end: int, first: tuple[int, int] | None, rest: AsyncIterable[tuple[int, int]]
) -> AsyncGenerator[tuple[int, int], None]:
    """The first extent and the rest, cut off at `end`."""
    if first is not None:
        yield first[0], min(first[1], end - first[0])
        if sum(first) >= end:
            return
    async for offset, count in rest:
        yield offset, min(count, end - offset)
        if offset + count >= end:
            return


def hint(part: RequestedRange | None) -> tuple[int, int]:
    """The bytes to fetch first while the size is not known: those that are asked for, if their place is known.

    Raises:
        RangeInvalid: several ranges, for which no member asks; they are refused before anything is fetched.
    """
    match part:
        case IntRange(start, None):
            return start, max(start + MEBIBYTE, SIZE_MAX_BYTES)
        case IntRange(start, int(stop)):
            return start, stop
        case SeveralRanges():
            raise RangeInvalid("send one range per request: between members there are no more")
        case _:
            return 0, MEBIBYTE


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Turn what keeps this node from fetching something into what the member that asked is told."""
    try:
        yield
    except RangeUnsatisfiable:
        raise
    except MirrorError as error:
        raise refusal(error) from error


def refusal(error: MirrorError) -> Refusal:
    """What a member is told when this node, as its home of something, cannot fetch it."""
    if isinstance(error, Refusal):
        return error
    if any(isinstance(cause, UpstreamOffline) for cause in (error, error.__cause__)):
        return Refusal(Reason.UNABLE, str(error))  # it says nothing of the registry: others may be able to ask
    if isinstance(error, UpstreamUnknown) or (isinstance(error, OciError) and error.status == 404):
        return UnknownRefusal(str(error))
    causes = [cause.reason for cause in (error, error.__cause__) if isinstance(cause, UpstreamError)]
    told = next((reason for reason in causes if reason in (Reason.RATE_LIMITED, Reason.OUTAGE)), Reason.UNABLE)
    return Refusal(told, str(error))
