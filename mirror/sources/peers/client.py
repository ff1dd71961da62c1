"""Other nodes as sources: what is asked of their peer endpoint, and what of their answers is believed.

A peer's word about ranges and lengths is checked here; whether its bytes are right shows when the digest is computed.

A peer that sends nothing may be gone, or may wait for upstream as we wait for it. So after a moment of silence it is
asked for a sign of life; if none comes, everything that it was to send has failed, and somebody else brings the rest.
"""

import asyncio
import contextlib
import errno
import logging
import math
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from urllib.parse import quote

import aiohttp
from yarl import URL

from ... import __version__
from ...errors import DigestInvalid, PeerError, Reason
from ...oci.content import Content
from ...oci.digest import Digest
from ...oci.ranges import parse_content_range
from ...oci.reference import Reference, Repository
from ...routers import Peer, is_member_name
from ...stores import Tag
from .. import HOP_HEADER, SIZE_MAX_BYTES, RangeReply, RangeRequest, Role, Sink
from .auth import PeerAuth
from .connections import CONNECT_S, BadAnswer, Head, Line, Lines

log = logging.getLogger(__name__)

TAG_AGE_HEADER = "Skvaller-Tag-Age"
"""Seconds since a tag was last known to mean what the answer says: a duration, for the nodes' clocks may differ."""
TAG_AUTHORITY_HEADER = "Skvaller-Tag-Authority"
"""Who says so: `upstream` or `runtime`."""

NODE_HEADER = "Skvaller-Node"
"""The name of the node that asks."""
HOME_HEADER = "Skvaller-Home"
"""How homes are involved: `bring` asks a member as a home, `kept` for what it has got though it is not complete yet;
`for-others` is said by a home that asks a holder."""
AVOID_HEADER = "Skvaller-Avoid"
"""Members that the bytes are not to come from, with commas between them."""
SHARE_HEADER = "Skvaller-Share"
"""What the asking node finds of this member's pace, as a share of what others deliver to it."""
ORIGIN_HEADER = "Skvaller-Origin"
"""Of what a home relays: the member that it has it from, or `upstream`."""
REASON_HEADER = "Skvaller-Reason"
"""Why a member does not give what it was asked for, as in `PeerError`."""
_REASONS = {
    404: (Reason.MISSING, Reason.UNKNOWN),
    503: (Reason.BUSY, Reason.UNABLE, Reason.RATE_LIMITED, Reason.WHOLE),
}

SILENT_S = 0.8
"""A peer that has sent nothing for so long is asked for a sign of life,"""
SIGN_S = 1.0
"""which it has to give within this time."""
STALL_S = 30.0
"""A request without a byte for so long has failed, whatever signs of life its peer gives."""

_AS_HOME = {Role.HOME: "bring", Role.PARTIAL: "kept", Role.HOLDER_FOR_HOME: "for-others"}
_LOOK_S = 0.2
_UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL)
_HEAD_S = 10.0
_CONNECTIONS_MAX = 512


