"""The watch over members that owe an answer: what it finds out, and what follows."""

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import pytest

from mirror.errors import Reason
from mirror.routers import Peer
from mirror.settings import PeerSettings
from mirror.sources import Life
from mirror.sources.peers.watch import UsualTimes, Watch

A, B = Peer("a", "127.0.0.1", 1), Peer("b", "127.0.0.1", 2)
AT_ONCE = PeerSettings(silent_s=0.0, knock_s=0.0, hedge_s=0.0, watch_interval_s=0.001, sign_of_life_s=1e6, stall_s=1e6)


@dataclass(eq=False)
class Debt:
    """What a member owes since the beginning of time."""

    peer: Peer
    signed_at: float = -math.inf
    is_due: bool = True
    given_up: list[Reason] = field(default_factory=list)
    signs: Iterator[int] = field(default_factory=count)
    round_trip: float = 0.0

    def unheard_s(self, now: float) -> float:
        return 1e3 if self.is_due else 0.0

    def round_trip_s(self) -> float:
        return self.round_trip

    def note_sign_of_life(self, now: float) -> None:
        next(self.signs)

    def give_up(self, reason: Reason, why: str) -> None:
        self.is_due = False
        self.given_up.append(reason)


@dataclass
class World:
    """Members that give signs of life when a test lets them, and what the watch said of whom."""

    watch: Watch
    answers: dict[str, asyncio.Future[bool]]
    there: dict[str, asyncio.Future[bool]]
    asked: list[str]
    said: list[tuple[str, Life]]
    told: asyncio.Condition

    async def until(self, name: str, life: Life) -> None:
        async with self.told:
            await self.told.wait_for(lambda: (name, life) in self.said)


def play(story: Callable[[World], Coroutine[Any, Any, None]], settings: PeerSettings = AT_ONCE, lost: int = 0) -> World:
    """Tell a story; the network loses the first packets of so many connections to each member."""

    async def tell() -> World:
        loop, asked, said, told = asyncio.get_running_loop(), list[str](), list[tuple[str, Life]](), asyncio.Condition()
        answers: dict[str, asyncio.Future[bool]] = {peer.name: loop.create_future() for peer in (A, B)}
        there: dict[str, asyncio.Future[bool]] = {peer.name: loop.create_future() for peer in (A, B)}
        tasks, knocked = set(), list[str]()

        async def is_alive(peer: Peer) -> bool:
            asked.append(peer.name)
            return await asyncio.shield(answers[peer.name])

        async def is_there(peer: Peer) -> bool:
            knocked.append(peer.name)
            if knocked.count(peer.name) <= lost:
                await asyncio.Event().wait()
            return await asyncio.shield(there[peer.name])

        async def notify() -> None:
            async with told:
                told.notify_all()

        def on_life(peer: Peer, life: Life) -> None:
            said.append((peer.name, life))
            tasks.add(asyncio.create_task(notify()))

        world = World(Watch(settings, is_alive, is_there, lambda: None), answers, there, asked, said, told)
        world.watch.follow(on_life)
        try:
            await asyncio.wait_for(story(world), 30)
        finally:
            await world.watch.close()
            await asyncio.gather(*tasks)
        return world

    return asyncio.run(tell())


def test_a_member_that_gives_no_sign_of_life_is_silent_first_and_what_it_owes_has_failed_later() -> None:
    debts = [Debt(A), Debt(A), Debt(B)]

    async def story(world: World) -> None:
        with world.watch.over(debts[0]), world.watch.over(debts[1]), world.watch.over(debts[2]):
            await world.until("a", Life.SILENT)
            assert not debts[0].given_up, "the first answer counts, be it from this one"
            world.answers["a"].set_result(False)
            await world.until("a", Life.GONE)

    world = play(story)
    assert [debt.given_up for debt in debts] == [[Reason.STALLED], [Reason.STALLED], []]
    assert [life for name, life in world.said if name == "a"] == [Life.SILENT, Life.GONE]
    assert world.asked.count("a") == 1, "whatever it owes, it is asked once"


@pytest.mark.parametrize("how", ["answer", "bytes"])
def test_one_that_was_silent_and_is_heard_again_is_alive_and_owes_as_before(how: str) -> None:
    debt = Debt(A)

    async def story(world: World) -> None:
        with world.watch.over(debt):
            await world.until("a", Life.SILENT)
            if how == "bytes":
                debt.signed_at = math.inf
            world.answers["a"].set_result(how == "answer")
            await world.until("a", Life.ALIVE)

    world = play(story)
    assert not debt.given_up
    assert [life for _, life in world.said[:2]] == [Life.SILENT, Life.ALIVE]


