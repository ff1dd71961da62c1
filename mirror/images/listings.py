"""Lists: the tags of a repository, and the manifests that refer to another one, such as signatures.

Upstream has them, page by page. While it does not answer, or does not know the repository, the tags that this node and
the members know are the list: all that can be pulled then. Who refers to a manifest only upstream can say; where it
does not, the client is told that there is no such list, and asks for the tag that the specification has for that case,
which is a tag like any other.

What was pushed to this cluster stands in these lists as well, in its place among what upstream has.

Source: OCI distribution-spec, "Content Discovery".
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from ..errors import (
    ManifestUnknown,
    NameUnknown,
    PeerError,
    Reason,
    UpstreamError,
    UpstreamOut,
)
from ..oci.digest import Digest
from ..oci.manifest import OCI_INDEX
from ..oci.reference import Repository
from ..routers import Peer
from ..sources import ListSource, Page
from .holdings import Holdings
from .referrers import Referrers
from .refusals import refusal

log = logging.getLogger(__name__)

PAGE_MAX_TAGS = 10_000
"""Bounds the tags on one page that this node makes itself; a client may ask for fewer."""
MEMBERS_MAX = 128
"""Bounds the members that are asked for their tags, as many as a cluster has."""

_NO_REFERRERS = Page(json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).encode())

AsksForTags = Callable[[Peer, Repository], Awaitable[Collection[str]]]
"""Asks one member for the tags that it knows of a repository; raises PeerError."""


@dataclass(frozen=True, slots=True)
class TagPage:
    """Some tags of a repository.

    Args:
        tags: in the order of the list.
        following: the query of the next page; None on the last one.
        warning: what a person should know about it, or None if upstream has just said so.
    """

    tags: Sequence[str]
    following: str | None = None
    warning: str | None = None


class Listings:
    """Has lists.

    Args:
        upstream: asks registries.
        holdings: what this node's own stores know.
        members: those that are up.
        ask: asks one of them.
        pushed: what was pushed; None: nothing can be.
    """

    def __init__(
        self,
        upstream: ListSource,
        holdings: Holdings,
        members: Callable[[], Sequence[Peer]],
        ask: AsksForTags,
        pushed: Referrers | None = None,
    ) -> None:
        self._pushed = pushed
        self._upstream = upstream
        self._holdings = holdings
        self._members = members
        self._ask = ask

    def held(self, repository: Repository) -> list[str]:
        """The tags that this node itself knows of a repository, in order."""
        return sorted(self._holdings.tags_of(repository))

    async def tags(self, repository: Repository, query: str) -> TagPage:
        """A page of the tags of a repository.

        Args:
            repository: whose tags.
            query: as the client sent it; `n` bounds the page, and `last` is the tag after which it begins.

        Raises:
            OciError: nobody knows any, or nobody who may know them can be asked.
        """
        try:
            page = await self._upstream.page(repository, "tags/list", query)
            own = [] if self._pushed is None else self._pushed.own.tags_of(repository)
            return _merged(_tags_in(page, repository), page.following, own, query)
        except UpstreamError as error:
            known = sorted(await self._known(repository))
            if not known and not self._takes_pushes(repository):
                raise refusal(f"no member knows a tag of {repository}", error, NameUnknown) from None
            log.info("tags of %s: the %d that members know, instead of upstream: %s", repository, len(known), error)
            return _page(known, query, f"only what members know: {error}")

    async def referrers(self, repository: Repository, digest: Digest, query: str) -> Page:
        """A page of the manifests that refer to one: an index, as upstream has it.

        Raises:
            OciError: there is no such list, or upstream does not answer.
        """
        own = None if self._pushed is None else await self._pushed.of(repository, digest)
        try:
            page = await self._upstream.page(repository, f"referrers/{digest}", query)
            return page if own is None else _with_referrers(page, own, query)
        except UpstreamError as error:
            if own is not None:
                return _with_referrers(_NO_REFERRERS, own, query)
            if isinstance(error, UpstreamOut):
                raise ManifestUnknown(f"who refers to {digest} is not known: {error}") from None
            raise refusal(f"no member knows who refers to {digest}", error, ManifestUnknown) from None

    def _takes_pushes(self, repository: Repository) -> bool:
        """Whether the repository is one to which something was pushed, so that it is there even without a tag."""
        return self._pushed is not None and self._pushed.own.has_any(repository)

    async def _known(self, repository: Repository) -> set[str]:
        """What this node and the members know, asked all at once."""
        answers = await asyncio.gather(*(self._of(peer, repository) for peer in self._members()[:MEMBERS_MAX]))
        return self._holdings.tags_of(repository).union(*answers)

    async def _of(self, peer: Peer, repository: Repository) -> Collection[str]:
        try:
            return await self._ask(peer, repository)
        except PeerError as error:
            log.debug("%s does not say which tags of %s it knows: %s", peer.name, repository, error)
            return ()


def _tags_in(page: Page, repository: Repository) -> list[str]:
    """The tags of a registry's answer; raise UpstreamError if it has none in the form of the specification."""
    try:
        document: Any = json.loads(page.body)
    except (ValueError, RecursionError):
        document = None
    tags = document.get("tags") if isinstance(document, dict) else ()
    if tags is None:  # some registries say so of a repository without tags
        return []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise UpstreamError(Reason.BROKEN, f"{repository.registry} answered with no list of tags of {repository.path}")
    return tags


