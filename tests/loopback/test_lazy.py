"""Clients that read ranges by themselves, as lazily pulling runtimes do: they get these at once, and nothing else."""

import asyncio
import os
import random
from collections.abc import Sequence
from dataclasses import replace
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import pytest

from mirror.fetch import Phase
from mirror.fetch.spool.readers import Readers
from mirror.oci.ranges import RangeSet, Span
from mirror.settings import EvidenceSettings, FetchSettings, PlanSettings, SpoolSettings
from tests.loopback.lab import STEADY, Lab, collect, lab, running
from tests.loopback.nodes import Answer, Node, cluster
from tests.loopback.servers import (
    LARGE,
    MIB,
    Part,
    Request,
    Server,
    always,
    content_of,
    corrupt,
    honest,
    inverted,
    part,
    refusal,
    run,
)

CONTENT = content_of(LARGE)
SIZE = len(LARGE)
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"


def header(*spans: Span) -> dict[str, str]:
    return {"Range": "bytes=" + ",".join(f"{start}-{stop - 1}" for start, stop in spans)}


def parts_of(answer: Answer) -> list[bytes]:
    """The parts of an answer to a request for several ranges."""
    head = f"Content-Type: {answer.headers['Content-Type']}\r\n".encode()
    parts: Any = BytesParser().parsebytes(head + answer.body).get_payload()
    return [part.get_payload(decode=True) for part in parts]


async def read(node: Node, *spans: Span, body: bytes = LARGE) -> None:
    """Read ranges with one request, and see that they are right."""
    answer = await node.get(content_of(body), headers=header(*spans))
    assert (answer.status, answer.complete) == (206, True), answer
    got = parts_of(answer) if len(spans) > 1 else [answer.body]
    assert got == [body[start:stop] for start, stop in spans]


@pytest.mark.parametrize("capacity", [1 << 30, 0])
@pytest.mark.parametrize("nodes", [1, 3])
def test_what_is_read_comes_at_once_and_upstream_sends_nothing_else(tmp_path: Path, capacity: int, nodes: int) -> None:
    """The order of requests is that of a runtime that looks for the table of contents at the end of a layer."""

    async def story() -> None:
        async with cluster(tmp_path, nodes, capacity) as it:
            content = it.origin.has(LARGE)
            it.origin.gates = {5 * MIB: asyncio.Event()}  # the whole never comes
            first, last = it.nodes[0], it.nodes[-1]
            await read(first, (0, 2))
            assert (await first.get(content, method="HEAD")).headers["Content-Length"] == str(SIZE)
            await read(first, (SIZE - 51, SIZE))
            await read(first, (SIZE - 40_000, SIZE - 51))
            tail = await last.get(content, headers={"Range": "bytes=-100"})
            assert (tail.status, tail.body) == (206, LARGE[-100:])
            await read(first, (6 * MIB, 6 * MIB + 50_000), (MIB, MIB + 10))
            by_another = 0 if last is first else 100 + 1  # it has to find out the size
            assert it.origin.bytes_of(content) == 2 + 40_000 + 50_010 + by_another

    run(story())


def test_ranges_that_lie_close_together_cost_upstream_few_requests(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 1) as it:
            content = it.origin.has(LARGE)
            spans = [(at, at + 10_000) for at in range(1000, SIZE - 20_000, 10_200)][:1000]
            await read(it.nodes[0], *spans)
            wanted = sum(stop - start for start, stop in spans)
            assert it.origin.bytes_of(content) <= 1.07 * wanted
            assert len(it.origin.asked_for(content)) < 20

    run(story())


def test_a_whole_pull_uses_what_was_read(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 1) as it:
            content, node = it.origin.has(LARGE), it.nodes[0]
            spans = [(SIZE - 50_000, SIZE), (3 * MIB, 4 * MIB)]
            await read(node, *spans)
            await it.pull(content)
            assert it.origin.bytes_of(content) == SIZE

    run(story())


