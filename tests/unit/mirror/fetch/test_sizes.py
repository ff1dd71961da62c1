"""Whom a size is asked of, and in which order."""

import asyncio
from collections.abc import Collection, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pytest

from mirror.errors import (
    BlobUnknown,
    PeerError,
    Reason,
    SizeUnproven,
    SourceError,
    Unavailable,
    UpstreamError,
    UpstreamUnknown,
)
from mirror.fetch import Audience, Fetches, SizeQuery
from mirror.fetch.absences import Absences
from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.reference import Repository
from mirror.routers import Peer
from mirror.settings import FetchSettings, OutageSettings
from mirror.sources import Role
from mirror.sources.outages import Outages

if TYPE_CHECKING:
    from mirror.cluster.health import PeerHealth
    from mirror.cluster.view import ClusterView
    from mirror.fetch.second_opinion import SecondOpinion

T = TypeVar("T")
BLOB = Content(Repository("docker.io", "a/a"), "blobs", Digest.of(b""))


def peer(name: str) -> Peer:
    return Peer(name, "127.0.0.1", 1)


class World:
    """Members and upstream that answer as a test says, and who was asked."""

    def __init__(self, holders: Collection[str] = (), homes: Collection[str] = (), known: int | None = None) -> None:
        self.holding, self.serving, self.known = holders, homes, known
        self.asked: list[tuple[str, Role]] = []
        self.failed: list[str] = []
        self.answers: dict[str, int | Exception] = {}
        self.hang: set[str] = set()
        self.silent: set[str] = set()
        self.contradicted: set[str] = set()
        self.unconfirmed: set[str] = set()
        self.not_by: dict[str, set[str]] = {}

    def size(self, content: Content, audience: Audience) -> int | None:
        return self.known

    def holders(self, key: bytes) -> list[Peer]:
        return list(map(peer, self.holding))

    async def find_holders(self, key: bytes) -> list[Peer]:
        return self.holders(key)

    def homes(self, key: bytes) -> list[Peer]:
        return list(map(peer, self.serving))

    def note_failure(self, name: str, error: PeerError) -> None:
        self.failed.append(name)

    async def ask(self, asked: Peer, content: Content, role: Role) -> int:
        self.asked.append((asked.name, role))
        if asked.name in self.hang:
            await asyncio.Event().wait()
        return self._answer(asked.name)

    async def unless_silent(self, name: str, asking: Coroutine[Any, Any, T]) -> T:
        if name in self.silent:
            asking.close()
            raise PeerError(Reason.SILENT, "it may be gone")
        return await asking

    async def confirms(self, content: Content, source: str, size: int, not_by: Collection[str] = ()) -> bool:
        self.not_by[source] = set(not_by)
        if source in self.contradicted:
            raise SourceError(Reason.LENGTH, "others know better")
        return source not in self.unconfirmed

    async def ask_upstream(self, content: Content) -> int:
        self.asked.append(("upstream", Role.UPSTREAM))
        return self._answer("upstream")

    def _answer(self, name: str) -> int:
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def query(
        self, audience: Audience = Audience.LOCAL, size_s: float = 60.0, *, at_once: int = 1, rounds: int = 1
    ) -> int:
        class Health:
            failed = staticmethod(self.note_failure)
            unless_silent = staticmethod(self.unless_silent)

        query = SizeQuery(
            cast("Fetches", self), cast("ClusterView", self), cast("PeerHealth", Health()), self.ask, self.ask_upstream,
            absences=Absences(FetchSettings()), opinion=cast("SecondOpinion", self), outages=Outages(OutageSettings()),
            settings=FetchSettings(size_s=size_s),
        )  # fmt: skip

        async def story() -> list[int | BaseException]:
            return await asyncio.gather(*(query.size(BLOB, audience) for _ in range(at_once)), return_exceptions=True)

        results: list[int | BaseException] = []
        with asyncio.Runner() as runner:
            for _ in range(rounds):
                results += runner.run(asyncio.wait_for(story(), 30))
        sizes = set()
        for result in results:
            if isinstance(result, BaseException):
                raise result
            sizes.add(result)
        (size,) = sizes
        return size


def test_what_is_being_fetched_is_asked_of_nobody() -> None:
    world = World(["h"], ["a"], known=7)
    assert world.query() == 7
    assert world.asked == []


def test_holders_come_first_then_homes_then_upstream() -> None:
    world = World(["h"], ["a", "b"])
    world.answers = dict.fromkeys(("h", "a", "b"), PeerError(Reason.MISSING, "no"))
    world.answers["upstream"] = 7
    assert world.query() == 7
    assert world.asked == [("h", Role.HOLDER), ("a", Role.HOME), ("b", Role.HOME), ("upstream", Role.UPSTREAM)]
    assert world.failed == ["h", "a", "b"]


