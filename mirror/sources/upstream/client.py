"""Upstream as a source: what a tag means, how large content is, and its bytes.

What an upstream says is checked before it is believed: status, media type, range, length. Whether the bytes are right
is for the caller, who knows the digest. Of each kind of failure the caller learns what it may do next: ask elsewhere
(UpstreamError), answer that there is no such thing (UpstreamUnknown), wait (UpstreamRateLimited), or tell the operator
(UpstreamRefused). Nothing is retried but a request on a pooled connection that turned out to be closed, and one that
needs a newer token: a broken body is resumed by whoever wants it, by range.

Sources: OCI distribution-spec, "Pull"; distribution, "Token Authentication Specification"; RFC 9110 sections 14 and 15.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp
from yarl import URL

from ...errors import DigestInvalid, Reason, UpstreamError, UpstreamRefused, UpstreamUnknown
from ...fileio import in_thread
from ...oci.content import Content
from ...oci.digest import Digest
from ...oci.manifest import MANIFEST_MAX_BYTES, MEDIA_TYPES, media_type
from ...oci.reference import Reference, Repository
from .. import RangeReply, RangeRequest, Sink
from .body import Body, Delivery, gathered, promised
from .challenge import Bearer, Challenge, basic_authorization, parse_challenges, parse_token, token_url
from .ratelimit import RateLimits, parse_retry_after
from .redirects import RedirectCache
from .registries import Registry, known_registries
from .tokens import MARGIN_S, Authorizations
from .transport import Settings, Transport, same_origin

_ACCEPT = {"manifests": {"Accept": ", ".join(MEDIA_TYPES)}, "blobs": {"Accept": "*/*"}}
_TOKEN_ANSWER_MAX_BYTES = 64 * 1024
_BASIC_GOOD_FOR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a tag means upstream: a manifest's digest, media type and size in bytes."""

    digest: Digest
    media_type: str
    size: int


