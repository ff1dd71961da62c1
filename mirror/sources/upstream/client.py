"""Upstream as a source: what a tag means, how large content is, and its bytes.

What a registry answers is checked before it is used: status, media type, range, length. Whether the bytes are right is
for the caller to check, who knows the digest. The kind of failure says what the caller may do next: ask elsewhere
(UpstreamError), answer that there is no such thing (UpstreamUnknown), wait (UpstreamRateLimited), or tell the operator
(UpstreamRefused). A body that broke off is not resumed here: who still wants the rest asks for it, by range.

Sources: OCI distribution-spec, "Pull"; RFC 9110 sections 14 and 15.
"""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

import aiohttp

from ...errors import DigestInvalid, Reason, UpstreamError, UpstreamUnknown
from ...fileio import in_thread
from ...oci.content import Content
from ...oci.digest import Digest
from ...oci.manifest import MANIFEST_MAX_BYTES, MEDIA_TYPES, SCHEMA_1, is_manifest_type, is_schema_1, outline_of
from ...oci.reference import Reference, Repository
from ...settings import UpstreamSettings
from .. import UPSTREAM, RangeReply, RangeRequest, Resolved, Sink
from .body import ExactBody, UpstreamReply, announced_span, gathered
from .registries import DOCKER_HUB_URL, Registry, known_registries
from .requests import RegistryClient

_ACCEPT = {"manifests": {"Accept": ", ".join((*MEDIA_TYPES, "*/*"))}, "blobs": {"Accept": "*/*"}}
_SAYS_NOTHING = ("application/octet-stream", "application/json")
"""Media types that a registry gives what it does not look into."""


class Upstream:
    """All registries that this node may contact. `start` it inside the event loop that uses it, and `close` it there.

    Args:
        configured: what the operator named. These may have any address, and replace the built-in ones of their name.
        settings: bounds.
    """

    name = UPSTREAM

    def __init__(self, configured: Iterable[Registry] = (), settings: UpstreamSettings | None = None) -> None:
        self._configured = tuple(configured)
        known = known_registries(self._configured).values()
        self._with_free_head = {registry.name for registry in known if registry.url == DOCKER_HUB_URL}
        self._settings = settings or UpstreamSettings()
        self._started: RegistryClient | None = None

    async def start(self) -> None:
        """Be ready to ask."""
        self._started = RegistryClient(self._configured, self._settings)

    async def close(self) -> None:
        """Drop all connections."""
        if self._started is not None:
            await self._started.close()

    @property
    def _registries(self) -> RegistryClient:
        assert self._started is not None, "start() comes first"
        return self._started

    def is_head_free(self, repository: Repository) -> bool:
        """Whether the registry is Docker Hub itself, which says that it does not count HEAD as a pull."""
        return repository.registry in self._with_free_head

    async def answers(self, registry: str) -> bool:
        """Whether a registry answers anything at all; waits for as long as it takes."""
        return await self._registries.answers(registry)

    async def resolve(self, reference: Reference) -> Resolved:
        """Ask what a tag means now, by HEAD, which Docker Hub does not count as a pull.

        If the answer to HEAD lacks something, the manifest is got by GET and its digest computed.

        Raises:
            UpstreamError: see the module's docstring.
        """
        repository, path = reference.repository, f"{reference.repository.path}/manifests/{reference.tag}"
        async with self._registries.ask("HEAD", repository, path, _ACCEPT["manifests"], (200, 405)) as answer:
            if answer.status == 200 and (resolved := _resolved(answer)) is not None:
                return resolved
        async with self._registries.ask("GET", repository, path, _ACCEPT["manifests"], (200,)) as answer:
            _refuse_what_is_no_manifest(answer)
            body = await self._whole_manifest(answer)
        if (outline := await outline_of(body)) is None:
            if is_schema_1(body):
                raise _schema_1(answer)
            raise UpstreamError(Reason.BROKEN, f"{repository.registry} answered with no manifest to {reference}")
        return Resolved(Digest.of(body), outline.media_type, len(body))

    async def size(self, content: Content) -> int:
        """Ask how many bytes some content has, by HEAD; raise UpstreamError, see the module's docstring."""
        headers = _ACCEPT[content.kind]
        async with self._registries.ask("HEAD", content.repository, content.path, headers, (200, 405)) as answer:
            if answer.status == 200 and answer.content_length is not None:
                return answer.content_length
        async with self.open(content, 0, 1) as reply:
            return reply.size

    async def download(self, content: Content, request: RangeRequest, sink: Sink) -> None:
        """Put a range of some content into a sink; see `Source.download`.

        A registry that does not know ranges sends everything from the first byte asked for to the end.

        Raises:
            UpstreamError: see the module's docstring.
        """
        async with self.open(content, request.start, request.stop) as reply:
            position = reply.start
            await sink.begin(RangeReply(position, reply.stop, reply.size, ranged=reply.ranged))
            async for chunk in gathered(reply.chunks, self._settings):
                await sink.wait_for_space(position)
                await in_thread(sink.put, position, chunk)
                position += len(chunk)

    @asynccontextmanager
    async def open(self, content: Content, start: int, stop: int | None) -> AsyncIterator[UpstreamReply]:
        """Ask for `[start, stop)`, or for everything from `start` on where stop is None or beyond the end.

        Entering waits for the head of the answer and checks it. Leaving early drops the connection. Of a registry that
        does not know ranges, the bytes before `start` are read and dropped, and the reply goes to the end.

        Raises:
            UpstreamError: see the module's docstring.
        """
        headers = dict(_ACCEPT[content.kind])
        if start > 0 or stop is not None:
            headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        async with self._registries.ask("GET", content.repository, content.path, headers, (200, 206, 416)) as answer:
            length = answer.content_length
            read: Callable[[], Awaitable[bytes]] = functools.partial(self._registries.transport.read, answer)
            if content.kind == "manifests":
                _refuse_what_is_no_manifest(answer)
                if answer.status == 200 and length is None:
                    whole = await self._whole_manifest(answer)
                    length, read = len(whole), _reader(whole)
            ranged = answer.status != 200 or "Range" not in headers
            span = announced_span(answer, length, start, stop if ranged else None)
            if content.kind == "manifests" and span.size > MANIFEST_MAX_BYTES:
                raise _too_large(answer)
            yield UpstreamReply(span.start, span.stop, span.size, ExactBody(span, read), ranged)

    async def _whole_manifest(self, answer: aiohttp.ClientResponse) -> bytes:
        """A manifest of which the registry does not say how long it is; raises UpstreamError."""
        try:
            return await self._registries.transport.read_whole(answer, MANIFEST_MAX_BYTES)
        except UpstreamError as error:
            raise (_too_large(answer) if error.reason is Reason.LENGTH else error) from None


