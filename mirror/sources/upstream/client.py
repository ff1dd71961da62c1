"""Upstream as a source: what a tag means, how large content is, and its bytes.

What a registry answers is checked before it is used: status, media type, range, length. Whether the bytes are right is
for the caller to check, who knows the digest. The kind of failure says what the caller may do next: ask elsewhere
(UpstreamError), answer that there is no such thing (UpstreamUnknown), wait (UpstreamRateLimited), or tell the operator
(UpstreamRefused). A body that broke off is not resumed here: who still wants the rest asks for it, by range.

Sources: OCI distribution-spec, "Pull"; RFC 9110 sections 14 and 15.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from ...errors import DigestInvalid, Reason, UpstreamError, UpstreamUnknown
from ...fileio import in_thread
from ...oci.content import Content
from ...oci.digest import Digest
from ...oci.manifest import (
    MANIFEST_MAX_BYTES,
    MEDIA_TYPES,
    OCI_INDEX,
    SCHEMA_1,
    is_manifest_type,
    is_schema_1,
    outline_of,
)
from ...oci.reference import Reference, Repository
from ...settings import UpstreamSettings
from ...stores.marks import Mark, Marks
from .. import UPSTREAM, Page, RangeReply, RangeRequest, RegistryAnswer, Resolved, Shown, Sink
from .access import Access
from .body import Body, ExactBody, UpstreamReply, announced_span, gathered, in_memory, with_prefix
from .budgets import Budgets
from .encodings import decoded
from .heads import DOUBTFUL, Head, Heads
from .lengths import Lengths
from .names import LookUp
from .pages import PAGE_MAX_BYTES, filters, following
from .registries import DOCKER_HUB_URL, Registry, known_registries
from .requests import RegistryClient, Tally
from .transport import Answer

_SMALL_BYTES = 1024 * 1024
"""Size of a blob up to which it is read into memory where its head does not say what comes, in bytes. Configurations
of images, which some proxies compress, have some 10 KiB."""
_ASKED_MAX = 4
"""Times that a blob is asked for at most until it is known what comes: by range, without one, after HEAD was asked, and
after measuring."""

_NO_ANSWER = frozenset({Reason.UNREACHABLE, Reason.TIMEOUT, Reason.RATE_LIMITED, Reason.FORBIDDEN, Reason.AUTH})
"""Why a registry gave no answer to HEAD, so that it would give none to GET either."""

_ACCEPT = {
    "manifests": {"Accept": ", ".join((*MEDIA_TYPES, "*/*"))},
    "blobs": {"Accept": "*/*"},
    "lists": {"Accept": f"application/json, {OCI_INDEX}"},
}
_SAYS_NOTHING = ("application/octet-stream", "application/json")
"""Media types that a registry gives what it does not look into."""


@dataclass(frozen=True, slots=True)
class Lookout:
    """How long an answer is waited for, and what is known of it before.

    Args:
        within_s: bounds the time until its head is here, s.
        measured_s: bounds the time for which a blob of unknown length is read for its length alone, s; 0: it is not.
        stated: the size that others state, in bytes, for a registry that does not; None if nobody does.
    """

    within_s: float
    measured_s: float = 0.0
    stated: int | None = None


class Upstream:
    """All registries that this node may contact. `start` it inside the event loop that uses it, and `close` it there.

    Args:
        configured: what the operator named. These may have any address, and replace the built-in ones of their name.
        settings: bounds.
        access: how registries are reached, and who this node is to them.
        look_up: has the addresses of a host, as `socket.getaddrinfo`.
        passed_on: the marks that requests have to have, so that circles of clusters end; see `sources.chain`.
        tally: counts how registries answer.
        budgets: what registries say of their limits, to all members.
        marks: takes note of what is given to the operator, and not to anybody.
    """

    name = UPSTREAM

    def __init__(  # noqa: PLR0913, PLR0917 - all that a question to a registry depends on
        self,
        configured: Iterable[Registry] = (),
        settings: UpstreamSettings | None = None,
        access: Access | None = None,
        look_up: LookUp = socket.getaddrinfo,
        passed_on: Callable[[], Sequence[str]] = tuple,
        tally: Tally | None = None,
        budgets: Budgets | None = None,
        marks: Marks | None = None,
    ) -> None:
        self.marks = marks or Marks()
        self._passed_on = passed_on
        self._tally = tally
        self._budgets = budgets = budgets or Budgets()
        self._access = access or Access()
        self._configured = tuple(configured)
        known = known_registries(self._configured)
        self._urls = {name: [url.url for url in urls] for name, urls in known.items()}
        with_free_head = {name for name, urls in known.items() if {url.url for url in urls} == {DOCKER_HUB_URL}}
        self._settings = settings or UpstreamSettings()
        self._look_up = look_up
        self._heads = Heads(self._settings, with_free_head)
        self._lengths = Lengths(self._settings)
        self._started: RegistryClient | None = None

    async def start(self) -> None:
        """Be ready to ask."""
        self._started = RegistryClient(
            self._configured,
            self._settings,
            self._access,
            self._look_up,
            self._passed_on,
            self._tally,
            self._budgets,
        )

    async def close(self) -> None:
        """Drop all connections."""
        if self._started is not None:
            await self._started.close()

    @property
    def registries(self) -> RegistryClient:
        """What asks them, once this was started."""
        assert self._started is not None, "start() comes first"
        return self._started

    def is_scarce(self, registry: str) -> bool:
        """Whether so few pulls are left at a registry that members must not spend them at the same moment."""
        now = asyncio.get_running_loop().time()
        return any(self._budgets.is_scarce(url, now) for url in self._urls.get(registry, ()))

    def heard(self, payload: bytes) -> None:
        """Take in what another member says of the limits of registries."""
        self._budgets.heard(payload, asyncio.get_running_loop().time())

    def state(self) -> bytes:
        """What this node knows of the limits of registries, for another member."""
        return self._budgets.state(asyncio.get_running_loop().time())

    def said_of(self, what: str, name: str | None = None) -> list[RegistryAnswer]:
        """What registries answered about a digest, or about a tag of the repository of a name; the last first."""
        return self.registries.last_answers.of(what, name)

    async def answers(self, registry: str) -> bool:
        """Whether a registry answers anything at all; waits for as long as it takes."""
        return await self.registries.answers(registry)

    async def resolve(self, reference: Reference) -> Resolved:
        """Ask what a tag means now, by HEAD, which Docker Hub does not count as a pull.

        If the answer to HEAD lacks something, or may say nothing of the manifest, that is got by GET and its digest
        computed. Where only GET works, HEAD is not tried again for a while.

        Raises:
            UpstreamError: see the module's docstring.
        """
        registry, now = reference.repository.registry, asyncio.get_running_loop().time()
        status = 0
        if self._heads.of(registry, now) is not Head.USELESS:
            expected = (200, *self._heads.doubtful(registry, now))
            async with self._ask("HEAD", reference, expected) as answer:
                status = answer.status
                if status == 200 and (resolved := _resolved(answer)) is not None:
                    self._heads.note(registry, Head.RELIABLE, now)
                    return resolved
        async with self._ask("GET", reference, (200, *((status,) if status == 404 else ()))) as answer:
            if answer.status == 404:  # which says nothing of HEAD: a registry that does not know it answers so, too
                raise UpstreamUnknown(f"{answer.url.origin()} answered 404 to GET of {reference}")
            _refuse_what_is_no_manifest(answer)
            with _too_large_for_good(answer):
                body = decoded(answer, await answer.read_whole(MANIFEST_MAX_BYTES), MANIFEST_MAX_BYTES)
        if (outline := await outline_of(body)) is None:
            if is_schema_1(body):
                raise _schema_1(answer)
            raise UpstreamError(Reason.BROKEN, f"{registry} answered with no manifest to {reference}")
        if status:
            self._heads.note(registry, Head.USELESS, now)
        return Resolved(Digest.of(body), outline.media_type, len(body))

    async def shows(self, repository: Repository, path: str, authorization: str | None) -> Shown:
        """Ask for something as somebody else; see `GuestSource.shows`."""
        return await self.registries.shows(repository, path, authorization, self._settings.question_s)

    async def page(self, repository: Repository, what: str, query: str) -> Page:
        """Ask for a page of a list; see `ListSource.page`."""
        path = f"{repository.path}/{what}{'?' if query else ''}{query}"
        asking = self.registries.ask(
            "GET", repository, path, _ACCEPT["lists"], (200,), within_s=self._settings.question_s
        )
        async with asking as answer:
            body = decoded(answer, await answer.read_whole(PAGE_MAX_BYTES), PAGE_MAX_BYTES)
            return Page(body, following(answer.headers.getall("Link", [])), filters(answer.headers))

    def _ask(self, method: str, reference: Reference, expected: Collection[int]) -> AbstractAsyncContextManager[Answer]:
        path = f"{reference.repository.path}/manifests/{reference.tag}"
        headers, within_s = _ACCEPT["manifests"], self._settings.question_s
        return self.registries.ask(method, reference.repository, path, headers, expected, within_s=within_s)

    async def size(self, content: Content, expected: int | None = None) -> int:
        """Ask how many bytes some content has; see `SizedSource.size`.

        What HEAD says counts where it is what is expected. Several registries answer it with no length, or with a wrong
        one: so otherwise the first byte is asked for. To confirm a size, no blob is read for its length alone.

        Raises:
            UpstreamError: see the module's docstring.
        """
        if expected is not None:
            try:
                if await self._length_by_head(content) == expected:
                    return expected
            except UpstreamError as error:
                if error.reason in _NO_ANSWER:
                    raise
        measured_s = self._settings.measured_s if expected is None else 0.0
        async with self.open(content, 0, 1, Lookout(self._settings.question_s, measured_s)) as reply:
            return reply.size

    async def download(self, content: Content, request: RangeRequest, sink: Sink) -> None:
        """Put a range of some content into a sink; see `Source.download`.

        A registry that does not know ranges sends everything from the first byte asked for to the end.

        Raises:
            UpstreamError: see the module's docstring.
        """
        async with self.open(
            content, request.start, request.stop, _lookout(self._settings, content, request.size)
        ) as reply:
            position = reply.start
            await sink.begin(RangeReply(position, reply.stop, reply.size, ranged=reply.ranged))
            async for chunk in gathered(reply.chunks, reply.stop - reply.start, self._settings):
                await sink.wait_for_space(position)
                if not chunk:
                    continue
                await in_thread(sink.put, position, chunk)
                position += len(chunk)
                if self._tally is not None:
                    self._tally.upstream_sent(content.repository.registry, len(chunk))

    @asynccontextmanager
    async def open(
        self, content: Content, start: int, stop: int | None, lookout: Lookout | None = None
    ) -> AsyncIterator[UpstreamReply]:
        """Ask for `[start, stop)`, or for everything from `start` on where stop is None or beyond the end.

        Entering waits for the head of the answer and checks it. Leaving early drops the connection. Of a registry that
        does not know ranges, the bytes before `start` are read and dropped, and the reply goes to the end.

        Args:
            content: what is wanted.
            start: first byte.
            stop: end, exclusive.
            lookout: for how long the answer is waited for; by default as the settings say.

        Raises:
            UpstreamError: see the module's docstring.
        """
        is_part = start > 0 or stop is not None
        async with self._opened(content, start, stop, lookout or _lookout(self._settings, content)) as (answer, body):
            is_whole = answer.status == 200
            span = announced_span(answer, body.length, start, None if is_whole and is_part else stop)
            if content.kind == "manifests" and span.size > MANIFEST_MAX_BYTES:
                raise _too_large(answer)
            # Of nothing, everything is the range that was asked for.
            ranged = not (is_whole and is_part and span.size > 0)
            if self.registries.used_credential(content.repository):
                self.marks.add(content.digest, Mark.of(content.repository))
            yield UpstreamReply(span.start, span.stop, span.size, ExactBody(span, body.read), ranged)

    @asynccontextmanager
    async def _opened(
        self, content: Content, start: int, stop: int | None, lookout: Lookout
    ) -> AsyncIterator[tuple[Answer, Body]]:
        """The answer to a request for a range, and its body, whose length is known where all of it comes."""
        headers = dict(_ACCEPT[content.kind])
        if start > 0 or stop is not None:
            headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        async with AsyncExitStack() as answers:
            for _ in range(_ASKED_MAX):
                asking = self.registries.ask(
                    "GET", content.repository, content.path, headers, (200, 206, 416), within_s=lookout.within_s
                )
                answer = await answers.enter_async_context(asking)
                if start == 0 and answer.status == 416 and answer.headers.get("Content-Range") != "bytes */0":
                    headers.pop("Range", None)  # it is empty, or the registry does not clip ranges
                elif (body := await self._body(content, answer, lookout)) is not None:
                    break
                answer.release()
            else:
                raise UpstreamError(Reason.LENGTH, f"{content.repository.registry} does not say how long its answer is")
            yield answer, body

    async def _body(self, content: Content, answer: Answer, lookout: Lookout) -> Body | None:
        """The body of an answer; None if it was read for its length alone, so that it has to be asked for again."""
        body = Body(answer.content_length, answer.read)
        if answer.status != 200:
            return body
        if content.kind == "manifests":
            _refuse_what_is_no_manifest(answer)
            if answer.is_encoded or body.length is None:
                with _too_large_for_good(answer):
                    body = in_memory(_plain(content, answer, await answer.read_whole(MANIFEST_MAX_BYTES)))
            return body
        if answer.is_encoded and (body.length or 0) <= _SMALL_BYTES:
            begin = await answer.read_up_to(_SMALL_BYTES)
            if len(begin) <= _SMALL_BYTES:
                return in_memory(_plain(content, answer, begin))
            body = with_prefix(begin, body)
        if body.length is not None:
            return body
        return await self._of_unknown_length(content, answer, body, lookout)

    async def _of_unknown_length(self, content: Content, answer: Answer, body: Body, lookout: Lookout) -> Body | None:
        """A blob that comes in chunks, or until the connection ends."""
        lengths, digest = self._lengths, content.digest
        length = lengths.known(digest)
        if length is None and not lengths.is_to_be_measured(digest):
            length = lookout.stated
            if length is None and lookout.measured_s > 0:
                answer.release()  # many that kept a connection while they wait for another would wait for each other
                with contextlib.suppress(UpstreamError):
                    length = await self._length_by_head(content)
                lengths.note(digest, length)
                return None
        if length is not None:
            lengths.note(digest, length)
            return Body(length, lengths.watched(digest, length, body.read))
        begin, total = bytearray(), 0
        try:
            async with asyncio.timeout(lookout.measured_s):
                while chunk := await body.read():
                    total += len(chunk)
                    begin += chunk[: _SMALL_BYTES + 1 - len(begin)]
        except TimeoutError:
            raise UpstreamError(
                Reason.LENGTH, f"{answer.url.origin()} does not say how long its answer is, and it goes on and on"
            ) from None
        lengths.note(digest, total)
        return in_memory(bytes(begin)) if total <= _SMALL_BYTES else None

    async def _length_by_head(self, content: Content) -> int | None:
        """What HEAD says of the length of a blob. Nothing but a positive number counts, nor any status but 200."""
        headers, within_s = _ACCEPT[content.kind], self._settings.question_s
        expected = (200, *DOUBTFUL)
        async with self.registries.ask(
            "HEAD", content.repository, content.path, headers, expected, within_s=within_s
        ) as head:
            return (head.content_length or None) if head.status == 200 else None


def _lookout(settings: UpstreamSettings, content: Content, stated: int | None = None) -> Lookout:
    """How long an answer is waited for."""
    within_s = settings.head_s if content.kind == "blobs" else settings.question_s
    return Lookout(within_s, settings.measured_s, stated)


def _plain(content: Content, answer: Answer, body: bytes) -> bytes:
    """A whole body as the content that was asked for: what came, or what that was before it was compressed.

    Some stores say of a compressed layer that its encoding is gzip. So what came counts where its digest is right, and
    also where neither is: then the caller finds out.
    """
    if not answer.is_encoded or content.digest.matches(body):
        return body
    with contextlib.suppress(UpstreamError):
        plain = decoded(answer, body, MANIFEST_MAX_BYTES)
        return plain if content.digest.matches(plain) else body
    return body


def _refuse_what_is_no_manifest(answer: Answer) -> None:
    """Raise for what captive portals and error pages send with status 200, and for manifests of schema 1."""
    if answer.content_type in ("text/html", "application/xhtml+xml"):
        raise UpstreamError(Reason.BROKEN, f"{answer.url.origin()} answered with an HTML page instead of a manifest")
    if answer.content_type in SCHEMA_1:
        raise _schema_1(answer)


def _schema_1(answer: Answer) -> UpstreamUnknown:
    return UpstreamUnknown(f"{answer.url.origin()} has only a manifest of schema 1, which nobody can check by digest")


def _too_large(answer: Answer) -> UpstreamUnknown:
    return UpstreamUnknown(f"{answer.url.origin()} has a manifest of more than {MANIFEST_MAX_BYTES} bytes")


@contextlib.contextmanager
def _too_large_for_good(answer: Answer) -> Iterator[None]:
    """A manifest that is longer than what is read is one that this agent will never have."""
    try:
        yield
    except UpstreamError as error:
        raise (_too_large(answer) if error.reason is Reason.LENGTH else error) from None


def _resolved(answer: Answer) -> Resolved | None:
    """What the headers of an answer to HEAD say of a manifest; None if something is missing."""
    if answer.content_type in SCHEMA_1:
        raise _schema_1(answer)
    size = answer.content_length
    try:
        digest = Digest.parse(answer.headers.get("Docker-Content-Digest", ""))
    except DigestInvalid:
        return None
    if not size or not is_manifest_type(answer.content_type) or answer.content_type in _SAYS_NOTHING:
        return None
    return Resolved(digest, answer.content_type, size)
