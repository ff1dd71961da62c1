"""A second opinion on sizes: what one member says of a blob's size is confirmed by others before anything rests on it.

A client is told the size before the first byte, and no digest proves it by then. Upstream is believed. A manifest that
this node has verified states the sizes of what it names; most of the time that is the second opinion, and costs
nothing. Else other holders are asked, and then upstream.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from ..cluster.health import PeerHealth
from ..cluster.view import ClusterView
from ..errors import PeerError, Reason, SourceError, UpstreamError
from ..oci.content import Content
from ..oci.digest import Digest
from ..routers import Peer
from ..settings import FetchSettings
from ..sources import UPSTREAM, Role


class StatedSizes:
    """The sizes that verified manifests state, by the digest of what they name.

    Anybody can write a manifest, so this alone is never believed: it confirms what a source says, or has others asked.

    Args:
        most: bounds the digests that are remembered; those noted first are forgotten first.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._sizes: OrderedDict[str, int | None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sizes)

    def note(self, descriptors: Iterable[tuple[str, int]]) -> None:
        """Remember what a manifest states.

        Args:
            descriptors: of what it names: the hexadecimal sha256, and the size in bytes.
        """
        for name, size in descriptors:
            known = self._sizes.pop(name, size)
            self._sizes[name] = size if known == size else None  # two manifests disagree: neither counts
        while len(self._sizes) > self._most:
            self._sizes.popitem(last=False)

    def size(self, digest: Digest) -> int | None:
        """The size in bytes that manifests state of some content; None if none does, or if they disagree."""
        return self._sizes.get(digest.hex)


class SecondOpinion:
    """Confirms the sizes that members state.

    Args:
        stated: what manifests state.
        cluster: knows the holders.
        health: is told of members whose word others contradict, and knows those that may be gone.
        ask_member: asks one member, in a role, for a size in bytes; raises PeerError.
        ask_upstream: asks upstream, given what somebody else says; raises UpstreamError.
        settings: whom to ask, and for how long.
    """

    def __init__(
        self,
        stated: StatedSizes,
        cluster: ClusterView,
        health: PeerHealth,
        *,
        ask_member: Callable[[Peer, Content, Role], Coroutine[Any, Any, int]],
        ask_upstream: Callable[[Content, int], Awaitable[int]],
        settings: FetchSettings,
    ) -> None:
        self._stated = stated
        self._cluster = cluster
        self._health = health
        self._ask_member = ask_member
        self._ask_upstream = ask_upstream
        self._settings = settings

    def stated(self, content: Content) -> int | None:
        """What manifests state of a blob's size, in bytes; None where none does, or where they disagree."""
        return self._stated.size(content.digest)

    async def confirms(self, content: Content, source: str, size: int) -> bool:
        """Whether somebody else says the same of a blob's size.

        Args:
            content: the blob.
            source: who stated the size: a member, or `UPSTREAM`.
            size: in bytes.

        Returns:
            False where nobody can be asked who would know.

        Raises:
            SourceError: others know better: upstream, or more of those who hold the blob.
        """
        stated = self._stated.size(content.digest)
        if source == UPSTREAM or content.kind == "manifests" or size == stated:
            return True
        said = await self._ask_holders(content, source, size)
        if size in said:
            return True
        try:
            async with asyncio.timeout(self._settings.opinion_s):
                upstream = await self._ask_upstream(content, size)
        except (UpstreamError, TimeoutError):
            votes = said if stated is None else [*said, stated]
            if len(votes) < 2 or len(set(votes)) > 1:  # one word against another, or none at all
                return False
            better = votes[0]
        else:
            if upstream == size:
                return True
            better = upstream
        # Two that vote may have agreed on a lie, and upstream may be wrong, too: no proof, so no doubling.
        self._health.doubt(source, content.digest, sent_it=False)
        self._health.tell(source, content, (0, min(size, better)))
        raise SourceError(Reason.LENGTH, f"{source} says {size} bytes, others say {better}")

    async def _ask_holders(self, content: Content, source: str, expected: int) -> list[int]:
        """What some other holders say, up to the first that says what is expected."""
        others = [peer for peer in self._cluster.holders(content.digest.key) if peer.name != source]
        said: list[int] = []
        tasks = [asyncio.create_task(self._ask_holder(peer, content)) for peer in others[: self._settings.opinions_max]]
        try:
            for answer in asyncio.as_completed(tasks):
                if (size := await answer) is not None:
                    said.append(size)
                if size == expected:
                    break
        finally:
            for task in tasks:
                task.cancel()
        return said

    async def _ask_holder(self, peer: Peer, content: Content) -> int | None:
        try:
            async with asyncio.timeout(self._settings.opinion_s):
                return await self._health.unless_silent(peer.name, self._ask_member(peer, content, Role.HOLDER))
        except (PeerError, TimeoutError):
            return None