@pytest.mark.parametrize("damage", [False, True])
def test_what_was_read_is_kept_after_the_fetch_has_ended_and_used_as_far_as_it_is_right(
    tmp_path: Path, damage: bool
) -> None:
    async def story() -> None:
        settings = replace(STEADY, fetch=FetchSettings(idle_s=0.01))
        async with lab(tmp_path, honest(LARGE), settings=settings) as it:
            for start, stop in ((SIZE - 50_000, SIZE), (3 * MIB, 4 * MIB)):
                assert await it.read_range(CONTENT, start, stop) == LARGE[start:stop]
            while it.record.outcome is Phase.RUNNING:
                await asyncio.sleep(0.01)
            if damage:
                (left,) = (tmp_path / "spool").glob(CONTENT.digest.hex)
                with left.open("r+b") as file:
                    file.seek(SIZE - 10)
                    file.write(b"x")
            asked = len(it.registry.asked)
            start, stop = 3 * MIB + 7, 3 * MIB + 70_000
            assert await it.read_range(CONTENT, start, stop) == LARGE[start:stop]
            await it.whole(CONTENT)
            assert it.held(CONTENT)
            again = RangeSet(*((start, stop or SIZE) for start, stop in it.registry.asked[asked:]))
            assert again.byte_count <= SIZE - MIB - (0 if damage else 50_000) + 1

    run(story())


def test_ranges_that_are_all_of_a_blob_make_it_a_blob(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 1) as it:
            content, node = it.origin.has(LARGE), it.nodes[0]
            await asyncio.gather(*(read(node, (at, min(at + 2 * MIB, SIZE))) for at in range(0, SIZE, 2 * MIB)))
            while not node.held(content):
                await asyncio.sleep(0.01)
            assert it.origin.bytes_of(content) == SIZE

    run(story())


def test_a_range_does_not_wait_for_its_turn_in_a_download_of_the_whole(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 1) as it:
            content, node = it.origin.has(LARGE), it.nodes[0]
            it.origin.gates = {4 * MIB: asyncio.Event()}
            pulling = asyncio.create_task(node.pull(content))
            while it.origin.bytes_of(content) < 4 * MIB:
                await asyncio.sleep(0.01)
            await read(node, (SIZE - 50, SIZE))
            it.origin.gates[4 * MIB].set()
            assert await pulling == LARGE

    run(story())


def test_who_resumes_gets_the_last_piece_only_when_the_digest_is_right(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 1) as it:
            content, node = it.origin.has(LARGE), it.nodes[0]
            it.origin.bodies[f"/v2/{content.path}"] = corrupt(LARGE, SIZE - 1)
            answer = await node.get(content, headers={"Range": f"bytes={SIZE - 100}-"})
            assert (answer.status, answer.complete, answer.body) == (206, False, b"")

    run(story())


def test_two_holders_vouch_for_each_other_and_upstream_is_not_asked(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LARGE)) as it:
            for body in (LARGE, LARGE):
                await it.holder(honest(body), vouches_for=body)
            it.fetching.stated.note([(CONTENT.digest.hex, SIZE)])
            assert await it.read_range(CONTENT, SIZE - 50_000, SIZE) == LARGE[-50_000:]
            assert not it.registry.asked

    run(story())


def test_a_range_that_is_here_is_vouched_for_part_by_part_to_its_end(tmp_path: Path) -> None:
    """All of it has come before the word for its first part, so nothing else happens that would have others asked."""
    it: Lab

    class Slow(Server):
        async def answer(self, request: Request) -> Sequence[Part]:
            if "skvaller-want" in request.headers:
                while not running(it.fetching, CONTENT).spool.present.covers(MIB, 11 * MIB):
                    await asyncio.sleep(0.01)
            return await super().answer(request)

    async def story() -> None:
        nonlocal it
        async with lab(tmp_path, honest(LARGE)) as it:
            for _ in range(2):
                await it.holder(honest(LARGE), vouches_for=LARGE, kind=Slow)
            it.fetching.stated.note([(CONTENT.digest.hex, SIZE)])
            assert await it.read_range(CONTENT, MIB, 11 * MIB) == LARGE[MIB : 11 * MIB]
            assert not it.registry.asked

    run(story())


@pytest.mark.parametrize("capacity", [1 << 30, 0])
def test_nobody_waits_for_ever_for_a_wake_up_that_is_lost(
    tmp_path: Path, capacity: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Readers, "wake_at", lambda *_: None)

    async def story() -> None:
        settings = replace(STEADY, fetch=FetchSettings(look_s=0.02))
        async with lab(tmp_path, always(BUSY), capacity, settings) as it:
            for _ in range(2):
                await it.holder(honest(LARGE), vouches_for=LARGE)
            it.fetching.stated.note([(CONTENT.digest.hex, SIZE)])
            assert await it.read_range(CONTENT, MIB, 7 * MIB) == LARGE[MIB : 7 * MIB]

    run(story())