def test_nobody_is_silent_who_gives_a_sign_of_life_in_time_and_it_counts_for_all_that_it_owes() -> None:
    debts = [Debt(A), Debt(A)]

    async def story(world: World) -> None:
        world.answers["a"].set_result(True)
        with world.watch.over(debts[0]), world.watch.over(debts[1]):
            await world.until("a", Life.ALIVE)

    world = play(story, replace(AT_ONCE, hedge_s=1e6))
    assert Life.SILENT not in {life for _, life in world.said}
    assert all(next(debt.signs) for debt in debts)


def test_bytes_of_one_answer_are_a_sign_of_life_for_the_others() -> None:
    async def story(world: World) -> None:
        world.answers["b"].set_result(True)
        with world.watch.over(Debt(A)), world.watch.over(Debt(A, signed_at=math.inf)), world.watch.over(Debt(B)):
            await world.until("b", Life.ALIVE)

    assert "a" not in play(story).asked


def test_one_that_owes_nothing_is_not_asked() -> None:
    async def story(world: World) -> None:
        world.answers["b"].set_result(True)
        with world.watch.over(Debt(A, is_due=False)), world.watch.over(Debt(B)):
            await world.until("b", Life.ALIVE)

    assert "a" not in play(story).asked


def test_one_that_lives_and_sends_nothing_for_long_is_unable() -> None:
    debt = Debt(A)

    async def story(world: World) -> None:
        world.answers["a"].set_result(True)
        with world.watch.over(debt):
            await world.until("a", Life.ALIVE)

    play(story, replace(AT_ONCE, stall_s=1.0))
    assert debt.given_up == [Reason.UNABLE]


def test_a_member_is_given_the_time_that_is_usual_for_it_within_bounds() -> None:
    settings = PeerSettings(hedge_s=0.15, sign_of_life_s=1.0)
    usual = UsualTimes(settings)
    assert usual.within_s("a") == settings.hedge_s, "nothing is known of it"
    for _ in range(20):
        usual.took("a", 0.002)
        usual.took("b", 0.3)
    assert usual.within_s("a") == settings.hedge_s
    assert usual.within_s("a", round_trip_s=0.4) == 0.4, "now its packets wait in a queue"
    assert usual.within_s("a", round_trip_s=9.0) == settings.sign_of_life_s
    assert 0.3 < usual.within_s("b") < 0.4
    usual.took("b", 0.8)
    assert usual.within_s("b") > 0.8, "it was late once, and may be so again"
    for _ in range(9):
        usual.took("b", 1.0)
        usual.took("b", 0.1)
    assert usual.within_s("b") == settings.sign_of_life_s


def test_of_a_bounded_number_of_members_it_is_remembered() -> None:
    usual = UsualTimes(PeerSettings(members_remembered=2))
    for name in ("a", "b", "a", "c"):
        usual.took(name, 0.5)
    assert [usual.within_s(name) > 0.15 for name in "abc"] == [True, False, True]


def test_one_that_is_too_busy_to_answer_is_not_silent_while_its_host_is_there() -> None:
    debt = Debt(A)

    async def story(world: World) -> None:
        world.there["a"].set_result(True)
        with world.watch.over(debt):
            await world.until("a", Life.ALIVE)
            assert not debt.given_up
            world.answers["a"].set_result(False)
            await world.until("a", Life.GONE)

    world = play(story, replace(AT_ONCE, hedge_s=1e6))
    assert Life.SILENT not in {life for _, life in world.said}
    assert debt.given_up == [Reason.STALLED]


def test_a_full_link_may_lose_what_opens_a_connection() -> None:
    debt = Debt(A)

    async def story(world: World) -> None:
        world.there["a"].set_result(True)
        with world.watch.over(debt):
            await world.until("a", Life.ALIVE)

    settings = replace(AT_ONCE, hedge_s=1e6, knocks=3, knock_again_s=0.001)
    world = play(story, settings, lost=2)
    assert Life.SILENT not in {life for _, life in world.said}


def test_one_whose_packets_wait_in_a_queue_is_given_the_time_that_they_take() -> None:
    debt = Debt(A, round_trip=1e6)

    async def story(world: World) -> None:
        with world.watch.over(debt):
            while "a" not in world.asked:
                await asyncio.sleep(0)
            for _ in range(1000):  # turns of the loop in which it could be called silent
                await asyncio.sleep(0)
            world.there["a"].set_result(True)
            await world.until("a", Life.ALIVE)

    world = play(story, replace(AT_ONCE, hedge_s=0.0))
    assert Life.SILENT not in {life for _, life in world.said}


def test_one_whose_host_is_back_is_silent_no_more() -> None:
    debt = Debt(A)

    async def story(world: World) -> None:
        with world.watch.over(debt):
            await world.until("a", Life.SILENT)
            world.there["a"].set_result(True)
            await world.until("a", Life.ALIVE)

    play(story)
    assert not debt.given_up


def test_no_way_to_a_host_is_no_sign_of_it() -> None:
    async def story(world: World) -> None:
        world.there["a"].set_result(False)
        with world.watch.over(Debt(A)):
            await world.until("a", Life.SILENT)

    play(story)