class Upstream:
    """All registries that this node may contact.

    Args:
        configured: what the operator named; these may have any address, and replace the built-in ones of their name.
        settings: limits in time and number.

    `start` it inside the event loop that is to use it, and `close` it there.
    """

    name = "upstream"

    def __init__(self, configured: Iterable[Registry] = (), settings: Settings | None = None) -> None:
        self._configured = tuple(configured)
        self._registries = known_registries(self._configured)
        self._settings = settings or Settings()
        self._authorizations = Authorizations()
        self._rate_limits = RateLimits()
        self._places = RedirectCache()
        self._running: Transport | None = None

    async def start(self) -> None:
        """Be ready to ask."""
        urls = [URL(registry.url) for registry in self._configured]
        self._running = Transport([(url.host or "", url.port or 0) for url in urls], self._settings)

    async def close(self) -> None:
        """Drop all connections."""
        if self._running is not None:
            await self._running.close()

    @property
    def _transport(self) -> Transport:
        assert self._running is not None, "start() comes first"
        return self._running

    async def resolve(self, reference: Reference) -> Resolved:
        """Ask what a tag means now, by HEAD, which Docker Hub does not count as a pull.

        A registry that does not answer HEAD in full is asked by GET, and the digest computed.

        Raises:
            UpstreamError: see the module's head.
        """
        repository, path = reference.repository, f"{reference.repository.path}/manifests/{reference.tag}"
        async with self._ask("HEAD", repository, path, _ACCEPT["manifests"], (200, 405)) as answer:
            if answer.status == 200 and (resolved := _resolved(answer)) is not None:
                return resolved
        async with self._ask("GET", repository, path, _ACCEPT["manifests"], (200,)) as answer:
            _refuse_html(answer)
            body = await self._transport.read_whole(answer, MANIFEST_MAX_BYTES)
        if (kind := media_type(body)) is None:
            raise UpstreamError(Reason.BROKEN, f"{repository.registry} answered with no manifest to {reference}")
        return Resolved(Digest.of(body), kind, len(body))

    def has_password(self, repository: Repository) -> bool:
        """Whether this node was given a password for a registry, so that it may see more there than others."""
        registry = self._registries.get(repository.registry)
        return registry is not None and registry.password is not None

    async def size(self, content: Content) -> int:
        """Ask how many bytes some content has, by HEAD; raise UpstreamError, see the module's head."""
        async with self._ask("HEAD", content.repository, content.path, _ACCEPT[content.kind], (200, 405)) as answer:
            if answer.status == 200 and answer.content_length is not None:
                return answer.content_length
        async with self.open(content, 0, 1) as delivery:
            return delivery.size

    async def download(self, content: Content, ask: RangeRequest, sink: Sink) -> None:
        """Bring content; see `Source.download`. Raises UpstreamError, see the module's head.

        A registry that does not know ranges is let send everything from the first byte asked for on.
        """
        async with self.open(content, ask.start, ask.stop) as delivery:
            position = delivery.start
            promise = RangeReply(position, delivery.stop, delivery.size, ranged=delivery.ranged)
            await sink.begin(promise)
            async for chunk in gathered(delivery.chunks):
                await sink.wait_for_space(position)
                await in_thread(sink.put, position, chunk)
                position += len(chunk)

    @asynccontextmanager
    async def open(self, content: Content, start: int, stop: int | None) -> AsyncIterator[Delivery]:
        """Ask for `[start, stop)`, to the end where stop is None or beyond it.

        Entering waits for the head of the answer and checks it; leaving early drops the connection. A registry that
        does not know ranges sends everything: the bytes before `start` are read and dropped, and it comes to the end.

        Raises:
            UpstreamError: see the module's head.
        """
        headers = dict(_ACCEPT[content.kind])
        if start > 0 or stop is not None:
            headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        async with self._ask("GET", content.repository, content.path, headers, (200, 206, 416)) as answer:
            length = answer.content_length
            read: Callable[[], Awaitable[bytes]] = functools.partial(self._transport.read, answer)
            if content.kind == "manifests":
                _refuse_html(answer)
                if answer.status == 200 and length is None:
                    whole = await self._transport.read_whole(answer, MANIFEST_MAX_BYTES)
                    length, read = len(whole), _reader(whole)
            ranged = answer.status != 200 or "Range" not in headers
            span = promised(answer, length, start, stop if ranged else None)
            if content.kind == "manifests" and span.size > MANIFEST_MAX_BYTES:
                raise UpstreamError(
                    Reason.LENGTH, f"{answer.url.origin()} has a manifest of {span.size} bytes: too large"
                )
            yield Delivery(span.start, span.stop, span.size, Body(span, read), ranged)

    @asynccontextmanager
    async def _ask(
        self, method: str, repository: Repository, path: str, headers: Mapping[str, str], passing: Collection[int]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask a repository's registry; give the answer if its status is one of `passing`, else raise what it means."""
        registry = self._registries.get(repository.registry)
        if registry is None:
            raise UpstreamRefused(
                f"{repository.registry} is neither configured nor a well-known public registry: "
                f"to allow it, add --upstream {repository.registry}=https://{repository.registry}"
            )
        self._rate_limits.check(registry.name, _now())
        answer = await self._send_to_place(method, registry, path, headers, passing)
        if answer is None:
            answer = await self._send(method, registry, repository, path, headers)
            if method == "GET" and not same_origin(answer.url, URL(registry.api)):
                self._places.keep((registry.name, path), answer.url, _now())
        try:
            if answer.status not in passing:
                raise self._failure(registry, answer, f"{method} of {repository.registry}/{path}")
            yield answer
        finally:
            answer.release()

    async def _send_to_place(
        self, method: str, registry: Registry, path: str, headers: Mapping[str, str], passing: Collection[int]
    ) -> aiohttp.ClientResponse | None:
        """Ask again where the registry sent us a moment ago; None if that is nowhere, or no good any more."""
        key = registry.name, path
        place = self._places.get(key, _now())
        if place is None or method != "GET":
            return None
        try:
            answer = await self._transport.send(method, place, headers, sent_by=registry.name)
        except UpstreamError:
            self._places.forget(key)
            return None
        if answer.status in passing:
            return answer
        answer.release()
        self._places.forget(key)
        return None

    async def _send(
        self, method: str, registry: Registry, repository: Repository, path: str, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        """Send with the authorisation at hand, if any, and once more with a new one if the registry asks for that."""
        scope = f"repository:{repository.path}:pull"
        key = registry.name, scope
        url = URL(f"{registry.api}/{path}")
        known = self._authorizations.get(key, _now())
        answer = await self._transport.send(method, url, _authorized(headers, known))
        if answer.status != 401 or not same_origin(answer.url, url):
            return answer
        answer.release()
        if known is not None:
            self._authorizations.forget(key, known)
        challenges = parse_challenges(answer.headers.getall("WWW-Authenticate", []))
        new = self._authorizations.get(key, _now()) or await self._authorizations.once(
            key, lambda: self._authorize(registry, scope, challenges)
        )
        answer = await self._transport.send(method, url, _authorized(headers, new))
        if answer.status == 401 and new.startswith("Basic "):
            answer.release()
            self._authorizations.forget(key, new)
            raise _rejected(registry)
        return answer

    async def _authorize(self, registry: Registry, scope: str, challenges: list[Challenge]) -> str:
        """Answer the first challenge that can be answered; returns the Authorization header's value."""
        for challenge in challenges:
            if isinstance(challenge, Bearer):
                value, good_for_s = await self._fetch_token(registry, scope, challenge)
            elif (basic := _basic(registry)) is not None:
                value, good_for_s = basic, _BASIC_GOOD_FOR_S
            else:
                continue
            self._authorizations.keep((registry.name, scope), value, _now() + good_for_s)
            return value
        if challenges:
            raise UpstreamError(
                Reason.AUTH, f"{registry.name} wants a user and password: add them, as in https://USER:PASSWORD@HOST"
            )
        raise UpstreamError(
            Reason.AUTH, f"{registry.name} answered 401 without a challenge that this agent understands"
        )

    async def _fetch_token(self, registry: Registry, scope: str, challenge: Bearer) -> tuple[str, float]:
        """Get a token; returns the Authorization header's value and the seconds that it is good for."""
        url = token_url(challenge, registry, scope)
        answer = await self._transport.send("GET", url, _authorized({}, _basic(registry)), sent_by=registry.name)
        try:
            if answer.status == 429:
                raise self._rate_limited(registry, answer)
            if answer.status in (401, 403):
                if registry.username is None:
                    raise UpstreamUnknown(f"{url.origin()} gives no token for {scope} without a user and password")
                raise _rejected(registry)
            if answer.status != 200:
                raise UpstreamError(Reason.STATUS, f"{url.origin()} answered {answer.status} to a request for a token")
            token = parse_token(await self._transport.read_whole(answer, _TOKEN_ANSWER_MAX_BYTES))
        finally:
            answer.release()
        return f"Bearer {token.value}", token.expires_in_s - MARGIN_S

    def _failure(self, registry: Registry, answer: aiohttp.ClientResponse, request: str) -> UpstreamError:
        """What an answer means that is not what was hoped for."""
        said = f"{answer.url.origin()} answered {answer.status} to {request}"
        if answer.status == 429:
            return self._rate_limited(registry, answer)
        if answer.status == 404:
            return UpstreamUnknown(said)
        if answer.status in (401, 403) and same_origin(answer.url, URL(registry.api)):
            # Docker Hub and others say so of what does not exist; an object store says it of a signed URL that is bad.
            return UpstreamUnknown(f"{said}: there is no such thing, or only others may see it")
        return UpstreamError(Reason.STATUS, said)

    def _rate_limited(self, registry: Registry, answer: aiohttp.ClientResponse) -> UpstreamError:
        retry_after_s = parse_retry_after(answer.headers.get("Retry-After"), datetime.now(UTC))
        return self._rate_limits.block(registry.name, retry_after_s, _now())


def _now() -> float:
    """Monotonic seconds."""
    return asyncio.get_running_loop().time()


def _authorized(headers: Mapping[str, str], authorization: str | None) -> dict[str, str]:
    return {**headers, **({"Authorization": authorization} if authorization else {})}


def _basic(registry: Registry) -> str | None:
    if registry.username is None or registry.password is None:
        return None
    return basic_authorization(registry.username, registry.password)


def _rejected(registry: Registry) -> UpstreamError:
    return UpstreamError(Reason.AUTH, f"{registry.name} does not accept the password of user {registry.username!r}")


def _reader(body: bytes) -> Callable[[], Awaitable[bytes]]:
    """Reads a body that is at hand."""
    chunks = iter((body,))

    async def read() -> bytes:
        return next(chunks, b"")

    return read


def _refuse_html(answer: aiohttp.ClientResponse) -> None:
    """Raise for what captive portals and error pages send with status 200."""
    if answer.content_type in ("text/html", "application/xhtml+xml"):
        raise UpstreamError(Reason.BROKEN, f"{answer.url.origin()} answered with an HTML page where a manifest was due")


def _resolved(answer: aiohttp.ClientResponse) -> Resolved | None:
    """What the headers of a HEAD's answer say of a manifest, if they say all that is needed."""
    size = answer.content_length
    try:
        digest = Digest.parse(answer.headers.get("Docker-Content-Digest", ""))
    except DigestInvalid:
        return None
    if size is None or answer.content_type not in MEDIA_TYPES:
        return None
    return Resolved(digest, answer.content_type, size)
