"""The referrers of which this node and the members hold the manifests.

What a member says is not believed: each manifest that it names is fetched, and says itself to what it refers.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Final

from ..errors import MirrorError, PeerError
from ..oci.content import Content
from ..oci.digest import Digest
from ..oci.reference import Repository
from ..oci.referrers import Entry, named_by
from ..routers import Peer
from .manifests import Manifests
from .referrer_index import ReferrerIndex, key_of

log = logging.getLogger(__name__)

_MEMBERS_MAX: Final = 16
"""Bounds the members that are asked: those that pulled a signature all hold the same."""
_FETCHED_MAX: Final = 128
"""Bounds the manifests that are fetched because members name them."""

AsksForReferrers = Callable[[Peer, Repository, Digest], Awaitable[Collection[Digest]]]
"""Asks one member which manifests it holds that refer to one; raises PeerError."""


class ClusterReferrers:
    """Knows the referrers that are in the cluster.

    Args:
        index: those that this node holds.
        manifests: gives manifests.
        holders: finds the members that may hold what has a key.
        ask: asks one of them.
    """

    def __init__(
        self,
        index: ReferrerIndex,
        manifests: Manifests,
        holders: Callable[[bytes], Awaitable[list[Peer]]],
        ask: AsksForReferrers,
    ) -> None:
        self._index = index
        self._manifests = manifests
        self._holders = holders
        self._ask = ask

    def held(self, subject: Digest) -> list[Entry]:
        """Those that this node itself holds."""
        return self._index.of(subject)

    async def of(self, repository: Repository, subject: Digest) -> list[Entry]:
        """Those that this node holds, once it has fetched what members hold and it does not."""
        peers = (await self._holders(key_of(subject)))[:_MEMBERS_MAX]
        answers = await asyncio.gather(*(self._said_by(peer, repository, subject) for peer in peers))
        known = {named_by(it) for it in self._index.of(subject)}
        missing = [digest for digest in dict.fromkeys(it for each in answers for it in each) if digest not in known]
        await asyncio.gather(*(self._fetch(Content(repository, "manifests", it)) for it in missing[:_FETCHED_MAX]))
        return self._index.of(subject)

    async def has(self, subject: Digest) -> bool:
        """Whether this node or a member has the subject itself."""
        return self._index.holds(subject) or bool(await self._holders(subject.key))

    async def _said_by(self, peer: Peer, repository: Repository, subject: Digest) -> Collection[Digest]:
        try:
            return await self._ask(peer, repository, subject)
        except PeerError as error:
            log.debug("%s does not say who refers to %s: %s", peer.name, subject, error)
            return ()

    async def _fetch(self, content: Content) -> None:
        """Read a manifest, which puts it into the index if it is a referrer."""
        with contextlib.suppress(MirrorError):
            await self._manifests.get(content)
