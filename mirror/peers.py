"""Other nodes as sources: what is asked of their peer endpoint, and what of their answers is believed.

A peer's word about ranges and lengths is checked here; whether its bytes are right shows when the digest is computed.
A peer that sends no byte for a while has failed: somebody else will have to bring the rest.
"""

import contextlib
import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from urllib.parse import quote

import aiohttp
from yarl import URL

from . import __version__
from .auth import PeerAuth
from .content import HOP_HEADER, Content, Delivery
from .digest import Digest
from .errors import DigestInvalid, PeerError
from .ranges import parse_content_range
from .reference import Reference, Repository
from .router import Peer
from .stores import Tag

TAG_AGE_HEADER = "Skvaller-Tag-Age"
"""Seconds since a tag was last known to mean what the answer says: a duration, for the nodes' clocks may differ."""
TAG_AUTHORITY_HEADER = "Skvaller-Tag-Authority"
"""Who says so: `upstream` or `runtime`."""

STALL_S = 2.0
_CONNECT_S = 2.0
_BUFFER_BYTES = 256 * 1024
_CONNECTIONS_MAX = 512


class PeerClient:
    """Asks other nodes.

    Args:
        auth: signs the requests, where the cluster has a key.
        stall_s: a peer that sends no byte for so long has failed.
    """

    def __init__(self, auth: PeerAuth, stall_s: float = STALL_S) -> None:
        self._auth = auth
        self._stall_s = stall_s
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Be ready to ask."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS_MAX, keepalive_timeout=30),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=self._stall_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"skvaller/{__version__}", "Accept-Encoding": "identity", HOP_HEADER: "1"},
            auto_decompress=False,
            read_bufsize=_BUFFER_BYTES,
        )

    async def close(self) -> None:
        """Drop all connections."""
        if self._session is not None:
            await self._session.close()

    def source(self, peer: Peer) -> "PeerSource":
        """The peer as a source of content."""
        return PeerSource(self, peer)

    async def tag(self, peer: Peer, reference: Reference) -> Tag | None:
        """Ask what a peer knows of a tag.

        Returns:
            Its answer, with the age turned into a time on this node's clock; None if it knows nothing.

        Raises:
            PeerError: it did not answer, or not sensibly.
        """
        path = f"/v2/{reference.repository.path}/manifests/{reference.tag}?ns={_quoted(reference.repository)}"
        with _translated(peer):
            async with self.request("HEAD", peer, path) as answer:
                if answer.status == 404:
                    return None
                if answer.status != 200:
                    raise PeerError("status", f"{peer.name} answered {answer.status} to a tag")
                try:
                    digest = Digest.parse(answer.headers.get("Docker-Content-Digest", ""))
                    age_s = float(answer.headers[TAG_AGE_HEADER])
                    if not math.isfinite(age_s):
                        raise ValueError(f"an age of {age_s} s")
                except (DigestInvalid, KeyError, ValueError) as error:
                    raise PeerError("broken", f"{peer.name} answered a tag without digest or age: {error}") from None
                runtime = answer.headers.get(TAG_AUTHORITY_HEADER) == "runtime"
                return Tag(digest, time.time() - max(0.0, age_s), "runtime" if runtime else "upstream")

    def request(
        self, method: str, peer: Peer, path: str, headers: dict[str, str] | None = None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Send a signed request to a peer; `path` begins with a slash and may have a query."""
        assert self._session is not None, "start() comes first"
        signed = {**(headers or {}), **self._auth.sign(method, path)}
        url = URL(peer.url + path, encoded=True)  # sent as it was signed
        return self._session.request(method, url, headers=signed, allow_redirects=False)


class PeerSource:
    """A peer, as fetch sees it: a `Source`."""

    def __init__(self, client: PeerClient, peer: Peer) -> None:
        self._client = client
        self._peer = peer

    @property
    def name(self) -> str:
        """The member's name."""
        return self._peer.name

    @contextlib.asynccontextmanager
    async def open(self, content: Content, start: int, stop: int | None) -> AsyncIterator[Delivery]:
        """Ask for `[start, stop)`; see `Source.open`. Raises PeerError."""
        path = f"/v2/{content.path}?ns={_quoted(content.repository)}"
        ranged = {"Range": f"bytes={start}-{'' if stop is None else stop - 1}"}
        async with contextlib.AsyncExitStack() as stack:
            with _translated(self._peer):
                answer = await stack.enter_async_context(self._client.request("GET", self._peer, path, ranged))
                first, end, size = self._check(answer, start, stop)
            yield Delivery(first, end, size, self._chunks(answer, end - first))

    def _check(self, answer: aiohttp.ClientResponse, start: int, stop: int | None) -> tuple[int, int, int]:
        """The range and size that an answer promises, if it is one to what was asked."""
        if answer.status == 404:
            raise PeerError("missing", f"{self.name} does not have it")
        if answer.status == 503:
            raise PeerError("busy", f"{self.name} is busy")
        if answer.status == 416 and start == 0 and answer.headers.get("Content-Range") == "bytes */0":
            return 0, 0, 0
        if answer.status != 206:
            raise PeerError("status", f"{self.name} answered {answer.status} to a range")
        promised = parse_content_range(answer.headers.get("Content-Range"))
        if promised is None:
            raise PeerError("range", f"{self.name} answered without a Content-Range that makes sense")
        first, end, size = promised
        if first != start or end != min(size if stop is None else stop, size):
            raise PeerError("range", f"{self.name} answered {first}-{end} of {size} when asked for {start}-{stop}")
        # No chunked bodies: aiohttp's parser, given a bad chunk header, leaves the reader waiting for ever.
        if answer.content_length != end - first:
            raise PeerError("length", f"{self.name} announced {answer.content_length} bytes for {end - first}")
        return promised

    async def _chunks(self, answer: aiohttp.ClientResponse, length: int) -> AsyncIterator[bytes]:
        with _translated(self._peer):
            async for chunk, _ in answer.content.iter_chunks():  # as they came: iter_any would join them
                length -= len(chunk)
                if length < 0:
                    raise PeerError("length", f"{self.name} sent more than it announced")
                yield chunk
        if length:
            raise PeerError("broken", f"{self.name} stopped {length} bytes short")


def _quoted(repository: Repository) -> str:
    """A registry as it stands in a query: an IPv6 address has brackets."""
    return quote(repository.registry, safe=":")


@contextlib.contextmanager
def _translated(peer: Peer) -> Iterator[None]:
    """Turn the client library's exceptions into PeerError."""
    try:
        yield
    except aiohttp.ClientConnectorError as error:
        raise PeerError("refused", f"{peer.name} at {peer.url} cannot be reached: {error.strerror}") from error
    except aiohttp.ConnectionTimeoutError as error:
        raise PeerError("timeout", f"{peer.name} at {peer.url} cannot be reached within {_CONNECT_S:g} s") from error
    except (TimeoutError, aiohttp.SocketTimeoutError) as error:
        raise PeerError("stalled", f"{peer.name} sent nothing for too long") from error
    except (aiohttp.ClientError, OSError) as error:
        raise PeerError("broken", f"{peer.name} broke off: {error or type(error).__name__}") from error
