"""Other members as sources: small questions to their peer endpoints, and downloads of content."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from urllib.parse import quote

import aiohttp
from yarl import URL

from ... import __version__
from ...channels import Channel, tls_problem
from ...channels.contexts import Channels
from ...errors import DigestInvalid, PeerError, Reason
from ...oci.content import Content, Parts
from ...oci.digest import Digest
from ...oci.manifest import MANIFEST_MAX_BYTES
from ...oci.ranges import IntRange
from ...oci.reference import Reference, Repository
from ...routers import Peer
from ...settings import PeerSettings
from ...stores import Tag
from ...stores.marks import Marks
from .. import Life, RangeRequest, Role, Sink
from ..answers import BoundedConnector
from ..chain import came_by
from .auth import PeerAuth, Request, SignedRequest
from .connections import Connection, ConnectionPool, Head
from .protocol import (
    FETCHED_BYTES,
    HASHED_BYTES,
    PARTS_BYTES,
    SIGNED_BODY_MAX_BYTES,
    MemberAnswer,
    MemberRequest,
    Want,
    needs_signed_body,
    parse_parts,
)
from .questions import asked
from .reach import is_there
from .transfers import Transfers, checked_size, raise_for_status
from .watch import Watch

_SHA256_BYTES = 32
_TRIES = 2
"""How often a member is asked: once more if its clock differs from this node's."""
_USER_AGENT = {"User-Agent": f"skvaller/{__version__}"}