@pytest.mark.parametrize("liars", [1, 2])
def test_a_holder_that_lies_costs_upstream_the_range_once(tmp_path: Path, liars: int) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LARGE)) as it:
            for number in range(3):
                body = inverted(LARGE) if number < liars else LARGE
                await it.holder(honest(body), vouches_for=LARGE[::-1] if number < liars else LARGE)
            for at in range(MIB, 3 * MIB, MIB // 2):
                assert await it.read_range(CONTENT, at, at + 50_000) == LARGE[at : at + 50_000]
            assert sum((stop or SIZE) - start for start, stop in it.registry.asked) <= 5 * 50_000

    run(story())


def test_a_lone_holder_is_not_asked_while_upstream_can_be(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LARGE)) as it:
            holder = await it.holder(honest(inverted(LARGE)))
            assert await it.read_range(CONTENT, 5 * MIB, 5 * MIB + 10) == LARGE[5 * MIB : 5 * MIB + 10]
            assert not holder.asked
            assert it.registry.asked == [(5 * MIB, 5 * MIB + 10)]

    run(story())


@pytest.mark.parametrize("upstream", ["is down", "is silent"])
def test_without_upstream_a_range_of_a_lone_holder_waits_for_the_digest(tmp_path: Path, upstream: str) -> None:
    async def silent(start: int, stop: int | None) -> Sequence[Part]:
        await asyncio.Event().wait()
        raise AssertionError

    async def story() -> None:
        settings = replace(
            STEADY, plan=PlanSettings(lazy_patience_s=0.2, late_s=1e9), evidence=EvidenceSettings(again_s=0.1)
        )
        async with lab(tmp_path, silent if upstream == "is silent" else always(BUSY), settings=settings) as it:
            await it.holder(honest(LARGE))
            it.fetching.stated.note([(CONTENT.digest.hex, SIZE)])
            assert await it.read_range(CONTENT, SIZE - 50, SIZE) == LARGE[-50:]
            assert it.held(CONTENT)

    run(story())


@pytest.mark.parametrize("said", [b"", inverted(LARGE)], ids=["nothing", "what is not so"])
def test_where_neither_holders_nor_upstream_vouch_a_range_waits_for_the_digest(tmp_path: Path, said: bytes) -> None:
    """Upstream lets nobody ask, for hours perhaps: however little is read, it is not asked for that again and again."""

    async def story() -> None:
        settings = replace(STEADY, evidence=EvidenceSettings(again_s=0.05))
        async with lab(tmp_path, always(refusal(429)), settings=settings) as it:
            for _ in range(2):
                await it.holder(honest(LARGE), vouches_for=said or None)
            it.fetching.stated.note([(CONTENT.digest.hex, SIZE)])
            assert await it.read_range(CONTENT, SIZE - 50, SIZE) == LARGE[-50:]
            assert it.held(CONTENT)

    run(story())


@pytest.mark.parametrize("is_also_read_whole", [False, True])
def test_a_registry_without_ranges_sends_the_whole_through_memory(tmp_path: Path, is_also_read_whole: bool) -> None:
    everything = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE, LARGE

    async def story() -> None:
        settings = replace(STEADY, spool=SpoolSettings(window_bytes=8 * MIB), plan=PlanSettings(upstream_rest_s=0.05))
        async with lab(tmp_path, always(*everything), 0, settings) as it:
            whole = asyncio.create_task(it.read(CONTENT)) if is_also_read_whole else None
            for start in (5 * MIB, SIZE - 50, 100):
                assert await it.read_range(CONTENT, start, start + 50) == LARGE[start : start + 50]
            assert whole is None or await whole == LARGE

    run(story())


def test_who_comes_back_to_dropped_bytes_gets_them_though_the_whole_is_complete_meanwhile(tmp_path: Path) -> None:
    async def story() -> None:
        asked, is_complete = asyncio.Event(), asyncio.Event()

        async def registry(start: int, stop: int | None) -> Sequence[Part]:
            if stop == 150:
                asked.set()
                await is_complete.wait()
            return part(LARGE, start, stop)

        settings = replace(STEADY, spool=SpoolSettings(window_bytes=4 * MIB))
        async with lab(tmp_path, registry, 0, settings) as it:
            with it.fetching.fetches.read(CONTENT) as whole:
                fetch, size = running(it.fetching, CONTENT), await whole.size()
                assert await collect(whole, 0, 9 * MIB) == LARGE[: 9 * MIB]
                again = asyncio.create_task(it.read_range(CONTENT, 100, 150))
                await asked.wait()
                assert await collect(whole, 9 * MIB, size) == LARGE[9 * MIB :]
                await whole.completed()
                is_complete.set()
                assert await again == LARGE[100:150]
            await fetch.task
            assert it.record.outcome is Phase.COMPLETE

    run(story())


