"""The peer endpoint: what this node holds, for other nodes. Nothing is passed on, so no request goes in circles."""

import time
from typing import TYPE_CHECKING

from starlette.datastructures import Headers as RequestHeaders
from starlette.types import Receive, Scope, Send

from ..auth import PeerAuth
from ..digest import Digest
from ..errors import BlobUnknown, ManifestUnknown, OciError, Unauthorized
from ..holdings import Holdings
from ..manifests import Manifests
from ..metrics import Metrics
from ..peers import TAG_AGE_HEADER, TAG_AUTHORITY_HEADER
from ..reference import Reference
from ..tags import Tags
from .answers import Body, send_blob, send_content, send_empty, send_error, send_json
from .request import Asked, parse, target

if TYPE_CHECKING:
    from .blob import Headers


class PeerEndpoint:
    """An ASGI application for the peer listener.

    Args:
        holdings: what this node's stores hold.
        manifests: gives manifests by digest.
        tags: what this node knows of tags.
        auth: tells members from others, where the cluster has a key.
        metrics: counts.
    """

    def __init__(self, holdings: Holdings, manifests: Manifests, tags: Tags, auth: PeerAuth, metrics: Metrics) -> None:
        self._holdings = holdings
        self._manifests = manifests
        self._tags = tags
        self._auth = auth
        self._metrics = metrics
        self._served = metrics.served_bytes.labels("peer")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; an error becomes an answer in the specification's form."""
        kind = "other"
        try:
            if not self._auth.accepts(scope["method"], target(scope), RequestHeaders(scope=scope)):
                raise Unauthorized("only members of the cluster may ask here: the request is not signed with its key")
            asked = parse(scope)
            if asked is None:
                await send_json(scope, send, 200, {})
            elif isinstance(asked.what, Reference):
                kind = "tags"
                await self._tag(scope, send, asked.what)
            else:
                kind = asked.kind
                await self._content(scope, receive, send, asked, asked.what)
        except OciError as error:
            self._count(kind, "missing" if error.status == 404 else "refused")
            await send_error(scope, send, error)

    async def _tag(self, scope: Scope, send: Send, reference: Reference) -> None:
        """Tell what this node knows of a tag; with the manifest, if it holds that."""
        tag = self._tags.local(reference)
        if tag is None:
            raise ManifestUnknown(f"this node does not know {reference}")
        self._count("tags", "held")
        said: Headers = [
            (TAG_AGE_HEADER.lower().encode(), b"%.3f" % max(0.0, time.time() - tag.checked_at)),
            (TAG_AUTHORITY_HEADER.lower().encode(), tag.authority.encode()),
        ]
        if scope["method"] == "HEAD":
            await send_empty(send, 200, [(b"docker-content-digest", str(tag.digest).encode()), *said])
            return
        manifest = self._manifests.held(tag.digest)
        if manifest is None:
            raise ManifestUnknown(f"this node does not hold {tag.digest}, which {reference} means")
        await send_content(scope, send, tag.digest, manifest.media_type, manifest.body, said)

    async def _content(self, scope: Scope, receive: Receive, send: Send, asked: Asked, digest: Digest) -> None:
        if asked.kind == "manifests":
            manifest = self._manifests.held(digest)
            if manifest is None:
                raise ManifestUnknown(f"this node does not hold {digest}")
            self._count("manifests", "held")
            await send_content(scope, send, digest, manifest.media_type, manifest.body, [])
            return
        held = self._holdings.open(digest)
        if held is None:
            raise BlobUnknown(f"this node does not hold {digest}")
        self._count("blobs", "held")
        with held:
            await send_blob(scope, receive, send, Body.held(digest, held), self._served)

    def _count(self, kind: str, outcome: str) -> None:
        self._metrics.requests.labels("peer", kind, outcome).inc()
