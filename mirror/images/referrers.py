"""Who refers to a manifest: its signatures, for example, which tools find by asking for the list of its referrers.

Upstream has the list, page by page. Registries that have no such lists have a tag instead: this node looks it up, so
that clients need not. Where upstream has neither, or does not answer, the list is that of the manifests which this node
and the members hold. Without upstream they say so only of subjects that they hold. What was pushed to this cluster
stands in the list in any case.

Source: OCI distribution-spec, "Listing Referrers" and "Referrers Tag Schema".
"""

import asyncio
from dataclasses import dataclass, replace

from ..errors import (
    ManifestUnknown,
    OciError,
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
from ..oci.referrers import TYPE_FILTER, Entry, as_list, entries, is_first, of_type, tag_of, wanted_type
from ..sources import ListSource, Page
from .cluster_referrers import ClusterReferrers
from .manifests import Manifests
from .pushed_referrers import PushedReferrers
from .refusals import refusal
from .tags import Tags


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
        cluster: what this node and the members hold.
        manifests: gives manifests.
        tags: resolves the tags that some registries have instead of lists.
        pushed: what was pushed to this cluster; None: nothing can be.
    """

    def __init__(
        self,
        upstream: ListSource,
        cluster: ClusterReferrers,
        manifests: Manifests,
        tags: Tags,
        pushed: PushedReferrers | None = None,
    ) -> None:
        self._upstream = upstream
        self._cluster = cluster
        self._manifests = manifests
        self._tags = tags
        self._pushed = pushed

    def held(self, subject: Digest, max_bytes: int = MANIFEST_MAX_BYTES) -> Page:
        """The referrers of which this node itself holds the manifests, within so many bytes."""
        return Page(as_list(self._cluster.held(subject), max_bytes))

    async def page(self, repository: Repository, subject: Digest, query: str) -> ReferrersPage:
        """A page of the manifests that refer to one; none do, if nobody knows better.

        Args:
            repository: whose manifests.
            subject: what they refer to.
            query: as the client sent it; `artifactType` leaves out the others.

        Raises:
            OciError: nobody who may know can be asked.
        """
        pushed = None if self._pushed is None else await self._pushed.of(repository, subject)
        try:
            page = await self._upstream.page(repository, f"referrers/{subject}", query)
            found = entries(page.body)
            if found is None:
                raise UpstreamError(Reason.BROKEN, f"{repository.registry} answered with no list of referrers")
        except UpstreamError as error:
            found = await self._without_list(repository, subject, error, pushed)
            warning = None if isinstance(error, UpstreamUnknown) else f"only what members know: {error}"
            return ReferrersPage(_filtered(Page(as_list(found)), found, query), warning)
        if pushed and is_first(query):
            found = [*found, *pushed]
            page = replace(page, body=as_list(found))
        return ReferrersPage(_filtered(page, found, query))

    async def _without_list(
        self, repository: Repository, subject: Digest, error: UpstreamError, pushed: list[Entry] | None
    ) -> list[Entry]:
        """What the tag says, what was pushed, and what the cluster holds.

        Raises:
            OciError: nobody here knows of any, and upstream gave no answer, as `error` says.
        """
        tagged, held = await asyncio.gather(self._tagged(repository, subject), self._cluster.of(repository, subject))
        found = [*(() if isinstance(tagged, OciError) else tagged), *(pushed or ()), *held]
        if found or pushed is not None or isinstance(error, UpstreamOffline):
            return found
        if _is_no_answer(error) and await self._cluster.has(subject):
            return found
        if isinstance(tagged, OciError):
            raise tagged
        if not isinstance(error, UpstreamUnknown):
            raise refusal(f"no member knows who refers to {subject}", error, ManifestUnknown)
        return []

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


def _is_no_answer(error: UpstreamError) -> bool:
    """Whether upstream said nothing, rather than no."""
    return not isinstance(error, UpstreamUnknown | UpstreamRefused) and error.reason is not Reason.AUTH


def _filtered(page: Page, found: list[Entry], query: str) -> Page:
    """A page with what a client wants of it, where upstream has not filtered it."""
    wanted = wanted_type(query)
    if wanted is None or TYPE_FILTER in (page.filtered or ""):
        return page
    return replace(page, body=as_list(of_type(found, wanted)), filtered=TYPE_FILTER)