class PeerClient:
    """Asks other nodes.

    Args:
        name: of this node.
        auth: signs the requests, where the cluster has a key.
    """

    def __init__(self, name: str, auth: PeerAuth) -> None:
        self._name = name
        self._auth = auth
        self._session: aiohttp.ClientSession | None = None
        self._lines = Lines()
        self._transfers: set[_Transfer] = set()
        self._watcher: asyncio.Task[None] | None = None
        self._watched_ill = False

    async def start(self) -> None:
        """Be ready to ask."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS_MAX, keepalive_timeout=30),
            timeout=aiohttp.ClientTimeout(total=_HEAD_S, sock_connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={**self._said(), "Accept-Encoding": "identity"},
            auto_decompress=False,
        )

    async def close(self) -> None:
        """Drop all connections."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        self._lines.close()
        if self._session is not None:
            await self._session.close()

    def source(self, peer: Peer) -> "PeerSource":
        """The peer as a source of content."""
        return PeerSource(self, peer)

    async def size(self, peer: Peer, content: Content, *, home: bool = False) -> int:
        """Ask how many bytes some content has that a peer holds or, as a home, can ask upstream about.

        Raises:
            PeerError: it does not have it, or did not answer sensibly.
        """
        async with self._told(peer, _path(content), home=home) as answer:
            if answer.content_length is None:
                raise PeerError(Reason.LENGTH, f"{peer.name} does not say how long {content.digest} is")
            return _credible(peer, answer.content_length)

    async def tag(self, peer: Peer, reference: Reference, *, home: bool = False) -> Tag:
        """Ask what a peer knows of a tag or, as a home, what upstream says of it now.

        Returns:
            Its answer, with the age turned into a time on this node's clock.

        Raises:
            PeerError: it knows nothing, or did not answer sensibly.
        """
        path = f"/v2/{reference.repository.path}/manifests/{reference.tag}?ns={_quoted(reference.repository)}"
        async with self._told(peer, path, home=home) as answer:
            try:
                digest = Digest.parse(answer.headers.get("Docker-Content-Digest", ""))
                age_s = float(answer.headers[TAG_AGE_HEADER])
                if not math.isfinite(age_s):
                    raise ValueError(f"an age of {age_s} s")
            except (DigestInvalid, KeyError, ValueError) as error:
                raise PeerError(Reason.BROKEN, f"{peer.name} answered a tag without digest or age: {error}") from None
            runtime = answer.headers.get(TAG_AUTHORITY_HEADER) == "runtime"
            return Tag(digest, time.time() - max(0.0, age_s), "runtime" if runtime else "upstream")

    async def tell(self, peer: Peer, share: float) -> None:
        """Tell a peer what this node finds of its pace; it does not matter whether that arrives."""
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError, ValueError):
            async with self.request("GET", peer, "/v2/", {SHARE_HEADER: f"{share:.3f}"}):
                pass

    @contextlib.asynccontextmanager
    async def _told(self, peer: Peer, path: str, *, home: bool) -> AsyncIterator[aiohttp.ClientResponse]:
        """What a peer answers to a HEAD request, if it is 200. A home that is late but lives may wait for upstream."""
        try:
            with _translated(peer):
                async with self.request("HEAD", peer, path, {HOME_HEADER: "bring"} if home else {}) as answer:
                    _refuse(peer, answer.status, answer.headers, (200,))
                    yield answer
        except PeerError as error:
            if home and error.reason is Reason.STALLED and await self.lives(peer):
                raise PeerError(
                    Reason.UNABLE, f"{peer.name} has not answered within {_HEAD_S:g} s, but lives"
                ) from error
            raise

    def request(
        self, method: str, peer: Peer, path: str, headers: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Send a signed request for something small to a peer; `path` begins with a slash and may have a query."""
        assert self._session is not None, "start() comes first"
        signed = {**(headers or {}), **self._auth.sign(method, path)}
        url = URL(peer.url + path, encoded=True)  # sent as it was signed
        return self._session.request(method, url, headers=signed, allow_redirects=False)

    async def receive(self, peer: Peer, content: Content, ask: RangeRequest, sink: Sink) -> None:
        """Have a peer send what it is asked for; see `Source.download`. Raises PeerError."""
        path, run = _path(content), partial(self._lines.run, waiting=ask.role.waits_for_others)
        headers = {
            **self._said(),
            **_asking(ask),
            **self._auth.sign("GET", path),
            "Host": peer.url.removeprefix("http://"),
        }
        with (
            self._lines.line(peer.host, peer.port) as line,
            self._watched(_Transfer(peer, line, ask, sink)) as transfer,
        ):
            with _blamed(peer, transfer):
                began = await run(line, partial(transfer.begin, path, headers))
            if isinstance(began, RangeReply):
                await sink.begin(began)
                with _blamed(peer, transfer):
                    began = await run(line, partial(transfer.pour, began))
            came, count = began
        if came < count:
            raise _meaning(peer, transfer, EOFError(f"{count - came} bytes short"))

    def _said(self) -> dict[str, str]:
        """The headers of every request."""
        return {"User-Agent": f"skvaller/{__version__}", HOP_HEADER: "1", NODE_HEADER: self._name}

    @contextlib.contextmanager
    def _watched(self, transfer: "_Transfer") -> Iterator["_Transfer"]:
        self._transfers.add(transfer)
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch(), name="watch transfers")
        try:
            yield transfer
        finally:
            self._transfers.discard(transfer)

    async def _watch(self) -> None:
        """End transfers of peers that are silent and give no sign of life."""
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                await self._look()
            except Exception:  # the root of a task: without it, transfers would wait for the silent for ever
                if not self._watched_ill:
                    log.exception("looking after transfers failed in a way that it should not; said once")
                self._watched_ill = True

    async def _look(self) -> None:
        """Look once; besides, drop connections that nobody needs any more."""
        now = time.monotonic()
        for transfer in list(self._transfers):
            if now - transfer.heard_at > STALL_S:
                transfer.give_up(Reason.UNABLE, f"has sent nothing for {STALL_S:g} s, but lives")
        self._lines.expire()
        silent = {t.peer for t in self._transfers if now - max(t.heard_at, t.alive_at) > SILENT_S}
        if silent:
            await asyncio.gather(*(self._listen(peer) for peer in silent))

    async def _listen(self, peer: Peer) -> None:
        """Ask a peer for a sign of life; without one its silent transfers have failed."""
        asked_at = time.monotonic()
        alive = await self.lives(peer)
        for transfer in list(self._transfers):
            if transfer.peer == peer and alive:
                transfer.alive_at = time.monotonic()
            elif transfer.peer == peer and transfer.heard_at < asked_at:
                transfer.give_up(Reason.STALLED, "gave no sign of life")

    async def lives(self, peer: Peer) -> bool:
        """Whether a peer gives a sign of life when asked for one, within `SIGN_S`; the head of an answer is one."""
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError, ValueError):
            async with asyncio.timeout(SIGN_S), self.request("GET", peer, "/v2/"):
                return True
        return False


class _Transfer:
    """One request for content, carried out in a thread, under the eyes of the watcher.

    While it waits for a thread, or for its sink, the peer is not to blame: it counts as heard from for ever.
    """

    def __init__(self, peer: Peer, line: Line, ask: RangeRequest, sink: Sink) -> None:
        self.peer = peer
        self.heard_at = self.alive_at = math.inf
        self.given_up: PeerError | None = None
        self._line = line
        self._ask = ask
        self._sink = sink

    def begin(self, path: str, headers: Mapping[str, str]) -> RangeReply | tuple[int, int]:
        """Send the request; pour the answer if the sink takes it at once, else give what it promises. Blocks."""
        self.heard_at = self.alive_at = time.monotonic()
        head = self._line.ask(path, headers)
        if head.status != 206:
            self._line.drain()
        promise = _check(self.peer, head, self._ask)
        self.heard_at = time.monotonic()
        if self._sink.begin_at_once(promise):
            return self.pour(promise)
        self.heard_at = math.inf
        return promise

    def pour(self, promise: RangeReply) -> tuple[int, int]:
        """Put the answer where it belongs; give how much of it came, and how much was to come. Blocks."""
        self.heard_at = time.monotonic()
        count = promise.stop - promise.start
        return self._line.pour(self._put, promise.start, count), count

    def _put(self, position: int, part: bytes) -> None:
        self.heard_at = time.monotonic()
        self._sink.put(position, part)

    def give_up(self, reason: Reason, why: str) -> None:
        """End it from outside."""
        self.given_up = PeerError(reason, f"{self.peer.name} {why}")
        self._line.hang_up()


class PeerSource:
    """A peer, as fetch sees it: a `Source`."""

    def __init__(self, client: PeerClient, peer: Peer) -> None:
        self._client = client
        self.peer = peer

    @property
    def name(self) -> str:
        """The member's name."""
        return self.peer.name

    async def download(self, content: Content, ask: RangeRequest, sink: Sink) -> None:
        """Have the peer send it; see `Source.download`. Raises PeerError."""
        await self._client.receive(self.peer, content, ask, sink)


def _check(peer: Peer, answer: Head, ask: RangeRequest) -> RangeReply:
    """What an answer promises, if it is one to what was asked."""
    given = answer.headers.get("content-range")
    if answer.status == 416 and ask.start == 0 and given == "bytes */0":
        return RangeReply(0, 0, 0)
    _refuse(peer, answer.status, answer.headers, (206,))
    promised = parse_content_range(given)
    if promised is None:
        raise PeerError(Reason.RANGE, f"{peer.name} answered without a Content-Range that makes sense")
    start, stop, size = promised
    _credible(peer, size)
    most = min(size if ask.stop is None else ask.stop, size)
    if start != ask.start or stop > most or (stop < most and not ask.role.waits_for_others):  # a home may send less
        raise PeerError(
            Reason.RANGE, f"{peer.name} answered {start}-{stop} of {size} when asked for {ask.start}-{ask.stop}"
        )
    if answer.length != stop - start:
        raise PeerError(Reason.LENGTH, f"{peer.name} announced {answer.length} bytes for {stop - start}")
    origin = answer.headers.get(ORIGIN_HEADER.lower(), "")
    return RangeReply(start, stop, size, origin if is_member_name(origin) else None)


def _credible(peer: Peer, size: int) -> int:
    """A size as a peer says it, if files can have it."""
    if size > SIZE_MAX_BYTES:
        raise PeerError(Reason.RANGE, f"{peer.name} says {size} bytes: no content has so many")
    return size


def _refuse(peer: Peer, status: int, headers: Mapping[str, str], good: tuple[int, ...]) -> None:
    """Raise what a status means that is not one of the good."""
    if status in good:
        return
    given = headers.get(REASON_HEADER) or headers.get(REASON_HEADER.lower(), "")
    if status in _REASONS:
        reasons = _REASONS[status]
        reason = next((reason for reason in reasons if reason == given), reasons[0])
        raise PeerError(reason, f"{peer.name}: {given or 'not there, or busy'}")
    raise PeerError(Reason.STATUS, f"{peer.name} answered {status}")


def _asking(ask: RangeRequest) -> dict[str, str]:
    """The headers of a request for content."""
    headers = {"Range": f"bytes={ask.start}-{'' if ask.stop is None else ask.stop - 1}"}
    if ask.role is not Role.HOLDER:
        headers[HOME_HEADER] = _AS_HOME[ask.role]
    if ask.avoid:
        headers[AVOID_HEADER] = ",".join(ask.avoid)
    if ask.relative_rate is not None:
        headers[SHARE_HEADER] = f"{ask.relative_rate:.3f}"
    return headers


def _path(content: Content) -> str:
    return f"/v2/{content.path}?ns={_quoted(content.repository)}"


def _quoted(repository: Repository) -> str:
    """A registry as it stands in a query: an IPv6 address has brackets."""
    return quote(repository.registry, safe=":")


def _meaning(peer: Peer, transfer: _Transfer, error: Exception) -> PeerError:
    """What it means that a transfer ended early."""
    if transfer.given_up is not None:
        return transfer.given_up
    if isinstance(error, TimeoutError) and transfer.heard_at != transfer.alive_at:
        return PeerError(Reason.STALLED, f"{peer.name} gave no sign of life")
    if isinstance(error, TimeoutError):
        return PeerError(Reason.TIMEOUT, f"{peer.name} at {peer.url} cannot be reached within {CONNECT_S:g} s")
    if isinstance(error, ConnectionRefusedError) or getattr(error, "errno", None) in _UNREACHABLE:
        return PeerError(Reason.UNREACHABLE, f"{peer.name} at {peer.url} cannot be reached: {error}")
    return PeerError(Reason.BROKEN, f"{peer.name} broke off: {error or type(error).__name__}")


@contextlib.contextmanager
def _blamed(peer: Peer, transfer: _Transfer) -> Iterator[None]:
    """Turn what ends a transfer early into PeerError."""
    try:
        yield
    except (BadAnswer, OSError) as error:
        raise _meaning(peer, transfer, error) from error


@contextlib.contextmanager
def _translated(peer: Peer) -> Iterator[None]:
    """Turn the client library's exceptions into PeerError."""
    try:
        yield
    except aiohttp.ClientConnectorError as error:
        raise PeerError(Reason.UNREACHABLE, f"{peer.name} at {peer.url} cannot be reached: {error.strerror}") from error
    except aiohttp.ConnectionTimeoutError as error:
        raise PeerError(
            Reason.TIMEOUT, f"{peer.name} at {peer.url} cannot be reached within {CONNECT_S:g} s"
        ) from error
    except (TimeoutError, aiohttp.SocketTimeoutError) as error:
        raise PeerError(Reason.STALLED, f"{peer.name} sent nothing for too long") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:  # the last for a host or a header that makes no sense
        raise PeerError(Reason.BROKEN, f"{peer.name} broke off: {error or type(error).__name__}") from error
