"""The endpoint that takes what clients push, in front of the one that gives."""

import contextlib
import logging

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from ...errors import (
    DigestInvalid,
    MirrorError,
    OciError,
    RangeInvalid,
    StorageFailed,
    Unavailable,
    Unsupported,
)
from ...oci.digest import Digest
from ...oci.manifest import MANIFEST_MAX_BYTES
from ...oci.reference import Reference
from ...sources import HOP_HEADER
from ...sources.chain import VIA_HEADER
from ..blob import Headers
from ..request import RegistryRequest, parse
from ..responses import received, send_empty, send_error
from ..writers import is_from_here
from .plainly import PlainAnswer
from .request import PushRequest, is_write, parse_push
from .stack import PushStack
from .uploads import Upload

log = logging.getLogger(__name__)

_PASSED_ON = {HOP_HEADER.lower().encode(), VIA_HEADER.lower().encode()}
"""Headers of agents, which pass on what their own clients ask, and push nothing."""


class PushEndpoint:
    """An ASGI application for everything below `/v2`.

    Args:
        reader: the application that answers what does not write.
        push: the parts of the node.
        registry: of requests that name none.
    """

    def __init__(self, reader: ASGIApp, push: PushStack, registry: str | None = None) -> None:
        self._reader = reader
        self._push = push
        self._registry = registry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; an error becomes an answer in the specification's form."""
        if not is_write(scope["method"], scope["path"]):
            await self._read(scope, receive, send)
            return
        try:
            self._push.writers.admit(scope)
            request = parse_push(scope, self._registry)
            status, headers = await self._answer(scope, receive, request)
        except ClientDisconnect:
            log.debug("%s %s: the client left before the end", scope["method"], scope["path"][:300])
            self._count("left")
        except OciError as error:
            self._count("refused" if error.status < 500 else "failed")
            log.debug("%s %s: %d %s", scope["method"], scope["path"][:300], error.status, error)
            await send_error(scope, send, error)
        except MirrorError as error:
            self._count("failed")
            log.warning("%s %s: %s", scope["method"], scope["path"][:300], error)
            await send_error(scope, send, Unavailable(str(error)))
        else:
            self._count("pushed")
            length = () if status == 204 else ((b"content-length", b"0"),)
            await send_empty(send, status, [*headers, *length])

    async def _read(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have what does not write answered. Who asks whether to log in is told."""
        if scope["path"] == "/v2/":
            try:
                self._push.writers.greet(scope)
            except OciError as error:
                await send_error(scope, send, error)
                return
        plain = PlainAnswer(scope, send, lambda: self._wants_yes_or_no(scope))
        await self._reader(scope, receive, plain.send)

    def _wants_yes_or_no(self, scope: Scope) -> bool:
        """Whether a client may push what is not here: it asks by a mere head, or in a repository of this cluster's."""
        if dict(scope["headers"]).keys() & _PASSED_ON:
            return False
        try:
            request = parse(scope, self._registry)
            if isinstance(request, RegistryRequest) and self._push.own.has_any(request.repository):
                return True
            self._push.writers.admit(scope)
        except OciError:
            return False
        return bool(scope["method"] == "HEAD")

    async def _answer(self, scope: Scope, receive: Receive, request: PushRequest) -> tuple[int, Headers]:
        """The status and headers of an answer without a body."""
        match request:
            case PushRequest(method="POST", upload=""):
                return await self._begin(scope, receive, request)
            case PushRequest(upload=str(name)) if name:
                return await self._upload(receive, request, self._push.uploads.get(name, request.repository))
            case PushRequest(method="PUT", is_manifest=True, what=Digest() | Reference() as what):
                return await self._manifest(receive, request, what)
            case PushRequest(method="DELETE", what=Digest() | Reference() as what):
                return await self._delete(request, what)
        raise Unsupported(f"{request.method} is not what is done with {scope['path'][:200]}")

    async def _begin(self, scope: Scope, receive: Receive, request: PushRequest) -> tuple[int, Headers]:
        """Begin an upload, or take all of a blob at once, or what is here already."""
        uploads, digest = self._push.uploads, request.digest("digest")
        if (
            (mount := request.digest("mount")) is not None
            and not self._push.must_be_sent(mount)
            and self._is_here(mount)
        ):
            self._push.published(request.repository, mount)
            return 201, _created(request, f"blobs/{mount}", mount)
        client = scope.get("client")
        origin = "" if client is None or is_from_here(scope) else str(client[0])
        upload = await uploads.begin(request.repository, origin, request.length or 0)
        if digest is None:
            return 202, _progress(request, upload)
        try:
            await uploads.take(upload, receive, request.length, None, "")
        except BaseException:
            uploads.discard(upload)
            raise
        return await self._finish(request, upload, digest)

    def _is_here(self, digest: Digest) -> bool:
        """Whether this node holds some content, and all of it can be read."""
        with contextlib.suppress(StorageFailed):
            held = self._push.backend.holdings.open(digest)
            if held is not None:
                held.close()
                return True
        return False

    async def _upload(self, receive: Receive, request: PushRequest, upload: Upload) -> tuple[int, Headers]:
        """Go on with an upload, end it, give it up, or say how far it is."""
        uploads = self._push.uploads
        if request.method == "GET":
            return 204, _progress(request, upload)
        if request.method == "DELETE":
            uploads.discard(upload)
            return 204, []
        digest = request.digest("digest") if request.method == "PUT" else None
        if request.method == "PUT" and digest is None:
            raise DigestInvalid("the request that ends an upload says in its query what came: ?digest=sha256:…")
        location = request.location(f"blobs/uploads/{upload.id}")
        await uploads.take(upload, receive, request.length, request.content_range, location)
        if digest is None:
            return 202, _progress(request, upload)
        return await self._finish(request, upload, digest)

    async def _finish(self, request: PushRequest, upload: Upload, digest: Digest) -> tuple[int, Headers]:
        size = await self._push.uploads.finish(upload, digest)
        self._push.backend.metrics.pushed_bytes.inc(size)
        self._push.published(request.repository, digest)
        log.debug("pushed repository=%s digest=%s bytes=%d", request.repository, digest, size)
        return 201, _created(request, f"blobs/{digest}", digest)

    async def _manifest(self, receive: Receive, request: PushRequest, what: Digest | Reference) -> tuple[int, Headers]:
        if request.content_range is not None:
            raise RangeInvalid("a manifest is pushed as a whole")
        body = await self._push.uploads.document(receive, MANIFEST_MAX_BYTES, request.length)
        tags = [value for name, value in request.query if name == "tag"]
        accepted = await self._push.manifests.put(request.repository, what, tags, body, request.content_type)
        self._push.published(request.repository, accepted.digest)
        headers = _created(request, f"manifests/{accepted.digest}", accepted.digest)
        if accepted.subject is not None:
            headers.append((b"oci-subject", str(accepted.subject).encode()))
        if tags:
            headers += [(b"oci-tag", tag.encode()) for tag in tags]
        return 201, headers

    async def _delete(self, request: PushRequest, what: Digest | Reference) -> tuple[int, Headers]:
        deletions = self._push.deletions
        if isinstance(what, Reference):
            await deletions.tag(what)
        elif request.is_manifest:
            await deletions.manifest(request.repository, what)
        else:
            await deletions.blob(request.repository, what)
        return 202, []

    def _count(self, outcome: str) -> None:
        self._push.backend.metrics.requests.labels("client", "pushes", outcome).inc()


def _progress(request: PushRequest, upload: Upload) -> Headers:
    """Where the upload goes on, and how much has come."""
    location = request.location(f"blobs/uploads/{upload.id}").encode()
    return [(b"location", location), (b"docker-upload-uuid", upload.id.encode()), *received(upload.position)]


def _created(request: PushRequest, path: str, digest: Digest) -> Headers:
    return [(b"location", request.location(path).encode()), (b"docker-content-digest", str(digest).encode())]
