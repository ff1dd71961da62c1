"""Lists: upstream's pages, and what this node and the members know where upstream does not say."""

import asyncio
import json
from collections.abc import Collection, Coroutine
from typing import Any

import pytest

from mirror.errors import (
    Denied,
    NameUnknown,
    OciError,
    PeerError,
    Reason,
    Unavailable,
    UpstreamError,
    UpstreamOffline,
    UpstreamOut,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamUnknown,
)
from mirror.images.holdings import Holdings
from mirror.images.listings import Listings, TagPage
from mirror.oci.digest import Digest
from mirror.oci.reference import Repository
from mirror.routers import Peer
from mirror.sources import Page
from tests.static_router import StaticRouter

APP = Repository("lab", "team/app")
DIGEST = Digest.of(b"x")
MEMBERS = [Peer(name, "127.0.0.1", number) for number, name in enumerate(["b", "c", "d"], 1)]


class Upstream:
    def __init__(self, said: Page | UpstreamError) -> None:
        self.said = said
        self.asked: list[tuple[Repository, str, str]] = []

    async def page(self, repository: Repository, what: str, query: str) -> Page:
        self.asked.append((repository, what, query))
        if isinstance(self.said, UpstreamError):
            raise self.said
        return self.said


class Own(Holdings):
    """Holdings with tags."""

    def __init__(self, *tags: str) -> None:
        super().__init__([], StaticRouter(MEMBERS[0]))
        self._known = set(tags)

    def tags_of(self, repository: Repository) -> set[str]:
        return self._known if repository == APP else set()


async def ask(peer: Peer, repository: Repository) -> Collection[str]:
    if peer.name == "d":
        raise PeerError(Reason.STALLED, "d is silent")
    return {"b": ["1.0", "1.1"], "c": ["1.1", "2.0"]}[peer.name] if repository == APP else []


def listings(said: Page | UpstreamError, *own: str) -> tuple[Listings, Upstream]:
    upstream = Upstream(said)
    return Listings(upstream, Own(*own), lambda: MEMBERS, ask), upstream


def run(asking: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asking)


@pytest.mark.parametrize(
    ("body", "tags"), [({"name": "x", "tags": ["b", "a"]}, ["b", "a"]), ({"tags": None}, []), ({"tags": []}, [])]
)
def test_upstreams_page_is_given_on_with_where_the_next_one_begins(body: Any, tags: list[str]) -> None:
    lists, upstream = listings(Page(json.dumps(body).encode(), "n=2&last=a"), "own")
    assert run(lists.tags(APP, "n=2")) == TagPage(tags, "n=2&last=a")
    assert upstream.asked == [(APP, "tags/list", "n=2")]


@pytest.mark.parametrize(
    "said",
    [
        UpstreamOut("silent", 5),
        UpstreamOffline("never"),
        UpstreamUnknown("404"),
        UpstreamRefused("not configured"),
        UpstreamRateLimited("429", 60),
        Page(b"<html>"),
        Page(b"[]"),
        Page(b'{"tags": "a"}'),
        Page(b'{"tags": [1]}'),
        Page(b"[" * 100_000),
    ],
)
def test_where_upstream_does_not_say_what_members_know_is_the_list(said: Page | UpstreamError) -> None:
    lists, _ = listings(said, "own")
    page = run(lists.tags(APP, ""))
    assert (page.tags, page.following) == (["1.0", "1.1", "2.0", "own"], None)
    assert page.warning.startswith("only what members know: ")


@pytest.mark.parametrize(
    "said", [UpstreamOut("silent", 5), Page(json.dumps({"tags": ["2.0", "1.1", "own", "1.0"]}).encode())]
)
def test_that_list_has_pages_too_and_so_has_that_of_a_registry_that_makes_none(said: Page | UpstreamError) -> None:
    lists, _ = listings(said, "own")
    query, seen = "n=2", []
    while True:
        page = run(lists.tags(APP, query))
        seen.append(list(page.tags))
        if page.following is None:
            break
        query = page.following
    assert seen == [["1.0", "1.1"], ["2.0", "own"]]
    assert run(lists.tags(APP, "last=1.1")).tags == ["2.0", "own"]
    assert run(lists.tags(APP, "n=1&last=zzz")).tags == []
    assert run(lists.tags(APP, "n=0")).tags == []
    for odd in ("n=-1", "n=x", "n=%D9%A3", "n=99999999999999999999", "n"):
        assert len(run(lists.tags(APP, odd)).tags) == 4


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (UpstreamUnknown("404"), NameUnknown),
        (UpstreamOffline("never"), NameUnknown),
        (UpstreamRefused("not configured"), Denied),
        (UpstreamError(Reason.AUTH, "wrong password"), Denied),
        (UpstreamOut("silent", 5), Unavailable),
        (Page(b"{}"), Unavailable),
    ],
)
def test_where_nobody_knows_a_tag_the_client_is_told_why(said: Page | UpstreamError, error: type[OciError]) -> None:
    lists, _ = listings(said)
    other = Repository("lab", "team/other")
    if isinstance(said, Page):
        said = UpstreamError(Reason.STATUS, "500")
        lists, _ = listings(said)
    with pytest.raises(error):
        run(lists.tags(other, ""))