def _merged(tags: Sequence[str], following: str | None, own: Collection[str], query: str) -> TagPage:
    """A page of upstream with the tags that were pushed, each in its place; no longer than the client wants it."""
    wanted = dict(parse_qsl(query, keep_blank_values=True))
    last, count = wanted.get("last", ""), wanted.get("n", "")
    end = tags[-1] if following and tags else None
    placed = {tag for tag in own if tag > last and (end is None or tag <= end)}
    merged = [*tags, *sorted(placed.difference(tags))]
    if len(merged) == len(tags):
        return TagPage(tags, following)
    merged.sort()
    bound = int(count[:9]) if count.isascii() and count.isdigit() else PAGE_MAX_TAGS
    if len(merged) <= bound:
        return TagPage(merged, following)
    shown = merged[:bound]
    return TagPage(shown, urlencode({"n": bound, "last": shown[-1]}) if shown else None)


def _with_referrers(page: Page, own: Sequence[dict[str, Any]], query: str) -> Page:
    """A page of upstream with the manifests that were pushed, each once, on its first page; filtered as is asked."""
    wanted = dict(parse_qsl(query, keep_blank_values=True))
    kind = wanted.pop("artifactType", None)
    try:
        document: Any = json.loads(page.body)
        listed = [it for it in document["manifests"] if isinstance(it, dict)]
    except (ValueError, KeyError, TypeError, RecursionError):
        return page
    known = {it.get("digest") for it in listed}
    if not wanted.keys() - {"n"}:
        listed += [it for it in own if it["digest"] not in known]
    if kind is not None:
        listed = [it for it in listed if it.get("artifactType") == kind]
    body = json.dumps({**document, "manifests": listed}).encode()
    return Page(body, page.following, "artifactType" if kind is not None else page.filtered)


def _page(tags: Sequence[str], query: str, warning: str) -> TagPage:
    """The page of a list of tags in order for which a client asks."""
    wanted = dict(parse_qsl(query, keep_blank_values=True))
    text, last = wanted.get("n", ""), wanted.get("last", "")
    count = min(int(text[:9]), PAGE_MAX_TAGS) if text.isascii() and text.isdigit() else PAGE_MAX_TAGS
    after = [tag for tag in tags if tag > last]
    shown = after[:count]
    more = shown and len(shown) < len(after)
    return TagPage(shown, urlencode({"n": count, "last": shown[-1]}) if more else None, warning)
