"""The peer endpoint: for other members, what this node holds, and what it fetches as the home that they ask.

A member that asks this node as a holder gets only what the stores hold. For one that asks it as a home, the node
fetches the rest from a holder or from upstream: see `relay`.
"""

import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from starlette.datastructures import Headers as RequestHeaders
from starlette.types import Message, Receive, Scope, Send

from ..access import Offers
from ..cluster.throughput import SlowReports
from ..errors import BlobUnknown, ManifestUnknown, OciError, Reason, Refusal, StorageFailed, Unauthorized
from ..images.completeness import Completeness
from ..images.manifests import Manifest
from ..oci.content import Content
from ..oci.digest import Digest
from ..oci.reference import Reference
from ..sources import Role
from ..sources.chain import came_by
from ..sources.peers.auth import PeerAuth, Proof
from ..sources.peers.protocol import MEMBER_TAGS_MAX, SIGNED_BODY_MAX_BYTES, MemberAnswer, MemberRequest, Want
from ..stores import Held
from .admission import Admission
from .asked import Answers, AskedBy
from .backend import Backend
from .blob import blob_headers
from .relay import Home
from .request import ListRequest, RegistryRequest, parse
from .responses import OCTETS, Body, blob_response, encoded, send_empty, send_error, send_json, send_manifest, send_page
from .signing import signed_request, signing
from .testimony import Testimony, send_testimony
from .tls import MEMBER_NAMES

Question = Callable[[Content, MemberRequest], Awaitable[bytes]]
"""Answers what a member wants about some content; raises OciError."""


