"""Lists of the tags of a repository.

Upstream has them, page by page; of a registry that sends all at once, as docker-registry up to 2.8 does, the pages are
made here. While it does not answer, or does not know the repository, the tags that this node and the members know are
the list: all that can be pulled then. What was pushed to this cluster stands in its place among what upstream has.

Source: OCI distribution-spec, "Listing Tags".
"""

import asyncio
import json
import logging
import math
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from ..errors import NameUnknown, PeerError, Reason, UpstreamError
from ..oci.reference import Repository
from ..routers import Peer
from ..sources import ListSource, Page
from .holdings import Holdings
from .own_tags import OwnTags
from .refusals import refusal

log = logging.getLogger(__name__)

PAGE_MAX_TAGS = 10_000
"""Bounds the tags on one page that this node makes itself; a client may ask for fewer."""
MEMBERS_MAX = 128
"""Bounds the members that are asked for their tags, as many as a cluster has."""

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
        pushed: the tags that were pushed; None: none can be.
    """

    def __init__(
        self,
        upstream: ListSource,
        holdings: Holdings,
        members: Callable[[], Sequence[Peer]],
        ask: AsksForTags,
        pushed: OwnTags | None = None,
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
            tags = _tags_in(page, repository)
            own = [] if self._pushed is None else self._pushed.tags_of(repository)
            is_all = page.following is None and (_last(query) in (*tags, "") or len(tags) > _count(query))
            if is_all:
                return _page(sorted({*tags, *own}), query, len(tags) + len(own))
            return _merged(tags, page.following, own, query)
        except UpstreamError as error:
            known = sorted(await self._known(repository))
            if not known and not (self._pushed is not None and self._pushed.has_any(repository)):
                raise refusal(f"no member knows a tag of {repository}", error, NameUnknown) from None
            log.debug("tags of %s: the %d that members know, instead of upstream: %s", repository, len(known), error)
            return _page(known, query, PAGE_MAX_TAGS, f"only what members know: {error}")

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
    last, end = _last(query), tags[-1] if following and tags else None
    placed = {tag for tag in own if tag > last and (end is None or tag <= end)}
    merged = [*tags, *sorted(placed.difference(tags))]
    if len(merged) == len(tags):
        return TagPage(tags, following)
    merged.sort()
    bound = int(min(_count(query), PAGE_MAX_TAGS))
    if len(merged) <= bound:
        return TagPage(merged, following)
    shown = merged[:bound]
    return TagPage(shown, urlencode({"n": bound, "last": shown[-1]}) if shown else None)


def _page(tags: Sequence[str], query: str, most: int, warning: str | None = None) -> TagPage:
    """The page of a list of tags in order for which a client asks, with so many at most."""
    count, last = int(min(_count(query), most)), _last(query)
    after = [tag for tag in tags if tag > last]
    shown = after[:count]
    more = shown and len(shown) < len(after)
    return TagPage(shown, urlencode({"n": count, "last": shown[-1]}) if more else None, warning)


def _count(query: str) -> float:
    """How many tags a client wants at most."""
    text = dict(parse_qsl(query, keep_blank_values=True)).get("n", "")
    return int(text[:9]) if text.isascii() and text.isdigit() else math.inf


def _last(query: str) -> str:
    """The tag after which the page begins that a client wants; nothing for the first page."""
    return dict(parse_qsl(query, keep_blank_values=True)).get("last", "")
