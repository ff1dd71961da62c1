"""Whom a node leaves alone after which failure, and for how long."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from mirror.cluster.health import PeerHealth, Trouble
from mirror.errors import PeerError, Reason
from mirror.events import BanBegan, BanEnded, Event, Tell, nobody
from mirror.metrics import Metrics
from mirror.oci.content import Content
from mirror.routers import Peer
from mirror.settings import ClusterSettings
from mirror.sources import Life, Role

PEER = Peer("a", "127.0.0.1", 1)
Story = Callable[[PeerHealth, asyncio.Event], Coroutine[Any, Any, None]]


def play(
    story: Story, *, settings: ClusterSettings | None = None, gone: bool = False, on_event: Tell = nobody
) -> Metrics:
    """Tell a story in which a member gives a sign of life once an event is set, or is gone."""
    metrics = Metrics()

    async def tell() -> None:
        alive = asyncio.Event()

        async def is_alive(peer: Peer) -> bool:
            await alive.wait()
            return True

        health = PeerHealth(
            lambda name: None if gone else PEER,
            is_alive,
            notices,
            metrics,
            settings or ClusterSettings(probe_s=0.0),
            on_event,
        )
        try:
            await story(health, alive)
        finally:
            await health.close()

    asyncio.run(asyncio.wait_for(tell(), 30))
    return metrics


async def notices(peer: Peer, content: Content, wrong: tuple[int, int]) -> None:
    raise AssertionError("nobody is told anything here")


async def until_usable(health: PeerHealth) -> None:
    while health.unusable():
        await asyncio.sleep(0)


@pytest.mark.parametrize("reason", [Reason.UNREACHABLE, Reason.TIMEOUT, Reason.STALLED])
def test_a_member_out_of_reach_is_left_alone_until_it_gives_a_sign_of_life(reason: Reason) -> None:
    async def story(health: PeerHealth, alive: asyncio.Event) -> None:
        before = health.version
        health.failed("a", PeerError(reason, "no answer"))
        assert health.unusable() == {"a"}
        assert health.awaits(["b", "a"])
        assert not health.awaits(["b"])
        assert health.version > before
        seen = health.version
        alive.set()
        await until_usable(health)
        assert not health.awaits(["a"])
        assert health.version > seen

    play(story)


def test_who_follows_is_told_that_a_member_is_in_reach_again() -> None:
    async def story(health: PeerHealth, alive: asyncio.Event) -> None:
        health.failed("a", PeerError(Reason.STALLED, "no answer"))
        told = asyncio.Event()
        with health.followed(told.set):
            alive.set()
            await told.wait()
        assert not health.unusable()

    play(story)


def test_a_member_that_gossip_knows_no_more_is_not_waited_for() -> None:
    async def story(health: PeerHealth, alive: asyncio.Event) -> None:
        health.failed("a", PeerError(Reason.STALLED, "no answer"))
        await until_usable(health)

    play(story, gone=True)


def test_without_a_sign_of_life_it_is_tried_like_all_others_after_a_while() -> None:
    async def story(health: PeerHealth, alive: asyncio.Event) -> None:
        health.failed("a", PeerError(Reason.STALLED, "no answer"))
        await until_usable(health)

    play(story, settings=ClusterSettings(probe_s=0.0, out_of_reach_max_s=0.01))


@pytest.mark.parametrize("reason", [Reason.MISSING, Reason.BUSY, Reason.UNKNOWN, Reason.UNABLE, Reason.STATUS])
def test_a_failure_that_concerns_one_blob_alone_makes_nobody_unusable(reason: Reason) -> None:
    async def story(health: PeerHealth, alive: asyncio.Event) -> None:
        health.failed("a", PeerError(reason, "no"))
        assert health.unusable() == set()

    metrics = play(story)
    labels = {"source": "peer", "reason": reason.value}
    assert metrics.registry.get_sample_value("skvaller_source_failures_total", labels) == 1


def test_a_question_that_was_lost_does_not_hold_the_next_one_up() -> None:
    async def story() -> None:
        asked = 0

        async def is_alive(peer: Peer) -> bool:
            nonlocal asked
            asked += 1
            if asked == 1:
                await asyncio.Event().wait()
            return True

        health = PeerHealth(lambda name: PEER, is_alive, notices, Metrics(), ClusterSettings(probe_s=0.001))
        health.failed("a", PeerError(Reason.STALLED, "no answer"))
        await until_usable(health)
        await health.close()

    asyncio.run(asyncio.wait_for(story(), 30))


def test_the_questions_to_one_member_that_are_under_way_are_bounded() -> None:
    async def story() -> None:
        asked, ended = 0, 0

        async def is_alive(peer: Peer) -> bool:
            nonlocal asked, ended
            asked += 1
            try:
                await asyncio.Event().wait()
            finally:
                ended += 1
            return True

        health = PeerHealth(lambda name: PEER, is_alive, notices, Metrics(), ClusterSettings(probe_s=0.0))
        health.failed("a", PeerError(Reason.STALLED, "no answer"))
        while asked < 3:
            await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
        assert asked == 3
        await health.close()
        assert ended == 3, "none is left behind"

    asyncio.run(asyncio.wait_for(story(), 30))


def test_a_home_that_breaks_off_has_lost_upstream_and_is_asked_for_everything_else() -> None:
    async def story(health: PeerHealth, alive: asyncio.Event) -> None:
        health.failed("a", PeerError(Reason.BROKEN, "no"), Role.HOME)
        assert health.unusable() == set()
        health.failed("a", PeerError(Reason.RANGE, "no"), Role.HOME)
        assert health.unusable() == {"a"}

    play(story)


@pytest.mark.parametrize("reason", [Reason.BROKEN, Reason.RANGE])
def test_a_member_that_breaks_the_protocol_is_banned_for_a_while(reason: Reason) -> None:
    async def story(health: PeerHealth, alive: asyncio.Event) -> None:
        health.failed("a", PeerError(reason, "no"))
        assert health.unusable() == {"a"}
        assert not health.awaits(["a"]), "a sign of life does not lift a ban"

    play(story)


def test_who_sent_corrupt_bytes_is_banned_and_no_shorter_ban_replaces_that() -> None:
    async def story(health: PeerHealth, alive: asyncio.Event) -> None:
        health.sent_corrupt("a", "sha256:…")
        health.failed("a", PeerError(Reason.BROKEN, "no"))
        assert health.unusable() == {"a"}

    metrics = play(story, settings=ClusterSettings(corrupt_ban_s=math.inf))
    assert metrics.registry.get_sample_value("skvaller_corrupt_peers_total") == 1


def test_a_ban_ends() -> None:
    async def story(health: PeerHealth, alive: asyncio.Event) -> None:
        health.sent_corrupt("a", "sha256:…")
        assert health.unusable() == set()

    play(story, settings=ClusterSettings(corrupt_ban_s=0.0))


def test_doubt_costs_seconds_and_doubles_with_each_time_up_to_the_ban_for_a_proven_lie(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "mirror.cluster.health")

    async def story(health: PeerHealth, alive: asyncio.Event) -> None:
        for _ in range(5):
            health.doubt("a", "sha256:…")
        assert health.unusable() == {"a"}

    metrics = play(story, settings=ClusterSettings(doubt_s=10.0, corrupt_ban_s=60.0))
    said = [record.getMessage().rpartition("alone for ")[2] for record in caplog.records]
    assert said == ["10 s", "20 s", "40 s", "60 s", "60 s"]
    assert metrics.registry.get_sample_value("skvaller_corrupt_peers_total") == 0


def test_the_word_of_others_costs_the_shortest_doubt_however_often_they_give_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(health: PeerHealth, alive: asyncio.Event) -> None:
        for _ in range(3):
            health.doubt("a", "sha256:…", sent_it=False)

    play(story, settings=ClusterSettings(doubt_s=10.0))
    assert all("alone for 10 s" in record.getMessage() for record in caplog.records)


def test_a_doubt_ends_and_a_later_one_is_the_first_again() -> None:
    async def story(health: PeerHealth, alive: asyncio.Event) -> None:
        for _ in range(2):
            health.doubt("a", "sha256:…")
            assert health.unusable() == set()

    play(story, settings=ClusterSettings(doubt_s=0.0, corrupt_ban_s=0.0))


def test_a_silent_member_is_the_last_resort_until_it_is_heard_or_is_gone() -> None:
    async def story(health: PeerHealth, alive: asyncio.Event) -> None:
        told: list[set[str]] = []
        with health.followed(lambda: told.append(health.silent())):
            health.noticed(PEER, Life.ALIVE)
            assert told == [], "that is no news"
            health.noticed(PEER, Life.SILENT)
            assert health.unusable() == health.resting() == {"a"}
            assert health.awaits(["a"])
            health.noticed(PEER, Life.ALIVE)
            assert not health.unusable()
            health.noticed(PEER, Life.SILENT)
            before = health.version
            health.noticed(PEER, Life.GONE)
            assert health.version > before
            assert (health.unusable(), health.resting(), health.silent()) == ({"a"}, set(), set())
            health.noticed(PEER, Life.SILENT)
            assert not health.silent(), "it is out of reach, which is more"
        assert told == [{"a"}, set(), {"a"}, set()]
        health.noticed(PEER, Life.SILENT)
        assert len(told) == 4, "nobody follows any more"
        alive.set()
        await until_usable(health)

    play(story)


def test_a_question_is_not_waited_for_where_its_member_may_be_gone() -> None:
    async def story(health: PeerHealth, alive: asyncio.Event) -> None:
        asked, ended = asyncio.Event(), asyncio.Event()

        async def question() -> int:
            asked.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return 1

        async def answer() -> int:
            return 1

        assert await health.unless_silent("a", answer()) == 1
        asking = asyncio.create_task(health.unless_silent("a", question()))
        await asked.wait()
        health.noticed(Peer("b", "127.0.0.1", 2), Life.SILENT)
        assert not ended.is_set()
        health.noticed(PEER, Life.SILENT)
        with pytest.raises(PeerError) as caught:
            await asking
        assert caught.value.reason is Reason.SILENT
        assert ended.is_set()
        before = health.version
        health.failed("a", caught.value)
        assert health.version == before, "that is known already"
        health.noticed(PEER, Life.GONE)
        with pytest.raises(PeerError):
            await health.unless_silent("a", question())
        alive.set()

    play(story)


def test_people_are_told_of_a_ban_and_of_its_end() -> None:
    told: list[Event] = []

    async def story(health: PeerHealth, alive: asyncio.Event) -> None:
        health.sent_corrupt("a", "sha256:00")
        assert told == [BanBegan("a", "sha256:00", 0.01)]
        while len(told) < 2:
            await asyncio.sleep(0)
        assert told[1:] == [BanEnded("a")]
        assert not health.is_banned("a")

    play(story, settings=ClusterSettings(corrupt_ban_s=0.01), on_event=told.append)


def test_people_see_why_a_member_is_not_asked_the_worst_reason_first() -> None:
    async def story(health: PeerHealth, alive: asyncio.Event) -> None:
        assert health.troubles() == {}
        health.doubt("a", "a blob")
        health.noticed(Peer("b", "127.0.0.1", 2), Life.SILENT)
        health.failed("c", PeerError(Reason.UNREACHABLE, "it refuses connections"))
        health.doubt("d", "a blob")
        health.sent_corrupt("d", "a blob")
        assert health.troubles() == {
            "a": Trouble.RESTS,
            "b": Trouble.SILENT,
            "c": Trouble.OUT_OF_REACH,
            "d": Trouble.BANNED,
        }
        assert health.troubles().keys() == health.unusable()

    play(story)
