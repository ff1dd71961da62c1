"""The mirror's view of gossip, on real sockets: keys that members prove themselves by, names, flapping, counts."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from gossip import Gossip, GossipConfig, Listen, key_id, local
from mirror.errors import Unauthorized
from mirror.events import Event, Kind, MemberChanged, nobody
from mirror.routers import NOTE_MAX_BYTES, Listener, MemberStatus, Peer, Serves, Topic
from mirror.routers.swim import SwimNotes, SwimRouter
from mirror.settings import RouterSettings
from mirror.sources.peers.auth import PeerAuth, Request

WITHIN_S = 20.0
OLD, NEW = bytes(range(32)), bytes(range(32, 64))
REQUEST = Request("GET", "/v2/library/nginx/manifests/1.27?ns=docker.io")


def accepts(auth: PeerAuth, by: PeerAuth) -> bool:
    """Whether one accepts what the other signs."""
    try:
        return auth.recognise(replace(REQUEST, headers=by.ask("", REQUEST).headers.items())) is not None
    except Unauthorized:
        return False


HASTY = replace(
    local(), probe_interval_s=0.1, probe_timeout_s=0.05, suspicion_mult=1, suspicion_max_mult=1, flaps_max=1
)


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, WITHIN_S))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


@asynccontextmanager
async def running(gossip: Gossip, new_for_s: float = 30.0) -> AsyncIterator[SwimRouter]:
    router = SwimRouter(gossip, 5001, settings=RouterSettings(new_for_s=new_for_s))
    await router.start()
    try:
        yield router
    finally:
        await router.close()


@asynccontextmanager
async def pair(config: GossipConfig | None = None, **options: Any) -> AsyncIterator[tuple[SwimRouter, SwimRouter]]:
    """Two nodes, a and b, that see each other."""
    config = config or local()
    first = Gossip("a", config, **options)
    async with running(first) as a, running(Gossip("b", config, seeds=[str(first.address)], **options)) as b:
        await until(lambda: bool(a.members()) and bool(b.members()))
        yield a, b


def standing(router: SwimRouter, name: str) -> MemberStatus:
    (row,) = [row for row in router.statuses() if row.peer.name == name]
    return row


def test_members_accept_each_other_at_every_moment_of_a_change_of_keys() -> None:
    async def story() -> None:
        async with pair(keys=[OLD]) as (a, b), asyncio.TaskGroup() as tasks:
            auths = [PeerAuth(router.keys()) for router in (a, b)]
            following = [
                tasks.create_task(router.follow_keys(auth.use)) for router, auth in zip((a, b), auths, strict=True)
            ]

            def all_accept(all_keys: bool = True) -> bool:
                members = [PeerAuth([OLD]), PeerAuth([NEW])] if all_keys else []
                return all(accepts(auth, by) for auth in auths for by in [*auths, *members])

            await a.keyrings.install(NEW)
            await until(all_accept)
            await b.keyrings.use(key_id(NEW))
            assert all_accept()
            await until(lambda: all(accepts(PeerAuth([NEW]), auth) for auth in auths))
            await a.keyrings.remove(key_id(OLD))
            old = PeerAuth([OLD])
            await until(lambda: not any(accepts(auth, old) for auth in auths))
            assert all_accept(all_keys=False)
            for task in following:
                task.cancel()

    run(story())


def test_keys_that_changed_before_anybody_followed_them_are_handed_over_too() -> None:
    async def story() -> None:
        async with pair(keys=[OLD]) as (a, b):
            auth = PeerAuth(b.keys())
            await a.keyrings.install(NEW)
            following = asyncio.create_task(b.follow_keys(auth.use))
            await until(lambda: accepts(auth, PeerAuth([NEW])))
            following.cancel()

    run(story())


def test_a_newcomer_with_a_taken_name_is_told_who_has_it_and_the_other_stays() -> None:
    async def story() -> None:
        one = Gossip("a", local())
        async with running(one) as a, running(Gossip("b", local(), seeds=[str(one.address)])) as b:
            await until(lambda: bool(a.members()) and bool(b.members()))
            first = b.statuses()[1].peer
            newcomer = Gossip("a", local(), seeds=[str(one.address)], listen=Listen("127.0.0.2"))
            staying = asyncio.create_task(a.superseded())
            async with running(newcomer) as late:
                assert await late.superseded() == str(one.address)
                assert await late.superseded() == str(one.address)  # whenever one asks
            assert not staying.done()
            staying.cancel()
            assert (first.name, standing(b, "a").peer.host) == ("a", "127.0.0.1")

    run(story())


def test_who_comes_back_from_the_dead_too_often_shows_as_flapping_and_is_not_looked_up() -> None:
    async def story() -> None:
        key = NEW
        async with AsyncExitStack() as stack:
            first = Gossip("a", HASTY)
            a = await stack.enter_async_context(running(first))
            for count in range(2):
                async with running(Gossip("b", HASTY, seeds=[str(first.address)])) as b:
                    b.advertise([key])
                    await until(lambda: standing_state(a) == "alive")
                    if count:
                        await until(lambda: standing(a, "b").keys == 1)
                    assert standing(a, "b").flapping is bool(count)
                    assert not (count and a.locate(key))
                await until(lambda: standing_state(a) == "dead")
            assert not standing(a, "a").flapping

    def standing_state(router: SwimRouter) -> str:
        return next((row.state for row in router.statuses() if row.peer.name == "b"), "unknown")

    run(story())


def homes(router: SwimRouter) -> dict[str, Serves]:
    """Of each seat, whether its member serves as a home."""
    return {seat.peer.name: seat.serves for seat in router.seats()}


@pytest.mark.parametrize("name", ["upstream", "a,b", "b c"])
def test_who_has_no_proper_name_is_no_member(name: str) -> None:
    async def story() -> None:
        first = Gossip("a", local())
        async with running(first) as a, AsyncExitStack() as stack:
            router = SwimRouter(Gossip(name, local(), seeds=[str(first.address)]), 5001)
            await router.start()
            stack.push_async_callback(router.close)
            key = bytes(32)
            router.advertise([key])
            await until(lambda: bool(first.view.holders(key)))
            assert [*a.members(), *a.locate(key)] == []
            assert homes(a).keys() == {"a"}
            assert [row.peer.name for row in a.statuses()] == ["a"]

    run(story())


@pytest.mark.parametrize("metadata", [b"", b"{", b'{"port": 0}', b'{"port": 5001, "home": "\x80"}', b"[" * 400])
def test_who_does_not_say_where_its_endpoint_is_is_no_member(metadata: bytes) -> None:
    async def story() -> None:
        first = Gossip("a", local())
        async with running(first) as a, AsyncExitStack() as stack:
            odd = Gossip("b", local(), seeds=[str(first.address)])
            odd.update(metadata)
            await odd.start()
            stack.push_async_callback(odd.close)
            await until(lambda: bool(list(first.view.members())))
            assert [*a.members()] == []
            assert [row.peer.name for row in a.statuses()] == ["a"]

    run(story())


@pytest.mark.parametrize("host", ["169.254.169.254", "fd00::7", "registry.example", "["])
def test_a_member_is_asked_where_it_gossips_wherever_it_says_that_it_is(host: str) -> None:
    async def story() -> None:
        first = Gossip("a", local())
        async with running(first) as a, AsyncExitStack() as stack:
            liar = Gossip("b", local(), seeds=[str(first.address)])
            liar.update(json.dumps({"port": 5001, "host": host}).encode())
            await liar.start()
            stack.push_async_callback(liar.close)
            await until(lambda: list(a.members()) == [Peer("b", "127.0.0.1", 5001)])
            assert [seat.peer for seat in a.seats() if seat.peer.name == "b"] == [Peer("b", "127.0.0.1", 5001)]

    run(story())


def test_in_a_new_cluster_all_are_homes_and_who_declines_is_none_for_anybody() -> None:
    async def story() -> None:
        async with pair() as (a, b):
            await until(lambda: homes(a) == homes(b) == {"a": Serves.YES, "b": Serves.YES})
            b.set_serving(False)
            await until(lambda: homes(a) == homes(b) == {"a": Serves.YES, "b": Serves.NO})
            b.set_serving(True)
            await until(lambda: homes(a) == homes(b) == {"a": Serves.YES, "b": Serves.YES})

    run(story())


def test_where_some_are_settled_a_newcomer_is_no_home_yet_and_declines_nothing() -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            first = Gossip("a", local())
            a = await stack.enter_async_context(running(first, 0.01))
            await stack.enter_async_context(running(Gossip("b", local(), seeds=[str(first.address)]), 0.01))
            late = Gossip("c", local(), seeds=[str(first.address)])
            newcomer = await stack.enter_async_context(running(late, 1000.0))
            settled = {"a": Serves.YES, "b": Serves.YES, "c": Serves.NEW}
            await until(lambda: homes(a) == homes(newcomer) == settled)

    run(story())


def test_who_failed_keeps_its_seat_for_a_while_and_who_left_does_not() -> None:
    async def story() -> None:
        async with AsyncExitStack() as stack:
            first = Gossip("a", HASTY)
            forgetful = SwimRouter(first, 5001, settings=RouterSettings(seat_kept_s=0.0))
            a = await stack.enter_async_context(running(first))
            async with running(Gossip("b", HASTY, seeds=[str(first.address)])):
                await until(lambda: "b" in homes(a))
            await until(lambda: standing(a, "b").state == "dead")
            assert [peer.name for peer in a.members()] == []
            assert homes(a)["b"] == Serves.YES
            assert "b" not in homes(forgetful)

            async with running(Gossip("c", HASTY, seeds=[str(first.address)])) as leaving:
                await until(lambda: "c" in homes(a))
                await leaving.leave()
                await until(lambda: "c" not in homes(a))

    run(story())


def test_round_trips_and_counts_are_shown_and_nothing_is_missing_that_has_not_happened() -> None:
    async def story() -> None:
        async with pair(HASTY) as (a, _):
            await until(lambda: standing(a, "b").rtt_s is not None)
            rtt_s = standing(a, "b").rtt_s
            assert rtt_s is not None
            assert 0 < rtt_s < WITHIN_S
            assert standing(a, "a").rtt_s is None
            figures = a.figures()
            assert figures.events["MemberJoined"] == 1
            assert figures.datagrams["sent"] > 0
            assert (figures.events["MemberFailed"], figures.rejected["replay"]) == (0, 0)
            assert 0 <= figures.lag_s[0.5] <= figures.lag_s[0.99] <= figures.lag_s[1.0]

    run(story())


def test_notes_reach_all_members_and_those_that_come_later_learn_the_state() -> None:
    async def story() -> None:
        heard: dict[str, list[bytes]] = {"a": [], "b": [], "c": []}
        states = {name: f"state of {name}".encode() for name in heard}
        happened: list[Event] = []
        async with AsyncExitStack() as stack:

            async def join(name: str, seeds: list[str]) -> tuple[SwimRouter, Gossip]:
                notes = SwimNotes(happened.append if name == "b" else nobody)
                node = Gossip(name, local(), seeds=seeds, delegate=notes)
                router = SwimRouter(node, 5001, notes=notes)

                def hear(news: bytes) -> None:
                    heard[name].append(news)
                    if news == b"odd":
                        raise RecursionError

                listener = Listener(hear, lambda: states[name])
                following = asyncio.create_task(notes.follow({Topic.BUDGETS: listener}))
                stack.callback(following.cancel)
                await router.start()
                stack.push_async_callback(router.close)
                return router, node

            a, first = await join("a", [])
            b, _ = await join("b", [str(first.address)])
            await until(lambda: bool(a.members()) and bool(b.members()))
            a.notes.tell(Topic.PINS, b"nobody listens to this")
            a.notes.tell(Topic.BUDGETS, bytes(NOTE_MAX_BYTES + 1))
            first.broadcast(b"not by topic")
            first.broadcast(b"\x81\xa1\x80\xc4\x01x")  # a topic that is no UTF-8
            a.notes.tell(Topic.BUDGETS, b"odd")
            await until(lambda: b"odd" in heard["b"])
            a.notes.tell(Topic.BUDGETS, b"news of a")
            await until(lambda: b"news of a" in heard["b"])
            _, third = await join("c", [str(first.address)])
            await until(lambda: b"state of a" in heard["c"] and b"state of c" in heard["a"])
            assert b"news of a" not in heard["a"]
            assert set(heard["b"]) <= {b"odd", b"news of a", *states.values()}
            joins = [
                MemberChanged(Kind.MEMBER_JOINED, it, str(node.address)) for it, node in (("a", first), ("c", third))
            ]
            await until(lambda: len(happened) == len(joins))
            await a.leave()
            a.notes.tell(Topic.BUDGETS, b"too late")
            await until(lambda: len(happened) > len(joins))
            assert happened[:3] == [*joins, MemberChanged(Kind.MEMBER_LEFT, "a", str(first.address))]

    run(story())
