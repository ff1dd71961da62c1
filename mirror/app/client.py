"""The client endpoint: `/v2/` for the container runtime of this node, and for people's tools.

What this node holds is served from its stores; what it does not is fetched, and streamed while it arrives. A request
with the hop mark comes from another node that takes this endpoint for its upstream: it is answered from the stores
alone, so that two nodes never send each other round in circles.
"""

import logging

from starlette.types import Receive, Scope, Send

from ..errors import BlobUnknown, ManifestUnknown, MirrorError, OciError, Unavailable
from ..fetch import Fetcher
from ..images.holdings import Holdings
from ..images.manifests import Manifests
from ..images.tags import Tags
from ..metrics import Metrics
from ..oci.content import Content
from ..oci.digest import Digest
from ..oci.reference import Reference
from .blob import Headers, blob_headers
from .request import Asked, header, hopped, parse
from .responses import OCTETS, Body, send_blob, send_content, send_empty, send_error, send_json, warning

log = logging.getLogger(__name__)


class ClientEndpoint:
    """An ASGI application for everything below `/v2`.

    Args:
        holdings: what this node's stores hold.
        fetcher: brings what they do not.
        manifests: gives manifests by digest.
        tags: resolves references.
        metrics: counts.
    """

    def __init__(
        self, holdings: Holdings, fetcher: Fetcher, manifests: Manifests, tags: Tags, metrics: Metrics
    ) -> None:
        self._holdings = holdings
        self._fetcher = fetcher
        self._manifests = manifests
        self._tags = tags
        self._metrics = metrics
        self._served = metrics.served_bytes.labels("client")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; an error becomes an answer in the specification's form."""
        kind = "other"
        try:
            asked = parse(scope)
            if asked is None:
                await send_json(scope, send, 200, {})
                return
            kind = asked.kind
            if kind == "manifests":
                await self._manifest(scope, send, asked)
            else:
                await self._blob(scope, receive, send, asked)
        except OciError as error:
            self._count(kind, "missing" if error.status == 404 else "refused" if error.status < 500 else "failed")
            log.info("%s %s: %d %s", scope["method"], scope["path"][:300], error.status, error)
            await send_error(scope, send, error)
        except MirrorError as error:
            self._count(kind, "failed")
            log.warning("%s %s: %s", scope["method"], scope["path"][:300], error)
            await send_error(scope, send, Unavailable(str(error)))

    async def _manifest(self, scope: Scope, send: Send, asked: Asked) -> None:
        extra: Headers = []
        if isinstance(asked.what, Digest):
            digest = asked.what
        else:
            digest, extra = await self._resolve(scope, asked.what)
        manifest = self._manifests.held(digest)
        if manifest is not None:
            self._count("manifests", "held")
        elif hopped(scope):
            raise ManifestUnknown(f"this node does not hold {digest}")
        else:
            manifest, _ = await self._manifests.get(asked.content(digest))
            self._count("manifests", "fetched")
        await send_content(scope, send, digest, manifest.media_type, manifest.body, extra)

    async def _resolve(self, scope: Scope, reference: Reference) -> tuple[Digest, Headers]:
        if hopped(scope):
            tag = self._tags.local(reference)
            if tag is None:
                raise ManifestUnknown(f"this node does not know {reference}")
            return tag.digest, []
        answer = await self._tags.resolve(reference)
        return answer.tag.digest, [warning(answer.warning)] if answer.warning else []

    async def _blob(self, scope: Scope, receive: Receive, send: Send, asked: Asked) -> None:
        assert isinstance(asked.what, Digest)
        content = asked.content(asked.what)
        held = self._holdings.open(content.digest)
        if held is not None:
            with held:
                self._count("blobs", "held")
                await send_blob(scope, receive, send, Body.held(content.digest, held), self._served)
        elif hopped(scope):
            raise BlobUnknown(f"this node does not hold {content.digest}")
        elif scope["method"] == "HEAD":
            size = await self._fetcher.size(content)
            self._count("blobs", "fetched")
            await send_empty(send, *blob_headers(content.digest, OCTETS, size))
        else:
            await self._fetch(scope, receive, send, content)

    async def _fetch(self, scope: Scope, receive: Receive, send: Send, content: Content) -> None:
        """Send a blob that this node does not hold, while it arrives."""
        asked = header(scope, b"range")
        with self._fetcher.reading(content, anew=asked is None or asked.startswith("bytes=0-")) as reader:
            size = await reader.size()
            self._count("blobs", "passed" if reader.is_in_memory else "fetched")
            body = Body(content.digest, size, reader.fd, reader.extents)
            await send_blob(scope, receive, send, body, self._served)

    def _count(self, kind: str, outcome: str) -> None:
        self._metrics.requests.labels("client", kind, outcome).inc()