class PeerEndpoint:
    """An ASGI application for the peer listener.

    Args:
        backend: the parts of the node that it answers from.
        reports: takes note of the relative rates that others measure of this node.
        auth: tells members from others, where the cluster has a key.
        offers: decides what members may have.
        questions: answers what members want done about an image; by what they want.
        others: answer what members ask beside the distribution API, each at its own paths.
    """

    def __init__(
        self,
        backend: Backend,
        reports: SlowReports,
        auth: PeerAuth,
        offers: Offers,
        questions: Mapping[Want, Question] | None = None,
        others: Sequence[Answers] = (),
    ) -> None:
        self._questions = questions or {}
        self._offers = offers
        self._backend = backend
        self._others = others
        self._home = Home(backend)
        completeness = Completeness(backend.manifests, backend.holdings)
        self._testimony = Testimony(backend.holdings, completeness.parts, backend.settings)
        self._reports = reports
        self._auth = auth
        self._admission = Admission(backend.settings)
        self._served = backend.metrics.served_bytes.labels("peer")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; an error becomes an answer in the specification's form."""
        kind = "other"
        headers = RequestHeaders(scope=scope)
        try:
            member = MemberRequest.parse(headers)
            proof = self._recognise(scope, member)
            if proof is not None:
                send = signing(send, proof)
                self._auth.take(proof)
            self._note_rate(member)
            asked_by = AskedBy(member.node, proof is not None or _is_proven(scope))
            for other in self._others:
                if await other.answer(scope, send, asked_by):
                    return
            request = parse(scope)
            if request is not None:
                came_by.set(request.came_by)
            if request is None:
                await send_json(scope, send, 200, {})
            else:
                kind = _kind(request)
                await self._answer(scope, receive, send, request, member)
        except OciError as error:
            self._count(kind, "missing" if error.status == 404 else "refused")
            await send_error(scope, send, error)

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, request: RegistryRequest | ListRequest, member: MemberRequest
    ) -> None:
        """Answer a request for something of a repository, if the member may have that."""
        await self._offers.admit(
            request.repository, request.below, keeps_marks=member.keeps_marks, is_home=member.role is Role.HOME
        )
        if isinstance(request, ListRequest):
            await self._list(scope, send, request)
        elif isinstance(request.what, Reference):
            await self._tag(send, request, request.what, member)
        elif request.kind == "manifests":
            send = self._marking(send, request.what, member)
            await self._manifest(send, request, request.content(request.what), member)
        else:
            send = self._marking(send, request.what, member)
            await self._blob(scope, receive, send, request, request.content(request.what), member)

    def _marking(self, send: Send, digest: Digest, member: MemberRequest) -> Send:
        """Say with whatever content is sent how it is marked, as that is known when it leaves.

        Raises:
            BlobUnknown: it is marked already, and the member may not have it.
        """
        self._offers.mark(digest, keeps_marks=member.keeps_marks)

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 300:
                mark = self._offers.mark(digest, keeps_marks=member.keeps_marks)
                message["headers"] = [*message["headers"], *encoded(MemberAnswer(mark=mark).headers())]
            await send(message)

        return marked

    def _recognise(self, scope: Scope, member: MemberRequest) -> Proof | None:
        """What the answer is signed with; None where TLS proves that the member sends the request that it names.

        Raises:
            Unauthorized: no member sent the request, or another one.
        """
        proven = scope.get("extensions", {}).get(MEMBER_NAMES)
        if proven is None:
            return self._auth.recognise(signed_request(scope))
        if member.node is None or member.node.lower() not in proven:
            names = ", ".join(sorted(proven)) or "no member that is believed"
            raise Unauthorized(f"the request says that {member.node} asks, and its certificate is of {names}")
        return None

    def _note_rate(self, member: MemberRequest) -> None:
        """Take note of the relative rate that the asking node measures of this one, if it is a member that is up."""
        node, cluster = member.node, self._backend.fetching.cluster
        if member.relative_rate is None or node is None or node == cluster.me or node not in cluster.up():
            return
        self._reports.heard(node, member.relative_rate, time.monotonic())

    async def _list(self, scope: Scope, send: Send, request: ListRequest) -> None:
        """The tags that this node itself knows of a repository, or what it holds that refers to a manifest."""
        if request.referred is not None:
            self._count("lists", "held")
            page = self._backend.referrers.held(request.referred, SIGNED_BODY_MAX_BYTES)
            await send_page(scope, send, request, page, [])
            return
        tags = self._backend.listings.held(request.repository)[:MEMBER_TAGS_MAX]
        self._count("lists", "held")
        await send_json(scope, send, 200, {"name": request.name, "tags": tags})

    async def _tag(self, send: Send, request: RegistryRequest, reference: Reference, member: MemberRequest) -> None:
        """Say what this node knows of a tag, or as a home what upstream says; GET gets the manifest, if it is here."""
        as_home = member.role is Role.HOME
        tag = (
            await self._home.tag(reference, recheck=member.recheck) if as_home else self._backend.tags.local(reference)
        )
        if tag is None:
            raise ManifestUnknown(f"this node does not know {reference}")
        self._count("tags", "held")
        age_s = max(0.0, time.time() - tag.checked_unix_s)
        extra = encoded(MemberAnswer(tag_age_s=age_s, tag_authority=tag.authority).headers())
        if request.is_head:
            await send_empty(send, 200, [(b"docker-content-digest", str(tag.digest).encode()), *extra])
            return
        with self._backend.serving(request, tag.digest):
            manifest = await self._held_manifest(tag.digest)
        if manifest is None:
            raise ManifestUnknown(f"this node does not hold {tag.digest}, which {reference} means")
        await send_manifest(send, request, manifest, extra)

    async def _manifest(self, send: Send, request: RegistryRequest, content: Content, member: MemberRequest) -> None:
        with self._backend.serving(request, content.digest):
            manifest = await self._held_manifest(content.digest)
        if manifest is None and member.role is Role.HOME:
            manifest = await self._home.manifest(content)
        if manifest is None:
            raise ManifestUnknown(f"this node does not hold {content.digest}")
        self._count("manifests", "held")
        await send_manifest(send, request, manifest, [])

    async def _held_manifest(self, digest: Digest) -> Manifest | None:
        with _now():
            return await self._backend.manifests.held(digest)

    async def _blob(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        request: RegistryRequest,
        content: Content,
        member: MemberRequest,
    ) -> None:
        if (question := member.want and self._questions.get(member.want)) is not None:
            await send_testimony(send, request, await question(content, member))
            self._count("blobs", "vouched")
            return
        if member.want is not None:
            await self._testimony.answer(send, request, content, member.want)
            self._count("blobs", "vouched")
            return
        if request.is_head and member.wrong is not None and member.node in self._backend.fetching.cluster.up():
            self._testimony.doubt(content.digest, member.wrong)
        with _now():
            held = self._backend.holdings.open(content.digest)
        if held is not None:
            serving = self._backend.serving(request, content.digest)
            with held, serving, self._admitted(request, content, held, member):
                self._count("blobs", "held")
                response = blob_response(request, Body.held(content.digest, held), self._backend.settings)
                await response(scope, receive, send)
                self._served.inc(response.sent)
        elif not self._is_asked_to_relay(request, content, member):
            raise BlobUnknown(f"this node does not hold {content.digest}")
        elif request.is_head:
            size = await self._home.size(content)
            await send_empty(send, *blob_headers(content.digest, OCTETS, size))
        else:
            async with self._home.blob(request, content, member.avoid) as relayed:
                await relayed(scope, receive, send)
            self._count("blobs", "relayed")

    def _is_asked_to_relay(self, request: RegistryRequest, content: Content, member: MemberRequest) -> bool:
        """Whether a member asks this node as a home, or for a part that has arrived here."""
        if member.role is Role.PARTIAL:
            return self._home.has_part(content, request.range)
        return member.role is Role.HOME

    @contextlib.contextmanager
    def _admitted(
        self, request: RegistryRequest, content: Content, held: Held, member: MemberRequest
    ) -> Iterator[None]:
        """Serve a request for a held blob, or send the member to the homes; HEAD costs nothing and is always served."""
        if request.is_head:
            yield
            return
        digest, asker = content.digest, member.node or ""
        if not self._admission.admits(digest.hex, held.size, asker, time.monotonic(), member.role):
            raise Refusal(Reason.BUSY, f"this node serves others with {digest}: ask the homes of its pieces")
        with self._admission.transfer(digest.hex, asker, time.monotonic):
            yield

    def _count(self, kind: str, outcome: str) -> None:
        self._backend.metrics.requests.labels("peer", kind, outcome).inc()


def _kind(request: RegistryRequest | ListRequest) -> str:
    """The kind of a request, as it is counted."""
    if isinstance(request, ListRequest):
        return "lists"
    return "tags" if isinstance(request.what, Reference) else request.kind


def _is_proven(scope: Scope) -> bool:
    """Whether TLS proves which member asks: `_recognise` has compared the names."""
    return scope.get("extensions", {}).get(MEMBER_NAMES) is not None


@contextlib.contextmanager
def _now() -> Iterator[None]:
    """Send a member elsewhere for a moment, where what is here cannot be opened or read now."""
    try:
        yield
    except StorageFailed as error:
        raise Refusal(Reason.BUSY, str(error)) from error
