"""A second opinion on sizes: what one member says of a blob's size is confirmed by others before anything rests on it.

A client is told the size before the first byte, and no digest proves it by then. Upstream is believed. A manifest that
this node has verified states the sizes of what it names; most of the time that is the second opinion, and costs
nothing. Else other holders are asked, and then upstream.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Sequence
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
            descriptors: of what it names: the hexadecimal digest, and the size in bytes.
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

    async def confirms(self, content: Content, source: str, size: int, not_by: Collection[str] = ()) -> bool:
        """Whether somebody else says the same of a blob's size.

        Args:
            content: the blob.
            source: who stated the size: a member, or `UPSTREAM`.
            size: in bytes.
            not_by: members whose word does not count, for the source may have it from them.

        Returns:
            False where nobody can be asked who would know.

        Raises:
            SourceError: others know better: upstream, or more of those who hold the blob.
        """
        stated = self._stated.size(content.digest)
        if source == UPSTREAM or content.kind == "manifests" or size == stated:
            return True
        said = await self._ask(content, self._others(content, {source, *not_by}), size)
        if size in said:
            return True
        try:
            async with asyncio.timeout(self._settings.opinion_s):
                upstream = await self._ask_upstream(content, size)
        except (UpstreamError, TimeoutError):
            said += await self._ask(content, self._silent(content, {source, *not_by}), size, may_wait=True)
            if size in said:
                return True
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

    def _others(self, content: Content, known: Collection[str]) -> list[Peer]:
        """Other holders than those whose word is known."""
        return [peer for peer in self._cluster.holders(content.digest.key) if peer.name not in known]

    def _silent(self, content: Content, known: Collection[str]) -> list[Peer]:
        """Those that give no sign of life now: they may only be busy, and are waited for where nobody else knows."""
        silent = self._health.silent() - set(known)
        others = [*self._others(content, known), *self._cluster.last_holders(content.digest.key)]
        return list({peer.name: peer for peer in others if peer.name in silent}.values())

    async def _ask(
        self, content: Content, peers: Sequence[Peer], expected: int, *, may_wait: bool = False
    ) -> list[int]:
        """What some holders say, up to the first that says what is expected.

        Args:
            content: the blob.
            peers: the holders; only the first few are asked.
            expected: the size that is to be confirmed, in bytes.
            may_wait: whether one that is silent may take its time.
        """
        said: list[int] = []
        few = peers[: self._settings.opinions_max]
        tasks = [asyncio.create_task(self._ask_holder(peer, content, may_wait=may_wait)) for peer in few]
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

    async def _ask_holder(self, peer: Peer, content: Content, *, may_wait: bool) -> int | None:
        asking = self._ask_member(peer, content, Role.HOLDER)
        try:
            async with asyncio.timeout(self._settings.opinion_s):
                return await (asking if may_wait else self._health.unless_silent(peer.name, asking))
        except (PeerError, TimeoutError):
            return None