def _reader(body: bytes) -> Callable[[], Awaitable[bytes]]:
    """Reads a body that is in memory."""
    chunks = iter((body,))

    async def read() -> bytes:
        return next(chunks, b"")

    return read


def _refuse_what_is_no_manifest(answer: aiohttp.ClientResponse) -> None:
    """Raise for what captive portals and error pages send with status 200, and for manifests of schema 1."""
    if answer.content_type in ("text/html", "application/xhtml+xml"):
        raise UpstreamError(Reason.BROKEN, f"{answer.url.origin()} answered with an HTML page instead of a manifest")
    if answer.content_type in SCHEMA_1:
        raise _schema_1(answer)


def _schema_1(answer: aiohttp.ClientResponse) -> UpstreamUnknown:
    return UpstreamUnknown(f"{answer.url.origin()} has only a manifest of schema 1, which nobody can check by digest")


def _too_large(answer: aiohttp.ClientResponse) -> UpstreamUnknown:
    return UpstreamUnknown(f"{answer.url.origin()} has a manifest of more than {MANIFEST_MAX_BYTES} bytes")


def _resolved(answer: aiohttp.ClientResponse) -> Resolved | None:
    """What the headers of an answer to HEAD say of a manifest; None if something is missing."""
    if answer.content_type in SCHEMA_1:
        raise _schema_1(answer)
    size = answer.content_length
    try:
        digest = Digest.parse(answer.headers.get("Docker-Content-Digest", ""))
    except DigestInvalid:
        return None
    if size is None or not is_manifest_type(answer.content_type) or answer.content_type in _SAYS_NOTHING:
        return None
    return Resolved(digest, answer.content_type, size)
