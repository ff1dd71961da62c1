"""Which members are asked about a tag, in which order, and what their failures mean."""

import asyncio
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pytest

from mirror.cluster.homes import turned_key
from mirror.errors import PeerError, Reason
from mirror.images.member_tags import Claim, MemberTags
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference
from mirror.routers import Peer
from mirror.settings import ImageSettings, OutageSettings
from mirror.sources import Role
from mirror.sources.outages import Outages
from mirror.sources.words import Sees, Words
from mirror.stores import Tag

if TYPE_CHECKING:
    from mirror.cluster.health import PeerHealth
    from mirror.cluster.view import ClusterView

T = TypeVar("T")
NGINX = Reference.parse("nginx:1")
FROM_UPSTREAM = Tag(Digest.of(b"1"), 1.0, "upstream")
FROM_RUNTIME = Tag(Digest.of(b"2"), 2.0, "runtime")


def peer(name: str) -> Peer:
    return Peer(name, "127.0.0.1", 1)


class Cluster:
    """Members that answer as a test says; who was asked is noted."""

    def __init__(self, **answers: Tag | Reason) -> None:
        self.answers = answers
        self.asked: list[tuple[str, Role]] = []
        self.failures: list[str] = []
        self.after: list[str] = []
        self.rings: list[bytes] = []
        """The keys of the rings that were asked for."""
        self.rechecks: list[str] = []
        self.distrusted: set[str] = set()
        self.silent: set[str] = set()

    async def find_holders(self, key: bytes) -> list[Peer]:
        return list(map(peer, self.answers))

    def homes(self, key: bytes) -> list[Peer]:
        self.rings.append(key)
        return list(map(peer, self.answers))

    def later_homes(self, key: bytes) -> list[Peer]:
        self.rings.append(key)
        return list(map(peer, self.after))

    def failed(self, name: str, error: PeerError) -> None:
        self.failures.append(name)

    async def unless_silent(self, name: str, asking: Coroutine[Any, Any, T]) -> T:
        if name in self.silent:
            asking.close()
            raise PeerError(Reason.SILENT, "it may be gone")
        return await asking

    async def ask(self, peer: Peer, reference: Reference, role: Role = Role.HOLDER, *, recheck: bool = False) -> Tag:
        self.asked.append((peer.name, role))
        if recheck:
            self.rechecks.append(peer.name)
        answer = self.answers[peer.name]
        if isinstance(answer, Reason):
            raise PeerError(answer, "no")
        return answer

    def tags(self, settings: ImageSettings | None = None) -> MemberTags:
        self.outages = Outages(OutageSettings())
        self.words = Words(OutageSettings(), "me", {"docker.io"})
        return MemberTags(
            cast("ClusterView", self),
            cast("PeerHealth", self),
            self.ask,
            lambda: self.distrusted,
            settings,
            self.outages,
            self.words,
        )


def test_all_that_may_know_a_tag_are_asked_and_one_that_does_not_is_no_failure() -> None:
    cluster = Cluster(a=FROM_UPSTREAM, b=Reason.MISSING, c=Reason.STALLED, d=FROM_RUNTIME)
    known = asyncio.run(cluster.tags().known(NGINX))
    assert [(found.name, tag) for found, tag in known] == [("a", FROM_UPSTREAM), ("d", FROM_RUNTIME)]
    assert cluster.failures == ["c"]
    assert {role for _, role in cluster.asked} == {Role.HOLDER}


def test_no_more_members_are_asked_than_is_allowed() -> None:
    cluster = Cluster(a=FROM_UPSTREAM, b=FROM_UPSTREAM, c=FROM_UPSTREAM)
    asyncio.run(cluster.tags(ImageSettings(tag_members_max=2)).known(NGINX))
    assert [name for name, _ in cluster.asked] == ["a", "b"]


def test_homes_are_asked_in_turn_until_one_says_what_upstream_says() -> None:
    cluster = Cluster(a=Reason.STALLED, b=FROM_RUNTIME, c=FROM_UPSTREAM, d=FROM_UPSTREAM)
    assert asyncio.run(cluster.tags().from_homes(NGINX)) == Claim(peer("c"), FROM_UPSTREAM)
    assert cluster.asked == [(name, Role.HOME) for name in "abc"]
    assert cluster.failures == ["a"]


@pytest.mark.parametrize("reason", [Reason.UNABLE, Reason.UNKNOWN])
def test_when_upstream_gave_a_home_no_answer_or_no_tag_this_node_is_to_ask_itself(reason: Reason) -> None:
    cluster = Cluster(a=reason, b=FROM_UPSTREAM)
    assert asyncio.run(cluster.tags().from_homes(NGINX)) is None
    assert [name for name, _ in cluster.asked] == ["a"]


def test_later_homes_are_asked_apart() -> None:
    cluster = Cluster(a=Reason.STALLED, b=FROM_UPSTREAM)
    cluster.after = ["b"]
    assert asyncio.run(cluster.tags().from_later_homes(NGINX)) == Claim(peer("b"), FROM_UPSTREAM)
    assert [name for name, _ in cluster.asked] == ["b"]