class PeerClient:
    """Asks other members.

    Args:
        name: of this node.
        auth: signs the requests, where the cluster has a key.
        settings: timeouts and bounds.
        channels: say who is spoken to by TLS, and how.
        marks: takes note of what members say of private content.
    """

    def __init__(
        self,
        name: str,
        auth: PeerAuth,
        settings: PeerSettings | None = None,
        channels: Channels | None = None,
        marks: Marks | None = None,
    ) -> None:
        self._name = name
        self._marks = marks or Marks()
        self._auth = auth
        self._channels = channels or Channels()
        self._settings = settings = settings or PeerSettings()
        self._session: aiohttp.ClientSession | None = None
        self._pool = ConnectionPool(settings)
        self._watch = Watch(settings, self.is_alive, is_there, self._pool.expire)
        self._transfers = Transfers(self._pool, settings, self._watch)

    async def start(self) -> None:
        """Open the session for small questions; it comes before them."""
        settings = self._settings
        self._session = aiohttp.ClientSession(
            connector=BoundedConnector(
                settings.answers,
                limit=settings.question_connections_max,
                keepalive_timeout=settings.question_idle_s,
            ),
            timeout=aiohttp.ClientTimeout(total=settings.head_s, sock_connect=settings.connect_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={**_USER_AGENT, "Accept-Encoding": "identity"},
            auto_decompress=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._watch.close()
        self._pool.close()
        if self._session is not None:
            await self._session.close()

    def follow(self, on_life: Callable[[Peer, Life], None]) -> None:
        """Tell from now on what is found out of members that owe an answer; see `MemberSources.follow`."""

        def noticed(peer: Peer, life: Life) -> None:
            if life is Life.GONE:
                self._pool.forget(peer.host, peer.port)
            on_life(peer, life)

        self._watch.follow(noticed)

    def source(self, peer: Peer) -> "PeerSource":
        """The peer as a source of content."""
        return PeerSource(self, peer)

    witness = source

    async def size(self, peer: Peer, content: Content, role: Role = Role.HOLDER) -> int:
        """Ask how many bytes some content has.

        Args:
            peer: the member to ask.
            content: what its size is wanted of.
            role: a holder answers for what it holds; a home can ask upstream.

        Raises:
            PeerError: it does not have it, or gave no valid answer.
        """
        async with self._head(peer, _path(content), role) as answer:
            self._heard(content, MemberAnswer.parse(answer.headers))
            if answer.content_length is None:
                raise PeerError(Reason.LENGTH, f"{peer.name} does not say how long {content.digest} is")
            return checked_size(peer, answer.content_length)

    async def tag(self, peer: Peer, reference: Reference, role: Role = Role.HOLDER, *, recheck: bool = False) -> Tag:
        """Ask what a tag means.

        Args:
            peer: the member to ask.
            reference: the tag.
            role: a holder answers what it knows; a home asks upstream, or repeats what that said a moment ago.
            recheck: whether a home is to ask upstream in any case.

        Returns:
            Its answer, with the age turned into a time on this node's clock.

        Raises:
            PeerError: it knows nothing, or gave no valid answer.
        """
        path = f"/v2/{reference.repository.path}/manifests/{reference.tag}?ns={quoted(reference.repository)}"
        async with self._head(peer, path, role, recheck=recheck) as answer:
            member_answer = MemberAnswer.parse(answer.headers)
            try:
                digest = Digest.parse(answer.headers.get("Docker-Content-Digest", ""))
            except DigestInvalid as error:
                raise PeerError(Reason.BROKEN, f"{peer.name} answered a tag without a digest: {error}") from None
            if member_answer.tag_age_s is None:
                raise PeerError(Reason.BROKEN, f"{peer.name} answered a tag without its age")
            checked_unix_s = time.time() - max(0.0, member_answer.tag_age_s)
            return Tag(digest, checked_unix_s, member_answer.tag_authority or "upstream")

    async def read(self, peer: Peer, path: str, max_bytes: int, method: str = "GET") -> bytes:
        """What a peer answers to a question that takes a small answer.

        Args:
            peer: the member to ask.
            path: with its query.
            max_bytes: bounds the answer, in bytes.
            method: POST for an order.

        Raises:
            PeerError: it gave no valid answer.
        """
        with _translated(peer, self._settings.connect_s):
            async with self._request(method, peer, path, MemberRequest(self._name)) as answer:
                raise_for_status(peer, answer.status, MemberAnswer.parse(answer.headers), expected=200)
                if not 0 < (answer.content_length or 0) <= max_bytes:
                    answer.close()
                    raise PeerError(Reason.LENGTH, f"{peer.name} answered {answer.content_length} bytes to {path}")
                return await answer.read()

    async def notify_slow(self, peer: Peer, relative_rate: float) -> None:
        """Tell a peer the relative rate that this node measures of it; whether that arrives does not matter."""
        await self._tell("GET", peer, "/v2/", MemberRequest(self._name, relative_rate=relative_rate))

    async def notify_wrong(self, peer: Peer, content: Content, wrong: tuple[int, int]) -> None:
        """Tell a peer a range of which it sent wrong bytes; whether that arrives does not matter."""
        await self._tell("HEAD", peer, _path(content), MemberRequest(self._name, wrong=wrong))

    async def is_alive(self, peer: Peer) -> bool:
        """Ask a peer for a sign of life, and say whether it gave one in time: the head of any answer is one."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.sign_of_life_s):
                return await self._tell("GET", peer, "/v2/", MemberRequest(self._name))
        return False

    def _heard(self, content: Content, said: MemberAnswer) -> None:
        """Take note of the mark that a peer gives with some content, on the loop."""
        if said.mark is not None:
            self._marks.add(content.digest, said.mark)

    async def _tell(self, method: str, peer: Peer, path: str, member_request: MemberRequest) -> bool:
        """Say something to a peer; return whether it answered anything."""
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError, ValueError, PeerError):
            async with self._request(method, peer, path, member_request):
                return True
        return False

    async def ask(
        self,
        peer: Peer,
        content: Content,
        want: Want | None,
        lengths: range,
        extra: Mapping[str, str] | None = None,
        *,
        platforms: tuple[str, ...] = (),
    ) -> bytes:
        """What a peer answers to a question about some content.

        Args:
            peer: the member to ask.
            content: what is asked about.
            want: what is asked; None for the content itself, which whoever asks has to hash.
            lengths: that the answer's body may have, in bytes.
            extra: headers beside those of members.
            platforms: see `MemberRequest`.

        Raises:
            PeerError: it does not hold the content, or gave no valid answer.
        """
        member_request = MemberRequest(self._name, want=want)
        with _translated(peer, self._settings.connect_s):
            async with (
                asked(peer, self._watch),
                self._request("GET", peer, _path(content), member_request, extra) as answer,
            ):
                raise_for_status(peer, answer.status, said := MemberAnswer.parse(answer.headers), expected=200)
                self._heard(content, said)
                if (sent := answer.content_length) not in lengths:
                    answer.close()  # an agent that does not know the question sends the blob
                    raise PeerError(Reason.LENGTH, f"{peer.name} answered {sent} bytes, not {lengths[-1]}")
                return await answer.read()

    async def download(self, peer: Peer, content: Content, request: RangeRequest, sink: Sink) -> None:
        """Have a peer send what it is asked for; see `Source.download`. Raises PeerError."""
        path, channel = _path(content), self._channel(peer)
        member_request = MemberRequest(
            self._name, request.role, request.avoid, request.relative_rate, came_by=came_by.get()
        )
        headers = {
            **_USER_AGENT,
            **member_request.headers(),
            "Range": str(IntRange(request.start, request.stop)),
            "Host": peer.address,
        }
        loop = asyncio.get_running_loop()

        def ask(connection: Connection) -> Head:
            """Ask in a thread, with a signature where there is no TLS; once more if the member's clock differs."""
            head = None
            for _ in range(_TRIES):
                signed = self._signed(peer, channel, "GET", path, headers)
                head = connection.get(path, {**headers, **signed.headers})
                signed.check(head.status, head.headers.items())
                if not self._auth.learns(peer.name, head.status, head.headers):
                    # The loop hears of a mark before it is told of any byte.
                    loop.call_soon_threadsafe(self._heard, content, MemberAnswer.parse(head.headers))
                    return head
                connection.drain()
            assert head is not None
            return head

        await self._transfers.download(peer, channel, ask, request, sink)

    @contextlib.asynccontextmanager
    async def _head(
        self, peer: Peer, path: str, role: Role, *, recheck: bool = False
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """What a peer answers to a HEAD request, if it is 200; a home that is late but lives may wait for upstream."""
        member_request = MemberRequest(self._name, role, recheck=recheck, came_by=came_by.get())
        with _translated(peer, self._settings.connect_s):
            try:
                async with asked(peer, self._watch), self._request("HEAD", peer, path, member_request) as answer:
                    raise_for_status(peer, answer.status, MemberAnswer.parse(answer.headers), expected=200)
                    yield answer
            except TimeoutError as error:
                if role is not Role.HOME or isinstance(error, aiohttp.ConnectionTimeoutError):
                    raise
                limit_s = self._settings.head_s
                why = f"{peer.name} has not answered within {limit_s:g} s, but lives"
                raise PeerError(Reason.UNABLE, why) from error

    @contextlib.asynccontextmanager
    async def _request(
        self,
        method: str,
        peer: Peer,
        path: str,
        member_request: MemberRequest,
        extra: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask for something small, and check that the member answers; once more if its clock differs.

        `path` begins with a slash and may have a query.
        """
        channel, headers = self._channel(peer), {**(extra or {}), **member_request.headers()}
        for attempt in range(1, _TRIES + 1):
            signed = self._signed(peer, channel, method, path, headers)
            async with self._send(method, peer, channel, path, {**headers, **signed.headers}) as answer:
                signed.check(answer.status, answer.headers.items())
                if signed.keys and method != "HEAD" and needs_signed_body(answer.status, answer.content_length):
                    signed.check_body(answer.headers, await answer.read())
                if attempt == _TRIES or not self._auth.learns(peer.name, answer.status, answer.headers):
                    yield answer
                    return

    def _signed(
        self, peer: Peer, channel: Channel | None, method: str, path: str, headers: Mapping[str, str]
    ) -> SignedRequest:
        """A request to a member, signed unless TLS proves who asks and who answers."""
        if channel is not None:
            return SignedRequest(peer.name)
        return self._auth.ask(peer.name, Request(method, path, headers.items()))

    def _send(
        self, method: str, peer: Peer, channel: Channel | None, path: str, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        assert self._session is not None, "start() comes first"
        scheme = "https" if channel else "http"
        url = URL(f"{scheme}://{peer.address}{path}", encoded=True)  # it must be sent exactly as it was signed
        return self._session.request(
            method,
            url,
            headers=headers,
            allow_redirects=False,
            ssl=channel.context if channel else True,
            server_hostname=channel.name if channel else None,
        )

    def _channel(self, peer: Peer) -> Channel | None:
        """How to speak with a member by TLS; None for clear text. Raises PeerError if it is not to be believed."""
        if self._channels.is_denied(peer.name):
            raise PeerError(Reason.UNPROVEN, f"{peer.name} is not believed here: --tls-deny names it")
        return self._channels.to(peer.name, speaks_tls=peer.tls)


class PeerSource:
    """A peer, as a fetch sees it: a `Source`, and a `Witness`.

    Args:
        client: asks it.
        peer: the member.
    """

    def __init__(self, client: PeerClient, peer: Peer) -> None:
        self._client = client
        self._peer = peer

    @property
    def name(self) -> str:
        """The member's name."""
        return self._peer.name

    async def download(self, content: Content, request: RangeRequest, sink: Sink) -> None:
        """Have the peer send it; see `Source.download`. Raises PeerError."""
        await self._client.download(self._peer, content, request, sink)

    async def prefixes(self, content: Content, count: int) -> tuple[bytes, ...]:
        """The peer's prefixes of some content; see `Witness.prefixes`. Raises PeerError."""
        most = SIGNED_BODY_MAX_BYTES // _SHA256_BYTES
        if count > most:
            raise PeerError(Reason.LENGTH, f"{self.name} is not asked for {count} prefixes, for {most} can be signed")
        body = await self._client.ask(self._peer, content, Want.PREFIXES, _only(count * _SHA256_BYTES))
        return tuple(body[at : at + _SHA256_BYTES] for at in range(0, len(body), _SHA256_BYTES))

    async def sha256(self, content: Content, start: int, stop: int) -> bytes:
        """The sha256 of a range of the peer's copy; see `Witness.sha256`. Raises PeerError."""
        part = {"Range": str(IntRange(start, stop))}
        return await self._client.ask(self._peer, content, Want.SHA256, _only(_SHA256_BYTES), part)

    async def parts(self, content: Content) -> Parts:
        """How many of the blobs that a manifest names the peer holds. Raises PeerError."""
        return parse_parts(await self._client.ask(self._peer, content, Want.PARTS, _only(PARTS_BYTES)))

    async def size(self, content: Content) -> int:
        """The size of some content that the peer holds, in bytes. Raises PeerError."""
        return await self._client.size(self._peer, content)

    async def manifest(self, content: Content) -> bytes:
        """A manifest that the peer holds; whoever asks has to hash it. Raises PeerError."""
        return await self._client.ask(self._peer, content, None, range(1, MANIFEST_MAX_BYTES + 1))

    async def hash(self, content: Content) -> bytes:
        """Have the peer hash its copy; see `Want.HASH`. Raises PeerError."""
        return await self._client.ask(self._peer, content, Want.HASH, _only(HASHED_BYTES))

    async def fetch(self, content: Content, platforms: tuple[str, ...]) -> bytes:
        """Have the peer fetch an image; see `Want.FETCH`. Raises PeerError."""
        return await self._client.ask(self._peer, content, Want.FETCH, _only(FETCHED_BYTES), platforms=platforms)


@contextlib.contextmanager
def _translated(peer: Peer, connect_s: float) -> Iterator[None]:
    """Turn the client library's exceptions into PeerError."""
    try:
        yield
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
        cause = error.__cause__
        why = tls_problem(cause) if isinstance(cause, ssl.SSLError) else str(error)
        raise PeerError(Reason.UNPROVEN, f"{peer.name} at {peer.address}: {why}") from error
    except aiohttp.ClientConnectorError as error:
        why = f"{peer.name} at {peer.address} cannot be reached: {error.strerror}"
        raise PeerError(Reason.UNREACHABLE, why) from error
    except aiohttp.ConnectionTimeoutError as error:
        why = f"{peer.name} at {peer.address} cannot be reached within {connect_s:g} s"
        raise PeerError(Reason.TIMEOUT, why) from error
    except (TimeoutError, aiohttp.SocketTimeoutError) as error:
        raise PeerError(Reason.STALLED, f"{peer.name} sent nothing for too long") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: the host or a header is not valid
        raise PeerError(Reason.BROKEN, f"{peer.name} broke off: {error or type(error).__name__}") from error


def _path(content: Content) -> str:
    return f"/v2/{content.path}?ns={quoted(content.repository)}"


def quoted(repository: Repository) -> str:
    """A registry as it stands in a query: an IPv6 address has brackets."""
    return quote(repository.registry, safe=":")


def _only(length: int) -> range:
    """The one length that an answer may have, in bytes."""
    return range(length, length + 1)
