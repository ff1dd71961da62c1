"""A cluster before an upstream that knows no ranges, breaks off, is angry with some nodes, or contradicts itself."""

import asyncio
import random
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from mirror.sources.peers.protocol import REASON_HEADER, ROLE_HEADER
from tests.loopback.nodes import cluster
from tests.loopback.servers import CLOSE, LARGE, MIB, SMALL, Part, Request, refusal, run

LAST = b"0\r\n\r\n"
ANGRY = b"HTTP/1.1 429 Slow\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("body", [LARGE, SMALL], ids=["many pieces", "one piece"])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_an_upstream_without_ranges_is_asked_once_for_the_whole_by_the_first_of_the_ring(
    tmp_path: Path, count: int, body: bytes
) -> None:
    async def story() -> None:
        async with cluster(tmp_path, count) as it:
            it.origin.without_ranges = True
            content = it.origin.has(body)
            await it.pull(content)
            first = it.ring(content)[0].name
            brought = {node.name: node.record(content).sources.get("upstream", 0) for node in it.nodes}
            assert {name: count for name, count in brought.items() if count} == {first: len(body)}
            # The homes of other pieces find out, each by a question, that it sends everything, and want nothing of it.
            assert len([asked for asked in it.origin.asked_for(content) if it.origin.asker(asked) == first]) == 1

    run(story())


def test_a_home_of_a_piece_says_that_another_is_the_home_of_the_whole(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 3) as it:
            it.origin.without_ranges = True
            content = it.origin.has(LARGE)
            asked = {ROLE_HEADER: "home", "Range": f"bytes={MIB}-{2 * MIB - 1}"}
            answer = await it.ring(content)[1].ask(f"/v2/{content.path}", peer=True, headers=asked)
            assert (answer.status, answer.headers[REASON_HEADER]) == (503, "whole")

    run(story())


def test_without_ranges_the_whole_goes_on_to_the_next_when_its_home_dies(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 3) as it:
            it.origin.without_ranges = True
            content = it.origin.has(LARGE)
            first, *others = it.ring(content)
            stuck = asyncio.Event()

            def behave(request: Request, answer: list[Part]) -> list[Part]:
                if it.origin.asker(request) != first.name:
                    return answer
                head, body = answer
                assert isinstance(body, bytes)
                stuck.set()
                return [head, body[: 3 * MIB], asyncio.Event()]

            it.origin.behave = behave
            pulling = asyncio.create_task(it.pull(content, others))
            await stuck.wait()
            first.die()
            for node in others:
                node.router.down.add(first.name)
            await pulling
            assert it.origin.bytes_of(content) <= 3 * MIB + len(LARGE) * len(others)

    run(story())


@pytest.mark.parametrize("seed", range(3))
def test_an_upstream_that_breaks_off_now_and_then_is_asked_for_the_rest(tmp_path: Path, seed: int) -> None:
    async def story() -> None:
        rng = random.Random(seed)
        async with cluster(tmp_path, 3) as it:
            content = it.origin.has(LARGE)

            def behave(request: Request, answer: list[Part]) -> list[Part]:
                head, body = answer
                assert isinstance(body, bytes)
                # An answer of one byte, which tells a size, comes whole.
                return answer if rng.random() < 0.5 else [head, body[: rng.randrange(1, max(2, len(body)))], CLOSE]

            it.origin.behave = behave
            await it.pull(content)
            assert it.origin.bytes_of(content) < 1.5 * len(LARGE)

    run(story())


def test_who_is_rate_limited_gets_everything_by_the_others(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 4) as it:
            content = it.origin.has(LARGE)
            it.is_told = False  # each has an address of its own
            limited = it.ring(content)[1:3]
            it.origin.refusals = {node.name: ANGRY for node in limited}
            await it.pull(content)
            assert it.origin.bytes_of(content) <= 2 * len(LARGE)
            for node in limited:
                assert "upstream" not in node.record(content).sources
                assert len([asked for asked in it.origin.requests if it.origin.asker(asked) == node.name]) <= 8

    run(story())


@pytest.mark.parametrize("answer", [ANGRY, refusal(500), refusal(503)], ids=["429", "500", "503"])
def test_when_upstream_helps_nobody_every_client_is_told_and_none_hangs(tmp_path: Path, answer: bytes) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 3) as it:
            content = it.origin.has(LARGE)
            it.origin.refusals = {node.name: answer for node in it.nodes}
            answers = await asyncio.gather(*(node.get(content) for node in it.nodes))
            assert {answer.status for answer in answers} == {503}
            assert not any(node.held(content) for node in it.nodes)

    run(story())


def test_an_upstream_that_says_another_size_to_one_node_spoils_one_try_at_most(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 3) as it:
            content = it.origin.has(LARGE)
            fooled = it.ring(content)[1]

            def behave(request: Request, answer: list[Part]) -> list[Part]:
                head, body = answer
                assert isinstance(head, bytes)
                if it.origin.asker(request) == fooled.name:
                    return [head.replace(b"/%d" % len(LARGE), b"/%d" % (len(LARGE) + 1)), body]
                return answer

            it.origin.behave = behave
            honest = [node for node in it.nodes if node is not fooled]
            await asyncio.gather(*(node.insist(content) for node in honest))
            assert all(node.held(content) for node in honest)

    run(story())


@pytest.mark.parametrize("body", [LARGE, b"x" * 1000, b""], ids=["large", "small", "empty"])
@pytest.mark.parametrize("says_in_head", [True, False])
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
def test_a_cluster_gets_what_upstream_sends_without_saying_how_long_it_is(
    tmp_path: Path, body: bytes, says_in_head: bool, version: bytes
) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 3) as it:
            it.origin.without_ranges = True
            content, honest = it.origin.has(body), it.origin.answer

            async def unsized(request: Request) -> Sequence[Part]:
                head, *rest = await honest(request)
                assert isinstance(head, bytes)
                if request.method == "HEAD" and says_in_head:
                    return [head]
                framing = b"Transfer-Encoding: chunked" if version == b"HTTP/1.1" else b"X: x"
                head = re.sub(rb"Content-Length: \d+", framing, head.replace(b"HTTP/1.1", version))
                if request.method == "HEAD":
                    return [head, CLOSE]
                if version == b"HTTP/1.0":
                    return [head, *rest, CLOSE]
                return [head, *(b"%x\r\n%b\r\n" % (len(it), it) for it in rest if isinstance(it, bytes) and it), LAST]

            it.origin.answer = unsized  # type: ignore[method-assign]
            bodies = await asyncio.gather(*(node.pull(content) for node in it.nodes))
            assert set(bodies) == {body}
            # Each home of a piece begins to read all. Where nothing says the length, one node reads all for that alone.
            # What is given up at its beginning leaves what was in the buffers by then.
            assert it.origin.bytes_of(content) <= (3 if says_in_head else 4) * len(LARGE) + MIB

    run(story())