def test_the_ring_of_a_tag_is_that_of_the_present_window(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()
    now = [1e9]
    monkeypatch.setattr("time.time", lambda: now[0])
    tags = cluster.tags(ImageSettings(tag_window_s=600.0))
    for now[0] in (1e9, 1e9 + 600.0):
        asyncio.run(tags.from_homes(NGINX))
        asyncio.run(tags.from_later_homes(NGINX))
    keys = [turned_key(NGINX.key, at, 600.0) for at in (1e9, 1e9 + 600.0)]
    assert cluster.rings == [keys[0], keys[0], keys[1], keys[1]]


def test_who_contradicted_upstream_is_asked_about_no_tag() -> None:
    cluster = Cluster(a=FROM_UPSTREAM, b=FROM_UPSTREAM)
    cluster.distrusted = {"a"}
    assert asyncio.run(cluster.tags().from_homes(NGINX)) == Claim(peer("b"), FROM_UPSTREAM)
    assert [found.name for found, _ in asyncio.run(cluster.tags().known(NGINX))] == ["b"]
    assert {name for name, _ in cluster.asked} == {"b"}


def test_a_member_in_doubt_is_told_to_ask_upstream_anew() -> None:
    cluster = Cluster(a=FROM_UPSTREAM)
    assert asyncio.run(cluster.tags().recheck(peer("a"), NGINX)) == FROM_UPSTREAM
    assert (cluster.asked, cluster.rechecks) == ([("a", Role.HOME)], ["a"])


def test_a_home_that_cannot_reach_the_registry_is_not_the_last_one_that_is_asked() -> None:
    cluster = Cluster(a=Reason.OUTAGE, b=FROM_UPSTREAM)
    tags = cluster.tags()
    assert asyncio.run(tags.from_homes(NGINX)) == Claim(peer("b"), FROM_UPSTREAM)
    assert not cluster.outages.is_told("docker.io", time.monotonic())


def test_after_two_homes_that_cannot_reach_the_registry_none_is_asked_for_a_while() -> None:
    cluster = Cluster(a=Reason.OUTAGE, b=Reason.OUTAGE, c=FROM_UPSTREAM)
    tags = cluster.tags()
    assert asyncio.run(tags.from_homes(NGINX)) is None
    assert asyncio.run(tags.from_homes(Reference.parse("nginx:2"))) is None
    assert cluster.asked == [("a", Role.HOME), ("b", Role.HOME)]
    assert asyncio.run(tags.from_homes(Reference.parse("ghcr.io/x/y:1"))) is None
    assert len(cluster.asked) == 4, "another registry is another matter"


def test_what_a_silent_member_knows_others_are_asked_and_it_is_asked_again_where_nobody_else_knows() -> None:
    cluster = Cluster(a=FROM_RUNTIME, b=FROM_UPSTREAM)
    cluster.silent = {"a"}
    assert asyncio.run(cluster.tags().from_homes(NGINX)) == Claim(peer("b"), FROM_UPSTREAM)
    assert asyncio.run(cluster.tags().known(NGINX)) == [(peer("b"), FROM_UPSTREAM)]
    assert cluster.asked == [("b", Role.HOME), ("b", Role.HOLDER)]
    cluster.silent = {"a", "b"}
    assert len(asyncio.run(cluster.tags().known(NGINX))) == 2


def test_homes_that_may_not_ask_are_passed_over_however_many_they_are() -> None:
    cluster = Cluster(**dict.fromkeys("abcdefgh", Reason.RATE_LIMITED), i=Reason.STALLED, j=FROM_UPSTREAM)
    assert asyncio.run(cluster.tags(ImageSettings(tag_homes_max=2)).from_homes(NGINX)) == Claim(
        peer("j"), FROM_UPSTREAM
    )
    cluster = Cluster(a=Reason.STALLED, b=Reason.STALLED, c=FROM_UPSTREAM)
    assert asyncio.run(cluster.tags(ImageSettings(tag_homes_max=2)).from_homes(NGINX)) is None


def test_homes_to_which_the_registry_is_out_as_they_say_are_not_asked() -> None:
    cluster = Cluster(a=FROM_UPSTREAM, b=FROM_UPSTREAM)
    tags = cluster.tags()
    said: list[bytes] = []
    Words(OutageSettings(), "a", {"docker.io"}, said.append).say("docker.io", Sees.OUTAGE, 0.0)
    cluster.words.heard(said[0], time.monotonic())
    assert asyncio.run(tags.from_homes(NGINX)) == Claim(peer("b"), FROM_UPSTREAM)
    assert [name for name, _ in cluster.asked] == ["b"]
    assert asyncio.run(tags.from_homes(Reference.parse("ghcr.io/x/y:1"))) == Claim(peer("a"), FROM_UPSTREAM)