def test_a_member_whose_word_others_contradict_is_passed_over() -> None:
    world = World(["liar", "h"])
    world.answers, world.contradicted = {"liar": 9, "h": 7}, {"liar"}
    assert world.query() == 7


def test_a_client_is_not_told_what_one_member_alone_says() -> None:
    world = World(["h"])
    world.answers, world.unconfirmed = {"h": 7, "upstream": UpstreamError(Reason.TIMEOUT, "no answer")}, {"h"}
    with pytest.raises(SizeUnproven, match="alone says"):
        world.query()
    assert world.query(Audience.MEMBER) == 7


def test_a_home_that_may_repeat_what_one_holder_says_does_not_confirm_it() -> None:
    world = World(["h"], ["a"])
    world.answers, world.unconfirmed = {"h": 7, "a": 7, "upstream": UpstreamError(Reason.TIMEOUT, "no")}, {"h", "a"}
    with pytest.raises(SizeUnproven):
        world.query()
    assert world.not_by == {"h": set(), "a": {"h"}}


def test_upstream_may_confirm_what_one_member_alone_says() -> None:
    world = World(["h"])
    world.answers, world.unconfirmed = {"h": 9, "upstream": 7}, {"h"}
    assert world.query() == 7


def test_for_a_member_no_other_home_is_asked() -> None:
    world = World(["h"], ["a"])
    world.answers = {"h": PeerError(Reason.MISSING, "no"), "upstream": 7}
    assert world.query(Audience.MEMBER) == 7
    assert ("a", Role.HOME) not in world.asked


def test_a_home_that_knows_that_upstream_has_nothing_is_believed_so_far_that_upstream_is_asked_next() -> None:
    world = World([], ["a", "b"])
    world.answers = {"a": PeerError(Reason.UNKNOWN, "404"), "upstream": UpstreamUnknown("404")}
    with pytest.raises(BlobUnknown):
        world.query()
    assert [name for name, _ in world.asked] == ["a", "upstream"]


def test_silent_members_are_not_waited_for_longer_than_a_client_waits() -> None:
    world = World(["h"])
    world.hang, world.answers = {"h"}, {"upstream": 7}
    assert world.query(size_s=0.01) == 7


def test_whoever_asks_the_same_at_once_waits_for_one_answer() -> None:
    world = World()
    world.answers = {"upstream": 7}
    assert world.query(at_once=5) == 7
    assert world.asked == [("upstream", Role.UPSTREAM)]


def test_what_nobody_has_is_asked_for_once_in_a_while() -> None:
    world = World()
    world.answers = {"upstream": UpstreamUnknown("404")}
    with pytest.raises(BlobUnknown):
        world.query(at_once=3, rounds=3)
    assert world.asked == [("upstream", Role.UPSTREAM)]


def test_a_holder_that_turns_up_is_asked_though_nobody_had_it_a_moment_ago() -> None:
    world = World()
    world.answers = {"upstream": UpstreamUnknown("404"), "h": 7}

    def turn_up(key: bytes) -> list[Peer]:
        return [peer("h")] if world.asked else []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world, "holders", turn_up)
        with pytest.raises(BlobUnknown):
            world.query(rounds=2)
    assert world.asked == [("upstream", Role.UPSTREAM), ("h", Role.HOLDER)]


def test_a_silent_member_is_not_waited_for_unless_nobody_else_knows() -> None:
    world = World(["h"], ["a"])
    world.silent = {"h"}
    world.answers = {"h": 7, "a": 7}
    assert world.query() == 7
    assert world.asked == [("a", Role.HOME)]
    world = World(["h"])
    world.silent = {"h"}
    world.answers = {"h": 7, "upstream": UpstreamError(Reason.UNREACHABLE, "no")}
    assert world.query() == 7
    assert world.asked == [("upstream", Role.UPSTREAM), ("h", Role.HOLDER)]


def test_a_home_that_cannot_reach_the_registry_has_one_more_asked_beside_upstream() -> None:
    out = UpstreamError(Reason.OUTAGE, "no")
    world = World((), ["a", "b", "c"])
    world.answers = {"a": PeerError(Reason.OUTAGE, "no"), "b": 7, "c": 7, "upstream": out}
    assert world.query() == 7
    assert {name for name, _ in world.asked} == {"a", "b", "upstream"}
    world.answers["b"] = PeerError(Reason.OUTAGE, "no")
    with pytest.raises(Unavailable):
        world.query()
    assert ("c", Role.HOME) not in world.asked, "two are enough"
