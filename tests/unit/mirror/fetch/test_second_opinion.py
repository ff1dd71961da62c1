"""Who is believed about a size."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pytest

from mirror.errors import PeerError, Reason, SourceError, UpstreamError
from mirror.fetch.second_opinion import SecondOpinion, StatedSizes
from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.reference import Repository
from mirror.routers import Peer
from mirror.settings import FetchSettings
from mirror.sources import UPSTREAM, Role

if TYPE_CHECKING:
    from mirror.cluster.health import PeerHealth
    from mirror.cluster.view import ClusterView

T = TypeVar("T")
BLOB = Content(Repository("docker.io", "a/a"), "blobs", Digest.of(b"a blob"))
MANIFEST = Content(Repository("docker.io", "a/a"), "manifests", Digest.of(b"a manifest"))


class World:
    """Holders and upstream, each with the size that it states; None: it does not answer."""

    def __init__(self, holders: Mapping[str, int | None], upstream: int | None = None) -> None:
        self.says = {**holders, UPSTREAM: upstream}
        self.asked: list[str] = []
        self.doubted: list[str] = []
        self.told: list[str] = []
        self.still: set[str] = set()
        """Members that give no sign of life, but answer whoever waits for them."""
        self.stated = StatedSizes(100)
        self.opinion = SecondOpinion(
            self.stated,
            cast("ClusterView", self),
            cast("PeerHealth", self),
            ask_member=self._ask_member,
            ask_upstream=self._ask_upstream,
            settings=FetchSettings(),
        )

    def holders(self, key: bytes) -> list[Peer]:
        return [Peer(name, "127.0.0.1", 1) for name in self.says if name != UPSTREAM]

    def doubt(self, name: str, what: object, *, sent_it: bool = True) -> None:
        assert not sent_it, "that is the word of others"
        self.doubted.append(name)

    async def unless_silent(self, name: str, asking: Coroutine[Any, Any, T]) -> T:
        if name in self.still:
            asking.close()
            raise PeerError(Reason.SILENT, "no sign of life")
        return await asking

    def silent(self) -> set[str]:
        return set(self.still)

    def last_holders(self, key: bytes) -> list[Peer]:
        return []

    def tell(self, name: str, content: Content, wrong: tuple[int, int]) -> None:
        self.told.append(name)

    async def _ask_member(self, peer: Peer, content: Content, role: Role) -> int:
        self.asked.append(peer.name)
        if (size := self.says[peer.name]) is None:
            raise PeerError(Reason.MISSING, "no")
        return size

    async def _ask_upstream(self, content: Content, expected: int) -> int:
        self.asked.append(UPSTREAM)
        if (size := self.says[UPSTREAM]) is None:
            raise UpstreamError(Reason.UNREACHABLE, "no")
        return size

    def confirms(self, source: str, size: int, content: Content = BLOB) -> bool:
        return asyncio.run(self.opinion.confirms(content, source, size))


def test_upstream_is_believed_and_so_is_what_a_manifest_states_and_nobody_is_asked() -> None:
    world = World({"a": 7, "b": 7}, 7)
    assert world.confirms(UPSTREAM, 9)
    world.stated.note([(BLOB.digest.hex, 7)])
    assert world.confirms("a", 7)
    assert world.confirms("a", 9, MANIFEST), "no head of a manifest leaves before its digest is right"
    assert world.asked == []


def test_another_holder_is_enough_and_upstream_is_not_asked() -> None:
    world = World({"a": 7, "b": 7, "c": None}, 7)
    assert world.confirms("a", 7)
    assert set(world.asked) == {"b", "c"}


def test_a_holder_that_may_only_be_busy_is_waited_for_where_nobody_else_knows() -> None:
    world = World({"a": 7, "b": 7})
    world.still = {"b"}
    assert world.confirms("a", 7)
    assert world.asked == [UPSTREAM, "b"]
    world = World({"a": 7, "b": 7}, 7)
    world.still = {"b"}
    assert world.confirms("a", 7)
    assert world.asked == [UPSTREAM]


def test_upstream_decides_where_no_holder_says_the_same() -> None:
    assert World({"a": 7, "b": 9}, 7).confirms("a", 7)
    assert World({"a": 7}, 7).confirms("a", 7)
    world = World({"liar": 2**40, "b": None}, 7)
    with pytest.raises(SourceError, match="others say 7"):
        world.confirms("liar", 2**40)
    assert world.doubted == world.told == ["liar"]


def test_without_upstream_two_who_agree_contradict_one_and_one_word_against_another_decides_nothing() -> None:
    with pytest.raises(SourceError, match="others say 7"):
        World({"liar": 9, "b": 7, "c": 7}).confirms("liar", 9)
    assert not World({"a": 9, "b": 7}).confirms("a", 9)
    assert not World({"a": 9}).confirms("a", 9)
    world = World({"liar": 9, "b": 7})
    world.stated.note([(BLOB.digest.hex, 7)])
    with pytest.raises(SourceError):
        world.confirms("liar", 9)


def test_a_manifest_alone_contradicts_nobody_for_anybody_can_write_one() -> None:
    world = World({"a": 7})
    world.stated.note([(BLOB.digest.hex, 9)])
    assert not world.confirms("a", 7)
    assert world.doubted == []


def test_manifests_that_disagree_count_for_nothing_and_what_is_remembered_is_bounded() -> None:
    stated = StatedSizes(2)
    stated.note([(BLOB.digest.hex, 7), (BLOB.digest.hex, 9)])
    assert stated.size(BLOB.digest) is None
    stated.note([(BLOB.digest.hex, 9)])
    assert stated.size(BLOB.digest) is None, "whoever wrote one of them may have written both"
    stated.note([("0" * 64, 1), ("1" * 64, 2)])
    assert len(stated) == 2