def test_a_registry_without_ranges_is_asked_for_the_whole_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 1) as it:
            content, node = it.origin.has(LARGE), it.nodes[0]
            it.origin.without_ranges = True
            await read(node, (SIZE - 50, SIZE), (MIB, MIB + 100))
            await read(node, (SIZE - 5000, SIZE))
            first, *_ = it.origin.ranges_of(content)
            assert first[0] == 0
            assert len(it.origin.asked_for(content)) <= 3  # one for each range that was read, before it was known

    run(story())


def test_a_range_beyond_the_end_is_refused_with_the_size(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 1) as it:
            content, node = it.origin.has(LARGE), it.nodes[0]
            it.origin.behave = lambda request, answer: (
                [b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */%d\r\nContent-Length: 0\r\n\r\n" % SIZE]
                if request.start >= SIZE
                else answer
            )
            answer = await node.get(content, headers=header((SIZE, SIZE + 10)))
            assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{SIZE}")
            assert it.origin.bytes_of(content) <= 1

    run(story())


def test_in_memory_what_was_read_gives_way_to_what_is_read(tmp_path: Path) -> None:
    """Blobs pass through memory: thousands of ranges, each a part of a piece, stay within the window."""

    async def story() -> None:
        settings = replace(STEADY, spool=SpoolSettings(window_bytes=2 * MIB, window_pieces=2))
        async with lab(tmp_path, honest(LARGE), 0, settings) as it:
            scattered = random.Random(2).sample(range(0, SIZE - 30_000, 30_000), 300)
            with it.fetching.fetches.read(CONTENT, from_start=False, part=(0, 2)):
                for at in scattered:
                    assert await it.read_range(CONTENT, at, at + 20_000) == LARGE[at : at + 20_000]
                spool = running(it.fetching, CONTENT).spool
                assert spool.present.byte_count <= 2 * MIB
                assert spool.backing is not None
                pages = (await asyncio.to_thread(_allocated, spool.backing.fd)) / MIB
                assert pages <= 3.5

    run(story())


def _allocated(fd: int) -> int:
    return os.fstat(fd).st_blocks * 512


def test_ranges_that_are_large_together_pass_through_a_small_window(tmp_path: Path) -> None:
    async def story() -> None:
        settings = replace(STEADY, spool=SpoolSettings(window_bytes=4 * MIB, window_pieces=4))
        async with cluster(tmp_path, 1, 0, settings) as it:
            content = it.origin.has(LARGE)
            spans = [(at, at + MIB) for at in range(0, 11 * MIB, MIB + MIB // 2)]
            await read(it.nodes[0], *spans)
            wanted = sum(stop - start for start, stop in spans)
            assert wanted <= it.origin.bytes_of(content) <= 1.07 * wanted

    run(story())


def test_a_request_that_is_given_up_ends_what_was_fetched_for_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LARGE), settings=replace(STEADY, plan=PlanSettings(late_s=1e9))) as it:
            gate = asyncio.Event()

            async def gated(start: int, stop: int | None) -> Sequence[Part]:
                if start >= MIB:
                    await gate.wait()
                return part(LARGE, start, stop)

            it.registry.script = gated
            await it.read_range(CONTENT, 0, 2)
            with it.fetching.fetches.read(CONTENT, from_start=False, part=(0, 2)) as reader:
                reader.expect([(2 * MIB, 3 * MIB), (5 * MIB, 6 * MIB)])
                while not (plan := running(it.fetching, CONTENT).spool.demand()).lazy:
                    await asyncio.sleep(0.01)
                assert plan.lazy.byte_count == 2 * MIB
            assert not running(it.fetching, CONTENT).spool.demand().lazy
            gate.set()

    run(story())


@pytest.mark.parametrize("body", [LARGE, LARGE[:700_000]], ids=["large", "small"])
def test_a_range_that_a_lone_holder_has_comes_once_the_digest_is_right(tmp_path: Path, body: bytes) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 2) as it:  # upstream does not know it, and no manifest states its size
            holder, reader = it.nodes
            await it.give(holder, body)
            await read(reader, (100, 200), body=body)
            await read(reader, (len(body) - 7, len(body)), body=body)

    run(story())


@pytest.mark.parametrize("holders", [1, 2])
def test_a_range_beyond_the_end_is_told_the_size_by_whoever_knows_it(tmp_path: Path, holders: int) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 3) as it:
            *others, reader = it.nodes
            for holder in others[:holders]:
                await it.give(holder, LARGE)
            answer = await reader.get(CONTENT, headers={"Range": "bytes=900000000-900000100"})
            assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{SIZE}")
            assert (await reader.get(CONTENT)).body == LARGE, "nobody rests for that"

    run(story())
