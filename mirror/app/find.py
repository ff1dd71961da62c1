"""`/api/v1/find`: who has an image or a digest. Members are asked; their filters alone could be wrong."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ..errors import PeerError, Reason, StorageFailed
from ..images.holdings import Holdings
from ..oci.content import Content, Parts
from ..oci.digest import Digest
from ..oci.manifest import MANIFEST_MAX_BYTES
from ..oci.names import ANY_REPOSITORY, parse_one
from ..oci.reference import Reference
from ..routers import Peer
from ..stores import Tag


class Find:
    """Looks for content on this node and on the members that may have it.

    Args:
        name: of this node.
        holdings: what this node's stores hold.
        tags: asks the members that may know a tag what it means.
        holders: gives the members that may hold what has a key.
        size: asks one member for the size of some content, in bytes; raises PeerError if it does not have it.
        parts: says how much of an image this node holds.
        member_parts: asks one member the same; raises PeerError.
    """

    def __init__(  # noqa: PLR0913 - what is asked, of whom
        self,
        name: str,
        holdings: Holdings,
        tags: Callable[[Reference], Awaitable[Sequence[tuple[Peer, Tag]]]],
        holders: Callable[[bytes], Awaitable[Sequence[Peer]]],
        size: Callable[[Peer, Content], Awaitable[int]],
        *,
        parts: Callable[[Digest], Awaitable[Parts]],
        member_parts: Callable[[Peer, Content], Awaitable[Parts]],
    ) -> None:
        self._name = name
        self._holdings = holdings
        self._ask_tags = tags
        self._locate = holders
        self._size = size
        self._parts = parts
        self._member_parts = member_parts

    async def find(self, query: str) -> dict[str, Any]:
        """Find an image or a digest.

        Args:
            query: an image name such as `nginx:1.27`, or a digest.

        Returns:
            The answer as it goes into JSON: `holders` by digest, and for a tag what each member says that it means.

        Raises:
            NameInvalid, DigestInvalid: the query is neither.
        """
        wanted = parse_one(query)
        answer: dict[str, Any] = {"node": self._name, "asked": query}
        if wanted.reference is not None:
            answer["reference"] = str(wanted.reference)
            answer["tags"] = await self.tags(wanted.reference)
            digests = {row["digest"]: Digest.parse(row["digest"]) for row in answer["tags"]}
            answer["holders"] = {text: await self.holders(digest) for text, digest in digests.items()}
        elif wanted.digest is not None:
            answer["holders"] = {str(wanted.digest): await self.holders(wanted.digest)}
        return answer

    async def tags(self, reference: Reference) -> list[dict[str, Any]]:
        """What this node and the members know of a tag, newest first: `member digest authority age_seconds`."""
        found = [(self._name, tag) for tag in self._holdings.tags(reference)]
        found += [(peer.name, tag) for peer, tag in await self._ask_tags(reference)]
        found.sort(key=lambda row: -row[1].checked_unix_s)
        now = time.time()
        return [
            {
                "member": name,
                "digest": str(tag.digest),
                "authority": tag.authority,
                "age_seconds": round(max(0.0, now - tag.checked_unix_s), 1),
            }
            for name, tag in found
        ]

    async def holders(self, digest: Digest) -> list[dict[str, Any]]:
        """Whether this node has the content, and the answer of every member whose filter says that it does.

        Who has a manifest and not all that it names does not have the image.

        Returns:
            `member`, `has`, and `bytes` or the `reason`; of this node the `store`; of images `blobs` named and `held`.
        """
        content = Content(ANY_REPOSITORY, "blobs", digest)
        rows: list[dict[str, Any]] = []
        try:
            held = self._holdings.open(digest)
            if held is not None:
                with held:
                    shown = _shown(self._name, held.size, await self._parts(digest))
                rows.append({**shown, "store": held.store})
        except StorageFailed:
            rows.append({"member": self._name, "has": False, "reason": Reason.DISK})
        holders = await self._locate(digest.key)
        return rows + list(await asyncio.gather(*(self._ask(peer, content) for peer in holders)))

    async def _ask(self, peer: Peer, content: Content) -> dict[str, Any]:
        """What one member says of some content."""
        try:
            size = await self._size(peer, content)
        except PeerError as error:
            return {"member": peer.name, "has": False, "reason": error.reason}
        parts = Parts(0, 0)
        if size <= MANIFEST_MAX_BYTES:
            with contextlib.suppress(PeerError):  # an agent that does not know the question
                parts = await self._member_parts(peer, content)
        return _shown(peer.name, size, parts)


def _shown(member: str, size: int, parts: Parts) -> dict[str, Any]:
    """The row of a member that has some content, or of an image the manifest."""
    row: dict[str, Any] = {"member": member, "has": parts.is_whole, "bytes": size}
    if parts.named:
        row |= {"blobs": parts.named, "held": parts.held}
    return row if parts.is_whole else {**row, "reason": "incomplete"}
