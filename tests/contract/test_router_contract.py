"""What the mirror relies on in any router."""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gossip import FilterKind, Gossip, local
from mirror.routers import Discovery, Peer, RingSeat, Serves
from mirror.routers.dht import DhtRouter, DhtSettings
from mirror.routers.swim import SwimRouter
from testbed.network import Address, free_address
from tests.static_router import StaticRouter

WITHIN_S = 15.0
A, B = Peer("a", "127.0.0.1", 1001), Peer("b", "127.0.0.1", 1002)
KEYS = [hashlib.sha256(b"%d" % number).digest() for number in range(50)]
Pair = Callable[[], AbstractAsyncContextManager[tuple[Discovery, Discovery]]]


@asynccontextmanager
async def static_pair() -> AsyncIterator[tuple[Discovery, Discovery]]:
    yield StaticRouter(A, [A, B]), StaticRouter(B, [A, B])


@asynccontextmanager
async def swim_pair(filters: FilterKind = FilterKind.BLOOM) -> AsyncIterator[tuple[Discovery, Discovery]]:
    config = replace(local(), filters=filters)
    one = Gossip("a", config)
    a = SwimRouter(one, 1001)
    await a.start()
    b = SwimRouter(Gossip("b", config, seeds=[str(one.address)]), 1002)
    await b.start()
    try:
        yield a, b
    finally:
        await b.close()
        await a.close()


@asynccontextmanager
async def dht_pair() -> AsyncIterator[tuple[Discovery, Discovery]]:
    pytest.importorskip("libp2p")
    with tempfile.TemporaryDirectory() as folder:
        routers: list[DhtRouter] = []
        at: Address | None = None
        try:
            for me in (A, B):
                at, first = free_address(), at
                settings = DhtSettings(
                    me=me,
                    bind=(at.host, at.port),
                    bootstrap=[] if first is None else [str(first)],
                    identity=Path(folder, f"{me.name}.key"),
                    resolve_s=WITHIN_S,
                )
                routers.append(DhtRouter(settings))
                await routers[-1].start()
            yield routers[0], routers[1]
        finally:
            for router in reversed(routers):
                await router.close()


def exact_pair() -> AbstractAsyncContextManager[tuple[Discovery, Discovery]]:
    return swim_pair(FilterKind.EXACT)


@pytest.fixture(params=[static_pair, swim_pair, exact_pair, dht_pair], ids=["static", "swim", "exact", "dht"])
def pair(request: pytest.FixtureRequest) -> Pair:
    made: Pair = request.param
    return made


async def located(router: Discovery, key: bytes) -> list[str]:
    """Names of those that may hold a key, by the way on which the data plane asks."""
    if (asking := router.look_up(key)) is not None:
        await asking
    return [peer.name for peer in router.locate(key)]


async def until_located(router: Discovery, keys: Collection[bytes], names: list[str]) -> None:
    async with asyncio.timeout(WITHIN_S):
        for key in keys:
            while await located(router, key) != names:
                await asyncio.sleep(0.005)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.005)


def test_two_nodes_become_ready_and_see_each_other(pair: Pair) -> None:
    async def story() -> None:
        async with pair() as (a, b):
            await until(lambda: a.ready() and b.ready() and bool(a.members()) and bool(b.members()))
            assert list(a.members()) == [Peer("b", "127.0.0.1", 1002)]
            assert list(b.members()) == [Peer("a", "127.0.0.1", 1001)]

    asyncio.run(story())


def test_what_one_advertises_is_located_by_the_other_and_not_by_itself(pair: Pair) -> None:
    async def story() -> None:
        async with pair() as (a, b):
            await until(lambda: bool(a.members()) and bool(b.members()))
            a.advertise(KEYS)
            await until_located(b, KEYS, ["a"])
            for key in KEYS:
                assert "a" not in await located(a, key)

    asyncio.run(story())


def test_what_is_located_is_a_member_and_a_key_that_nobody_has_is_looked_up_within_a_bound(pair: Pair) -> None:
    async def story() -> None:
        async with pair() as (a, b):
            await until(lambda: bool(a.members()) and bool(b.members()))
            a.advertise(KEYS[:1])
            await until_located(b, KEYS[:1], ["a"])
            assert set(b.locate(KEYS[0])) <= set(b.members())
            async with asyncio.timeout(WITHIN_S):
                await asyncio.gather(*(located(b, key) for key in KEYS[1:] for _ in range(2)))

    asyncio.run(story())


