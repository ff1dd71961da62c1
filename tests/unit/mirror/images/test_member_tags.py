"""Which members are asked about a tag, in which order, and what their failures mean."""

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from mirror.errors import PeerError, Reason, UpstreamUnknown
from mirror.images.member_tags import MemberTags
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference
from mirror.routers import Peer
from mirror.settings import ImageSettings
from mirror.sources import Role
from mirror.stores import Tag

if TYPE_CHECKING:
    from mirror.cluster.health import PeerHealth
    from mirror.cluster.view import ClusterView

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

    def holders(self, key: bytes) -> list[Peer]:
        return list(map(peer, self.answers))

    homes = holders

    def later_homes(self, key: bytes) -> list[Peer]:
        return list(map(peer, self.after))

    def failed(self, name: str, error: PeerError) -> None:
        self.failures.append(name)

    async def ask(self, asked: Peer, reference: Reference, role: Role) -> Tag:
        self.asked.append((asked.name, role))
        answer = self.answers[asked.name]
        if isinstance(answer, Reason):
            raise PeerError(answer, "no")
        return answer

    def tags(self, settings: ImageSettings | None = None) -> MemberTags:
        return MemberTags(cast("ClusterView", self), cast("PeerHealth", self), self.ask, settings)


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
    assert asyncio.run(cluster.tags().from_homes(NGINX, trusted=True)) == FROM_UPSTREAM
    assert cluster.asked == [(name, Role.HOME) for name in "abc"]
    assert cluster.failures == ["a"]


@pytest.mark.parametrize("trusted", [True, False])
def test_a_home_that_says_that_upstream_has_no_such_tag_is_believed_only_if_it_sees_as_much(*, trusted: bool) -> None:
    cluster = Cluster(a=Reason.UNKNOWN, b=FROM_UPSTREAM)
    asking = cluster.tags().from_homes(NGINX, trusted=trusted)
    if trusted:
        with pytest.raises(UpstreamUnknown):
            asyncio.run(asking)
    else:
        assert asyncio.run(asking) == FROM_UPSTREAM


def test_when_a_home_waited_for_upstream_in_vain_the_others_are_not_asked_to_wait_as_well() -> None:
    cluster = Cluster(a=Reason.UNABLE, b=FROM_UPSTREAM)
    assert asyncio.run(cluster.tags().from_homes(NGINX, trusted=True)) is None
    assert [name for name, _ in cluster.asked] == ["a"]


def test_later_homes_are_asked_apart() -> None:
    cluster = Cluster(a=Reason.STALLED, b=FROM_UPSTREAM)
    cluster.after = ["b"]
    assert asyncio.run(cluster.tags().from_later_homes(NGINX, trusted=True)) == FROM_UPSTREAM
    assert [name for name, _ in cluster.asked] == ["b"]
