"""What this node says of its own copies to members that have bytes of them from others.

A holder that has verified a blob vouches for it by its checksums. And a member that was sent wrong bytes from here says
so: then this node looks at its copy at once.
"""

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from starlette.types import Send

from ..errors import BlobUnknown, Corrupt, Reason, Refusal, StorageFailed
from ..fileio import hash_range, in_thread
from ..images.holdings import Holdings
from ..oci.content import Content, Parts
from ..oci.digest import Digest
from ..settings import AppSettings
from ..sources.peers.protocol import Want, write_parts
from ..stores import Held
from .request import RegistryRequest
from .responses import API_VERSION

log = logging.getLogger(__name__)

_READ_BYTES = 1024 * 1024
"""How much of a copy is read at once, in bytes: bounds what hashing takes of memory."""


class Testimony:
    """Answers what members ask about copies of this node, and takes their word that one may be wrong.

    Args:
        holdings: what this node's stores hold.
        parts: counts what is here of what a manifest names.
        settings: bounds.
    """

    def __init__(self, holdings: Holdings, parts: Callable[[Digest], Awaitable[Parts]], settings: AppSettings) -> None:
        self._holdings = holdings
        self._parts = parts
        self._settings = settings
        self._hashing = asyncio.Semaphore(settings.hashed_at_once)
        self._verified_at: OrderedDict[str, float] = OrderedDict()
        """By hexadecimal digest: when it was last verified because a member said that it is wrong."""
        self._verification: asyncio.Task[None] | None = None

    async def answer(self, send: Send, request: RegistryRequest, content: Content, want: Want) -> None:
        """Answer a question about a blob that this node holds.

        Raises:
            BlobUnknown: it does not hold it, or its copy has just turned out to be damaged.
            Refusal: it has not verified it yet, or cannot read it now.
            RangeInvalid, RangeUnsatisfiable: the request's Range header.
        """
        try:
            body = await self._body(request, content, want)
        except Corrupt as error:
            raise BlobUnknown(f"this node does not hold {content.digest}: {error}") from error
        except (StorageFailed, OSError) as error:
            raise Refusal(Reason.BUSY, f"this node cannot read its copy of {content.digest} now: {error}") from error
        await send_testimony(send, request, body)

    async def _body(self, request: RegistryRequest, content: Content, want: Want) -> bytes:
        held = self._holdings.open(content.digest)
        if held is None:
            raise BlobUnknown(f"this node does not hold {content.digest}")
        with held:
            if want is Want.PARTS:
                return write_parts(await self._parts(content.digest))
            if want is Want.SHA256:
                return await self._sha256(held, *(request.one_span(held.size) or (0, held.size)))
            prefixes = await held.prefixes()
        if prefixes is None:
            raise Refusal(Reason.BUSY, f"this node has not verified its copy of {content.digest} yet")
        return b"".join(prefixes)

    async def _sha256(self, held: Held, start: int, stop: int) -> bytes:
        """The sha256 of a range, whose bytes are checked as those that leave are."""
        if stop - start > self._settings.hashed_max_bytes:
            raise Refusal(Reason.BUSY, f"this node hashes {self._settings.hashed_max_bytes} bytes at once, at most")
        sha256 = hashlib.sha256()
        async with self._hashing:
            async for offset, count in held.ready(start, stop):
                await in_thread(hash_range, sha256.update, held.fd, offset, offset + count, _READ_BYTES)
        return sha256.digest()

    def doubt(self, digest: Digest, wrong: tuple[int, int]) -> None:
        """Verify a copy because a member says that a range of it is wrong: one at a time, and each not too often."""
        now, every_s = time.monotonic(), self._settings.verify_again_s
        is_busy = self._verification is not None and not self._verification.done()
        if is_busy or now < self._verified_at.get(digest.hex, -every_s) + every_s:
            return
        self._verified_at[digest.hex] = now
        self._verified_at.move_to_end(digest.hex)
        while len(self._verified_at) > self._settings.admission_blobs_max:
            self._verified_at.popitem(last=False)
        self._verification = asyncio.create_task(self._verify(digest, wrong), name=f"verify {digest}")

    async def _verify(self, digest: Digest, wrong: tuple[int, int]) -> None:
        said = "bytes {} to {}".format(*wrong)
        try:
            is_right = await self._holdings.verify(digest)
        except StorageFailed as error:
            log.warning("a member says that %s of %s here are wrong; the copy cannot be read: %s", said, digest, error)
        else:
            found = "it is right" if is_right else "there is none, or it was wrong and is gone"
            log.info("a member says that %s of %s here are wrong: %s", said, digest, found)


async def send_testimony(send: Send, request: RegistryRequest, body: bytes) -> None:
    """Answer what a member asked about content."""
    headers = [(b"content-type", b"application/octet-stream"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": [API_VERSION, *headers]})
    await send({"type": "http.response.body", "body": b"" if request.is_head else body})