def test_who_waits_for_a_lookup_may_give_up_and_no_other_notices(pair: Pair) -> None:
    async def story() -> None:
        async with pair() as (a, b):
            await until(lambda: bool(a.members()) and bool(b.members()))
            a.advertise(KEYS[:1])
            for _ in range(3):
                waiting = [asyncio.create_task(located(b, KEYS[0])) for _ in range(2)]
                await asyncio.sleep(0)
                waiting[0].cancel()
                await waiting[1]
            await until_located(b, KEYS[:1], ["a"])

    asyncio.run(story())


def test_changes_may_be_told_twice_and_for_what_was_never_told(pair: Pair) -> None:
    async def story() -> None:
        async with pair() as (a, b):
            await until(lambda: bool(b.members()))
            a.withdraw(KEYS[:2])
            a.advertise(KEYS[:5])
            a.advertise(KEYS[3:8])
            a.advertise([])
            await until_located(b, KEYS[:8], ["a"])
            a.withdraw(KEYS[:2])
            a.withdraw(KEYS[:2])
            assert all(b.locate(key) for key in KEYS[2:8])
            assert [status.keys for status in a.statuses() if status.itself] == [6]

    asyncio.run(story())


def test_statuses_show_everybody_and_which_is_this_node(pair: Pair) -> None:
    async def story() -> None:
        async with pair() as (a, b):
            await until(lambda: bool(a.members()) and bool(b.members()))
            assert {(row.peer.name, row.state, row.itself) for row in b.statuses()} == {
                ("a", "alive", False),
                ("b", "alive", True),
            }

    asyncio.run(story())


def test_a_swim_node_that_left_takes_changes_in_silence() -> None:
    async def story() -> None:
        async with swim_pair() as (a, b):
            assert isinstance(b, SwimRouter)
            await until(lambda: bool(a.members()) and bool(b.members()))
            await b.leave()
            b.advertise(KEYS)
            b.withdraw(KEYS)
            await until(lambda: not a.members())

    asyncio.run(story())


def named(router: Discovery) -> dict[str, RingSeat]:
    seats = {seat.peer.name: seat for seat in router.seats()}
    assert len(seats) == len(router.seats())
    return seats


def test_a_lone_node_has_a_seat_for_itself(pair: Pair) -> None:
    async def story() -> None:
        async with pair() as (a, _):
            assert named(a)["a"].peer == A

    asyncio.run(story())


MEMBERSHIP = pytest.mark.parametrize("pair", [static_pair, swim_pair], ids=["static", "swim"])
"""For routers that know all members."""


@MEMBERSHIP
def test_both_see_the_same_seats_themselves_included_and_both_are_homes(pair: Pair) -> None:
    async def story() -> None:
        async with pair() as (a, b):
            await until(lambda: bool(a.members()) and bool(b.members()))
            expected = {"a": RingSeat(A), "b": RingSeat(B)}
            await until(lambda: named(a) == named(b) == expected)

    asyncio.run(story())


def test_a_node_that_declines_says_so_at_once_and_may_change_its_mind(pair: Pair) -> None:
    async def story() -> None:
        async with pair() as (a, b):
            await until(lambda: bool(a.members()) and bool(b.members()))
            for _ in range(2):
                a.set_serving(False)
                a.set_serving(False)
                assert named(a)["a"] == RingSeat(A, Serves.NO)
                assert named(a).get("b", RingSeat(B)) == RingSeat(B)
                a.set_serving(True)
                assert named(a)["a"] == RingSeat(A)

    asyncio.run(story())


def test_the_others_see_that_a_swim_node_declines_and_that_it_serves_again() -> None:
    async def story() -> None:
        async with swim_pair() as (a, b):
            await until(lambda: bool(a.members()) and bool(b.members()))
            a.set_serving(False)
            await until(lambda: named(b)["a"].serves is Serves.NO)
            assert named(b) == {"a": RingSeat(A, Serves.NO), "b": RingSeat(B)}
            assert list(b.members()) == [A], "it is up nevertheless"
            a.set_serving(True)
            await until(lambda: named(b)["a"] == RingSeat(A))

    asyncio.run(story())


def test_a_swim_node_that_left_has_no_seat_and_one_that_failed_keeps_its() -> None:
    async def story() -> None:
        async with swim_pair() as (a, b):
            assert isinstance(b, SwimRouter)
            await until(lambda: bool(a.members()) and bool(b.members()))
            await b.close()
            await until(lambda: not a.members())
            assert named(a)["b"] == RingSeat(B)
        async with swim_pair() as (a, b):
            assert isinstance(b, SwimRouter)
            await until(lambda: bool(a.members()) and bool(b.members()))
            await b.leave()
            await until(lambda: not a.members())
            assert "b" not in named(a)

    asyncio.run(story())
