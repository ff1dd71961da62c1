"""Homes that die, refuse, say nothing or are unable, and nodes that see the cluster differently: nobody hangs."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mirror.cluster.health import PeerHealth
from mirror.errors import BlobUnknown, PeerError, Reason, Unavailable
from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.routers import Peer
from mirror.settings import FetchSettings
from mirror.sources.peers.protocol import REASON_HEADER, ROLE_HEADER
from tests.loopback.lab import STEADY, before_me, lab
from tests.loopback.nodes import cluster, pieces_of
from tests.loopback.servers import (
    CLOSE,
    LARGE,
    MIB,
    NOT_FOUND,
    Part,
    Request,
    Script,
    always,
    breaks_off,
    content_of,
    honest,
    part,
    refusal,
    run,
    stalls,
)

CONTENT = content_of(LARGE)


def home_of(piece: int, homes: int) -> int:
    """Which of so many homes that come before this node brings a piece; the last one means this node."""
    return piece % (homes + 1)


FAILING: dict[str, Script] = {
    "dies": breaks_off,
    "closes": always(CLOSE),
    "is unable": always(refusal(503, "unable")),
    "is refused by upstream": always(refusal(503, "rate-limited")),
    "knows nothing of it": always(refusal(404, "unknown")),
    "says no more than 404": always(NOT_FOUND),
    "is busy": always(refusal(503, "busy")),
    "is of an older kind": always(refusal(501)),
    "says nothing": stalls,
}


@pytest.mark.parametrize("failing", FAILING.values(), ids=FAILING.keys())
def test_what_a_home_does_not_bring_the_next_one_does(tmp_path: Path, failing: Script) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LARGE)) as it:
            first, second = before_me(CONTENT, 2)
            await it.home(first, failing)
            good = await it.home(second, honest(LARGE))
            assert await it.read(CONTENT) == LARGE
            mine = [start // MIB for start, _ in it.registry.asked]
            assert all(home_of(piece, 2) != 1 for piece in mine)  # the good home is relied on for its own at least
            assert it.record.sources[second] > 0
            assert all(request.headers[ROLE_HEADER.lower()] == "home" for request in good.requests)

    run(story())


@pytest.mark.parametrize("failing", FAILING.values(), ids=FAILING.keys())
def test_without_another_home_upstream_brings_the_rest_once(tmp_path: Path, failing: Script) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LARGE)) as it:
            (home,) = before_me(CONTENT, 1)
            await it.home(home, failing)
            assert await it.read(CONTENT) == LARGE
            brought = it.record.sources.get(home, 0)
            assert it.record.sources["upstream"] == len(LARGE) - brought

    run(story())


def test_a_home_that_cannot_be_reached_is_passed_over(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LARGE)) as it:
            (home,) = before_me(CONTENT, 1)
            gone = await it.home(home, honest(LARGE))
            await it.listeners.end(gone)
            assert await it.read(CONTENT) == LARGE
            assert it.record.sources == {"upstream": len(LARGE)}
            assert home in it.fetching.health.unusable()

    run(story())


def test_a_home_that_was_out_of_reach_is_asked_again_once_it_gives_a_sign_of_life(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LARGE)) as it:
            (home,) = before_me(CONTENT, 1)
            server = await it.home(home, stalls)
            server.alive = False
            assert await it.read(CONTENT) == LARGE
            assert it.record.sources == {"upstream": len(LARGE)}
            assert home in it.fetching.health.unusable()

            other = bytes(reversed(LARGE))
            server.script, server.alive = honest(other), True
            it.registry.script = honest(other)
            while home in it.fetching.health.unusable():
                await asyncio.sleep(0.01)
            assert home not in it.fetching.health.unusable()
            assert await it.read(content_of(other)) == other
            assert it.record.sources[home] > 0

    run(story())


def test_a_home_that_is_back_at_another_address_is_asked_there(tmp_path: Path) -> None:
    async def story() -> None:
        back = asyncio.Event()

        async def held_back(start: int, stop: int | None) -> Sequence[Part]:
            await back.wait()
            return part(LARGE, start, stop)

        async with lab(tmp_path, held_back) as it:
            (home,) = before_me(CONTENT, 1)
            await it.listeners.end(await it.home(home, honest(LARGE)))
            reading = asyncio.create_task(it.read(CONTENT))
            while home not in it.fetching.health.unusable():
                await asyncio.sleep(0.01)
            it.router.homes[0] = Peer(home, "127.0.0.1", (await it.serve(honest(LARGE))).port)
            while home in it.fetching.health.unusable():
                await asyncio.sleep(0.01)
            back.set()
            assert await reading == LARGE
            assert it.record.sources[home] > 0

    run(story())


FAILED_LATELY: dict[str, Callable[[PeerHealth, str], None]] = {
    "broke off": lambda health, name: health.failed(name, PeerError(Reason.BROKEN, "another blob broke off")),
    "was out of reach": lambda health, name: health.failed(name, PeerError(Reason.STALLED, "it said nothing")),
    "is doubted": lambda health, name: health.doubt(name, "another blob"),
}


@pytest.mark.parametrize("fail", FAILED_LATELY.values(), ids=FAILED_LATELY.keys())
def test_a_holder_that_failed_a_moment_ago_still_serves_if_nobody_else_can(
    tmp_path: Path, fail: Callable[[PeerHealth, str], None]
) -> None:
    async def story() -> None:
        async with lab(tmp_path, always(CLOSE)) as it:
            await it.holder(honest(LARGE))
            fail(it.fetching.health, "m1")
            assert await it.read(CONTENT) == LARGE
            assert it.record.sources == {"m1": len(LARGE)}

    run(story())


def test_a_holder_that_goes_on_failing_is_asked_once_a_fetch_as_the_last_resort(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, always(CLOSE)) as it:
            server = await it.holder(always(CLOSE))
            it.fetching.health.doubt("m1", "another blob")
            with pytest.raises(Unavailable):
                await it.read(CONTENT)
            assert len(server.requests) == 1

    run(story())


def test_a_proven_liar_is_not_even_the_last_resort(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, always(CLOSE)) as it:
            server = await it.holder(honest(LARGE))
            it.fetching.health.sent_corrupt("m1", "another blob")
            with pytest.raises(Unavailable):
                await it.read(CONTENT)
            assert not server.requests

    run(story())


def test_a_lone_holder_that_is_out_of_reach_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    async def story() -> None:
        async def first_only(start: int, stop: int | None) -> Sequence[Part]:
            return part(LARGE, start, stop) if start == 0 else await stalls(start, stop)

        async with lab(tmp_path, always(CLOSE)) as it:
            server = await it.holder(first_only)
            server.alive = False
            reading = asyncio.create_task(it.read(CONTENT))
            while not it.fetching.health.unusable():
                await asyncio.sleep(0.01)
            server.script, server.alive = honest(LARGE), True
            assert await reading == LARGE
            assert it.record.sources == {"m1": len(LARGE)}

    run(story())


def test_members_that_do_not_answer_keep_a_size_from_nobody(tmp_path: Path) -> None:
    async def story() -> None:
        settings = replace(STEADY, fetch=FetchSettings(size_s=0.1))
        async with lab(tmp_path, honest(LARGE), settings=settings) as it:
            for _ in range(3):
                await it.holder(stalls)
            assert await it.fetching.sizes.size(CONTENT) == len(LARGE)

    run(story())


def test_a_home_that_sends_a_byte_at_a_time_is_given_up(tmp_path: Path) -> None:
    async def story() -> None:
        async def a_byte(start: int, stop: int | None) -> Sequence[Part]:
            return part(LARGE, start, start + 1)

        async with lab(tmp_path, honest(LARGE)) as it:
            (home,) = before_me(CONTENT, 1)
            server = await it.home(home, a_byte)
            assert await it.read(CONTENT) == LARGE
            assert home in it.fetching.health.unusable()
            assert len(server.asked) < 50

    run(story())


def test_a_home_that_waits_for_upstream_itself_is_waited_for(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LARGE)) as it:
            (home,) = before_me(CONTENT, 1)
            signs = asyncio.Event()

            async def slow(start: int, stop: int | None) -> Sequence[Part]:
                await signs.wait()
                return part(LARGE, start, stop)

            server = await it.home(home, slow)
            server.on_sign = lambda count: signs.set() if count == 3 else None
            assert await it.read(CONTENT) == LARGE
            own = [request.start for request in it.registry.requests if request.method == "GET"]
            assert {start // MIB % 2 for start in own} == {1}, "upstream sends this node's own pieces"
            assert it.record.sources["upstream"] == 6 * MIB
            assert home not in it.fetching.health.unusable()

    run(story())


def test_what_every_home_says_upstream_does_not_have_is_asked_of_upstream_once_more(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, always(NOT_FOUND)) as it:
            for home in before_me(CONTENT, 2):
                await it.home(home, always(refusal(404, "unknown")))
            with pytest.raises(BlobUnknown):
                await it.read(CONTENT)
            assert len(it.registry.asked) == 1

    run(story())


def test_a_home_tells_why_it_does_not_bring_something(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 1) as it:
            content = it.origin.has(LARGE)
            (home,) = it.nodes
            asked = {ROLE_HEADER: "home", "Range": "bytes=0-99"}
            absent = Content(content.repository, "blobs", Digest.of(b"nobody has this"))
            said = {}
            said["absent"] = await home.ask(f"/v2/{absent.path}", peer=True, headers=asked)
            it.origin.refusals["n0"] = refusal(500)
            said["ill"] = await home.ask(f"/v2/{content.path}", peer=True, headers=asked)
            it.origin.refusals["n0"] = b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"
            said["limited"] = await home.ask(f"/v2/{content.path}", peer=True, headers=asked)
            reasons = {why: (answer.status, answer.headers[REASON_HEADER]) for why, answer in said.items()}
            assert reasons == {"absent": (404, "unknown"), "ill": (503, "unable"), "limited": (503, "rate-limited")}

    run(story())


def test_a_home_that_dies_while_it_sends_is_replaced_and_the_clients_see_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 4) as it:
            content = it.origin.has(LARGE)
            dead = it.ring(content)[2]
            others = [node for node in it.nodes if node is not dead]
            stuck, never = asyncio.Event(), asyncio.Event()

            def behave(request: Request, answer: list[Part]) -> list[Part]:
                if it.origin.asker(request) != dead.name or not request.start:
                    return answer
                stuck.set()
                head, body = answer
                assert isinstance(body, bytes)
                return [head, body[: MIB // 2], never]

            it.origin.behave = behave
            pulling = asyncio.create_task(it.pull(content, others))
            await stuck.wait()
            dead.die()
            for node in others:
                node.router.down.add(dead.name)
            await pulling
            lost = [piece for piece in range(13) if piece % 4 == 2]
            assert it.origin.bytes_of(content) <= len(LARGE) + len(lost) * MIB // 2

    run(story())


def test_nodes_that_take_each_other_for_the_home_of_a_piece_do_not_wait_for_each_other(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 3) as it:
            content = it.origin.has(LARGE)
            a, _, c = it.ring(content)
            # Of piece 3, a thinks that c is the home, and c thinks that a is.
            a.router.unseen.add(it.ring(content)[1].name)
            await it.pull(content)
            assert it.origin.bytes_of(content) <= 2 * len(LARGE)
            assert c.held(content)

    run(story())


@pytest.mark.parametrize("seed", range(4))
def test_nodes_that_see_different_members_all_get_everything(tmp_path: Path, seed: int) -> None:
    async def story() -> None:
        rng = random.Random(seed)
        async with cluster(tmp_path, 5) as it:
            content = it.origin.has(LARGE)
            for node in it.nodes:
                node.router.unseen = {other.name for other in it.nodes if other is not node and rng.random() < 0.4}
            await it.pull(content)
            for node in it.nodes:  # however much the rings differ, none asks upstream for the same twice
                mine = [request for request in it.origin.asked_for(content) if it.origin.asker(request) == node.name]
                assert sum((asked.stop or len(LARGE)) - asked.start for asked in mine) <= len(LARGE)

    run(story())


def test_a_member_that_is_known_to_be_dead_keeps_its_place_and_is_not_asked(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 4) as it:
            content = it.origin.has(LARGE)
            ring = it.ring(content)
            dead, others = ring[1], [ring[0], ring[2], ring[3]]
            dead.die()
            for node in others:
                node.router.down.add(dead.name)
            await it.pull(content, others)
            assert it.origin.bytes_of(content) == len(LARGE)
            for piece, home in ((0, 0), (2, 2), (3, 3), (4, 0)):  # the others' pieces have not moved
                start, _ = pieces_of(LARGE, 4)[piece]
                (asked,) = [request for request in it.origin.asked_for(content) if request.start == start]
                assert it.origin.asker(asked) == ring[home].name

    run(story())
