"""Who refers to a manifest: its signatures, for example, which tools find by asking for the list of its referrers.

Upstream has the list, page by page. Registries that have no such lists have a tag instead: this node looks it up, so
that clients need not. Where upstream has neither, or does not answer, the list is that of the manifests which this node
and the members hold. Without upstream they say so only of subjects that they hold. What a member says is not believed:
each manifest that it names is fetched, and says itself to what it refers.

Source: OCI distribution-spec, "Listing Referrers" and "Referrers Tag Schema".
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from typing import Final

from ..errors import (
    ManifestUnknown,
    MirrorError,
    OciError,
    PeerError,
    Reason,
    UpstreamError,
    UpstreamOffline,
    UpstreamRefused,
    UpstreamUnknown,
)
from ..oci.content import Content
from ..oci.digest import Digest
from ..oci.manifest import MANIFEST_MAX_BYTES, OCI_INDEX
from ..oci.reference import Reference, Repository
from ..oci.referrers import TYPE_FILTER, Entry, as_list, entries, named_by, of_type, tag_of, wanted_type
from ..routers import Peer
from ..sources import ListSource, Page
from .manifests import Manifests
from .referrer_index import ReferrerIndex, key_of
from .refusals import refusal
from .tags import Tags

log = logging.getLogger(__name__)

_MEMBERS_MAX: Final = 16
"""Bounds the members that are asked: those that pulled a signature all hold the same."""
_FETCHED_MAX: Final = 128
"""Bounds the manifests that are fetched because members name them."""

AsksForReferrers = Callable[[Peer, Repository, Digest], Awaitable[Collection[Digest]]]
"""Asks one member which manifests it holds that refer to one; raises PeerError."""


@dataclass(frozen=True, slots=True)
class ReferrersPage:
    """Some referrers of a manifest.

    Args:
        page: an index.
        warning: what a person should know about it, or None if upstream has just said so.
    """

    page: Page
    warning: str | None = None


class Referrers:
    """Has lists of referrers.

    Args:
        upstream: asks registries.
        index: what this node holds.
        manifests: gives manifests.
        tags: resolves the tags that some registries have instead of lists.
        holders: finds the members that may hold what has a key.
        ask: asks one of them.
    """

    def __init__(
        self,
        upstream: ListSource,
        index: ReferrerIndex,
        manifests: Manifests,
        tags: Tags,
        holders: Callable[[bytes], Awaitable[list[Peer]]],
        ask: AsksForReferrers,
    ) -> None:
        self._upstream = upstream
        self._index = index
        self._manifests = manifests
        self._tags = tags
        self._holders = holders
        self._ask = ask

    def held(self, subject: Digest, max_bytes: int = MANIFEST_MAX_BYTES) -> Page:
        """The referrers of which this node itself holds the manifests, within so many bytes."""
        return Page(as_list(self._index.of(subject), max_bytes))

    async def page(self, repository: Repository, subject: Digest, query: str) -> ReferrersPage:
        """A page of the manifests that refer to one; none do, if nobody knows better.

        Args:
            repository: whose manifests.
            subject: what they refer to.
            query: as the client sent it; `artifactType` leaves out the others.

        Raises:
            OciError: nobody who may know can be asked.
        """
        try:
            page = await self._upstream.page(repository, f"referrers/{subject}", query)
            found = entries(page.body)
            if found is None:
                raise UpstreamError(Reason.BROKEN, f"{repository.registry} answered with no list of referrers")
            return ReferrersPage(_filtered(page, found, query))
        except UpstreamError as error:
            found = await self._without_list(repository, subject, error)
            warning = None if isinstance(error, UpstreamUnknown) else f"only what members know: {error}"
            return ReferrersPage(_filtered(Page(b""), found, query), warning)

    async def _without_list(self, repository: Repository, subject: Digest, error: UpstreamError) -> list[Entry]:
        """What the tag says, and what members hold; raise OciError if neither is known, and `error` may be why."""
        tagged, _ = await asyncio.gather(self._tagged(repository, subject), self._gather(repository, subject))
        found = [*(() if isinstance(tagged, OciError) else tagged), *self._index.of(subject)]
        if found or isinstance(error, UpstreamOffline) or (_is_no_answer(error) and await self._is_here(subject)):
            return found
        if isinstance(tagged, OciError):
            raise tagged
        if not isinstance(error, UpstreamUnknown):
            raise refusal(f"no member knows who refers to {subject}", error, ManifestUnknown)
        return []

    async def _is_here(self, subject: Digest) -> bool:
        """Whether this node or a member has the subject: then what they hold is an answer, also if it is nothing."""
        return self._index.holds(subject) or bool(await self._holders(subject.key))

    async def _tagged(self, repository: Repository, subject: Digest) -> list[Entry] | OciError:
        """What the tag of a subject says; an error where nobody can say whether there is one."""
        try:
            answer = await self._tags.resolve(Reference.of(repository, tag_of(subject)))
            manifest, _ = await self._manifests.get(Content(repository, "manifests", answer.tag.digest))
        except ManifestUnknown:
            return []
        except OciError as error:
            return error
        return (entries(manifest.body) or []) if manifest.media_type == OCI_INDEX else []

    async def _gather(self, repository: Repository, subject: Digest) -> None:
        """Fetch what members hold that this node does not."""
        peers = (await self._holders(key_of(subject)))[:_MEMBERS_MAX]
        answers = await asyncio.gather(*(self._of(peer, repository, subject) for peer in peers))
        known = {named_by(it) for it in self._index.of(subject)}
        missing = [digest for digest in dict.fromkeys(it for each in answers for it in each) if digest not in known]
        await asyncio.gather(*(self._fetch(Content(repository, "manifests", it)) for it in missing[:_FETCHED_MAX]))

    async def _of(self, peer: Peer, repository: Repository, subject: Digest) -> Collection[Digest]:
        try:
            return await self._ask(peer, repository, subject)
        except PeerError as error:
            log.debug("%s does not say who refers to %s: %s", peer.name, subject, error)
            return ()

    async def _fetch(self, content: Content) -> None:
        """Read a manifest, which puts it into the index if it is a referrer."""
        with contextlib.suppress(MirrorError):
            await self._manifests.get(content)


def _is_no_answer(error: UpstreamError) -> bool:
    """Whether upstream said nothing, rather than no."""
    return not isinstance(error, UpstreamUnknown | UpstreamRefused) and error.reason is not Reason.AUTH


def _filtered(page: Page, found: list[Entry], query: str) -> Page:
    """A page with what a client wants of it."""
    wanted = wanted_type(query)
    if wanted is None or TYPE_FILTER in (page.filtered or ""):
        return page if page.body else replace(page, body=as_list(found))
    return replace(page, body=as_list(of_type(found, wanted)), filtered=TYPE_FILTER)
