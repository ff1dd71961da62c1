"""Fetching from real servers on loopback that do what a test tells them to, good or bad."""

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mirror.errors import BlobUnknown, Denied, MirrorError, SourceError, Unavailable
from mirror.oci.reference import Repository
from mirror.routers import Peer
from mirror.settings import FetchSettings
from mirror.sources.upstream.registries import Registry
from tests.loopback.lab import STEADY, collect, lab, running
from tests.loopback.servers import (
    CLOSE,
    LARGE,
    MIB,
    NOT_FOUND,
    SMALL,
    WITHIN_S,
    Part,
    Script,
    always,
    breaks_off,
    content_of,
    corrupt,
    honest,
    inverted,
    part,
    run,
    stalls,
)


def test_a_fetch_waits_for_a_router_that_has_to_ask_who_holds_the_blob(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(SMALL)) as it:
            asked, answered = asyncio.Event(), asyncio.get_running_loop().create_future()

            def ask() -> asyncio.Future[None]:
                asked.set()
                return asyncio.shield(answered)

            it.router.asks = ask
            reading = asyncio.create_task(it.read(content_of(SMALL)))
            await asked.wait()
            await it.holder(honest(SMALL))
            assert it.registry.asked == []
            answered.set_result(None)
            assert await reading == SMALL
            assert it.record.sources == {"m1": len(SMALL)}
            assert it.registry.asked == []

    run(story())


def test_a_fetch_that_goes_on_has_others_asked_again_and_does_not_wait_for_them(tmp_path: Path) -> None:
    async def story() -> None:
        again, never = asyncio.Event(), asyncio.get_running_loop().create_future()

        async def upstream(start: int, stop: int | None) -> Sequence[Part]:
            await again.wait()
            return part(SMALL, start, stop)

        async with lab(tmp_path, upstream) as it:
            answers = iter([None])

            def ask() -> asyncio.Future[None] | None:
                with contextlib.suppress(StopIteration):
                    return next(answers)
                again.set()
                return asyncio.shield(never)

            it.router.asks = ask
            assert await it.read(content_of(SMALL)) == SMALL

    run(story())


def test_pieces_come_from_all_holders_at_once_and_upstream_is_left_alone(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LARGE)) as it:
            both = asyncio.Barrier(2)

            def waiting() -> Script:
                async def script(start: int, stop: int | None) -> Sequence[Part]:
                    if start >= MIB:  # neither gets further unless both are asked at the same time
                        await both.wait()
                    return part(LARGE, start, stop)

                return script

            servers = [await it.holder(waiting()) for _ in range(2)]
            assert await it.read(content_of(LARGE)) == LARGE
            assert it.record.sources.keys() == {"m1", "m2"}
            assert sum(it.record.sources.values()) == len(LARGE)
            assert all(stop is not None and stop - start <= MIB for s in servers for start, stop in s.asked)
            assert it.registry.asked == []
            assert it.held(content_of(LARGE))
            assert content_of(LARGE).digest.key in it.router.advertised

    run(story())


def test_many_readers_share_one_download(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LARGE)) as it:
            content = content_of(LARGE)
            ranges = [(0, None), (0, None), (5 * MIB, None), (7, 4 * MIB), (len(LARGE) - 10, None)]
            bodies = await asyncio.gather(*(it.read(content, *wanted) for wanted in ranges))
            assert bodies == [LARGE[start:stop] for start, stop in ranges]
            assert it.registry.asked == [(0, None)]

    run(story())


def test_the_last_piece_waits_for_the_digest(tmp_path: Path) -> None:
    async def story() -> None:
        promised = content_of(LARGE[:-1] + b"!")
        async with lab(tmp_path, honest(LARGE)) as it:
            got = bytearray()
            with it.fetching.fetches.read(promised) as reader:
                size = await reader.size()
                with pytest.raises(SourceError, match="digest"):
                    await collect(reader, 0, size, got)
            assert 0 < len(got) <= 12 * MIB
            assert not it.held(promised)
            assert it.leftovers() == []

    run(story())


def lying(**lies: Any) -> Script:
    async def script(start: int, stop: int | None) -> Sequence[Part]:
        return part(LARGE, start, stop, **lies)

    return script


async def chunked(start: int, stop: int | None) -> Sequence[Part]:
    head = f"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{(stop or 0) - 1}/{len(LARGE)}\r\n"
    return [head.encode() + b"Transfer-Encoding: chunked\r\n\r\n", b"zz\r\n"]


BAD: dict[str, Script] = {
    "stalls": stalls,
    "breaks off": breaks_off,
    "503": always(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"),
    "500": always(b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops"),
    "404": always(NOT_FOUND),
    "200": always(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
    "no HTTP": always(b"SSH-2.0-OpenSSH_9.2\r\n", CLOSE),
    "closes": always(CLOSE),
    "wrong range": lying(content_range=f"bytes 7-99/{len(LARGE)}"),
    "range that makes no sense": lying(content_range="bytes 9-3/2"),
    "wrong length": lying(length=3, sent=b"abc"),
    "chunked": chunked,
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_bad_holder_is_replaced_by_a_good_one(tmp_path: Path, bad: Script) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LARGE)) as it:
            await it.holder(bad)
            await it.holder(honest(LARGE))
            assert await it.read(content_of(LARGE)) == LARGE
            assert it.registry.asked == []
            assert it.record.sources["m2"] >= len(LARGE) // 2

    run(story())


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_without_a_good_holder_upstream_goes_on_where_the_bad_one_stopped(tmp_path: Path, bad: Script) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LARGE)) as it:
            await it.holder(bad)
            assert await it.read(content_of(LARGE)) == LARGE
            brought = it.record.sources.get("m1", 0)
            assert it.record.sources["upstream"] == len(LARGE) - brought
            assert brought == 0 or min(start for start, _ in it.registry.asked) > 0

    run(story())


def test_wrong_bytes_of_a_small_blob_are_replaced_before_anybody_sees_them(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(SMALL)) as it:
            await it.holder(honest(corrupt(SMALL, 2 * MIB)))
            assert await it.read(content_of(SMALL)) == SMALL
            assert it.lies() == 1
            assert any("m1 sent wrong bytes" in failure for failure in it.record.failures)
            assert it.held(content_of(SMALL))

    run(story())


def test_among_several_the_liar_is_found_and_shunned(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LARGE)) as it:
            wrong = inverted(LARGE)
            liar = await it.holder(honest(wrong))
            await it.holder(honest(LARGE))
            content = content_of(LARGE)
            with contextlib.suppress(MirrorError):  # it may have got wrong bytes, then it is let go
                assert await it.read(content) == LARGE
            with it.fetching.fetches.read(content) if not it.held(content) else contextlib.nullcontext() as reader:
                if reader is not None:
                    await reader.completed()
            assert it.held(content)
            assert it.lies() == 1
            asked = len(liar.asked)
            other = content_of(SMALL)
            with contextlib.suppress(MirrorError):
                await it.read(other)
            assert len(liar.asked) == asked

    run(story())


@pytest.mark.parametrize("holders", [3, 5, 8])
def test_one_liar_among_many_is_found_without_upstream(tmp_path: Path, holders: int) -> None:
    async def story() -> None:
        async with lab(tmp_path, always(NOT_FOUND)) as it:
            wrong = inverted(LARGE)
            for number in range(holders):
                await it.holder(honest(wrong if number == 2 else LARGE))
            content = content_of(LARGE)
            with it.fetching.fetches.read(content) as reader:
                await reader.completed()
            assert it.held(content)
            assert [failure for failure in it.record.failures if "wrong" in failure] == ["m3 sent wrong bytes"]
            assert it.lies() == 1

    run(story())


def test_when_members_agree_on_what_is_wrong_upstream_is_asked(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LARGE)) as it:
            same_wrong = corrupt(LARGE, 7 * MIB)
            for _ in range(2):
                await it.holder(honest(same_wrong))
            content = content_of(LARGE)
            with it.fetching.fetches.read(content) as reader:
                await reader.completed()
            assert it.held(content)
            assert it.lies() == 2

    run(story())


@pytest.mark.parametrize("at", [10, 5 * MIB, len(LARGE) - 1])
def test_a_client_never_sees_what_a_lying_holder_sent(tmp_path: Path, at: int) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LARGE)) as it:
            await it.holder(honest(corrupt(LARGE, at)))
            content = content_of(LARGE)
            assert await it.read(content) == LARGE
            assert it.held(content)
            assert it.lies() == 1

    run(story())


def test_a_lie_about_the_size_spoils_one_try_at_most(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LARGE)) as it:
            await it.holder(honest(LARGE + b"more"))
            content = content_of(LARGE)
            with contextlib.suppress(MirrorError):
                await it.read(content)
            assert it.held(content) or await it.read(content) == LARGE

    run(story())


def test_a_holder_that_turns_up_when_all_others_have_failed_is_asked(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, always(NOT_FOUND)) as it:
            late = await it.serve(honest(LARGE))

            async def gains_a_holder(start: int, stop: int | None) -> Sequence[Part]:
                it.router.holders = [Peer("late", "127.0.0.1", late.port)]
                return [NOT_FOUND]

            it.registry.script = gains_a_holder
            assert await it.read(content_of(LARGE)) == LARGE
            assert it.record.sources == {"late": len(LARGE)}

    run(story())


def test_what_upstream_breaks_off_is_resumed(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, breaks_off) as it:
            asked = it.registry.asked

            async def script(start: int, stop: int | None) -> Sequence[Part]:
                return await (breaks_off if len(asked) <= 4 else honest(LARGE))(start, stop)

            it.registry.script = script
            assert await it.read(content_of(LARGE)) == LARGE
            assert len(asked) == 5
            assert [start for start, _ in asked] == sorted({start for start, _ in asked})

    run(story())


@pytest.mark.parametrize(
    ("upstream", "repository", "refusal"),
    [
        (always(NOT_FOUND), "library/x", BlobUnknown),
        (always(NOT_FOUND), "registry.invalid/x", Denied),
        (always(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"), "library/x", Unavailable),
        (always(b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"), "library/x", Unavailable),
    ],
)
def test_when_everybody_fails_the_client_learns_why(
    tmp_path: Path, upstream: Script, repository: str, refusal: type[MirrorError]
) -> None:
    async def story() -> None:
        async with lab(tmp_path, upstream) as it:
            await it.holder(always(NOT_FOUND))
            with pytest.raises(refusal):
                await it.read(content_of(LARGE, repository))
            assert it.leftovers() == []

    run(story())


@pytest.mark.parametrize("failing", [NOT_FOUND, CLOSE], ids=["has it not", "is down"])
def test_what_one_registry_fails_to_send_another_that_is_asked_for_the_same_sends(
    tmp_path: Path, failing: Part
) -> None:
    async def story() -> None:
        joined = asyncio.Event()

        async def fails(start: int, stop: int | None) -> Sequence[Part]:
            await joined.wait()
            return [failing]

        async with lab(tmp_path, honest(SMALL)) as it:
            other = await it.serve(fails)
            registries = [("docker.io", it.registry), ("other.example", other)]
            await it.ask([Registry(name, f"http://127.0.0.1:{at.port}") for name, at in registries])
            good = content_of(SMALL)
            first = asyncio.create_task(it.read(replace(good, repository=Repository.parse("other.example/x"))))
            while not other.asked:
                await asyncio.sleep(0.01)
            second = asyncio.create_task(it.read(good))
            while len(running(it.fetching, good).names) < 2:
                await asyncio.sleep(0.01)
            joined.set()
            assert (await first, await second) == (SMALL, SMALL)

    run(story())


def test_a_fetch_that_nobody_reads_is_given_up(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, stalls, settings=replace(STEADY, fetch=FetchSettings(idle_s=0.05))) as it:
            head, body = part(LARGE, 0, None)

            async def drips(start: int, stop: int | None) -> Sequence[Part]:
                return [head, body[: 2 * MIB], *await stalls(start, stop)]

            it.registry.script = drips
            content = content_of(LARGE)
            began = time.monotonic()
            with it.fetching.fetches.read(content):
                task = running(it.fetching, content).task
            await asyncio.wait_for(task, WITHIN_S)
            assert it.record.outcome == "abandoned"
            assert it.record.seconds <= time.monotonic() - began - 0.04, "the wait for another reader is no part of it"
            assert it.leftovers() == []

    run(story())


@pytest.mark.parametrize("seed", range(12))
def test_readers_that_go_at_any_moment_leave_nothing_behind(tmp_path: Path, seed: int) -> None:
    async def story() -> None:
        rng = random.Random(seed)
        async with lab(tmp_path, honest(LARGE)) as it:
            for number in range(3):
                await it.holder(honest(LARGE) if number else breaks_off)
            content = content_of(LARGE)
            readers = [asyncio.create_task(it.read(content, rng.randrange(len(LARGE)))) for _ in range(4)]
            for _ in range(rng.randrange(40)):
                await asyncio.sleep(0)
            for reader in readers[1:]:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
            assert LARGE.endswith(readers[0].result())
        assert it.leftovers() == []

    run(story())


def test_a_bug_in_the_middle_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LARGE)) as it:

            def stumble(count: int) -> None:
                raise RuntimeError("a bug")

            monkeypatch.setattr(it.metrics.received_bytes.labels("upstream"), "inc", stumble)
            with pytest.raises(Unavailable, match="the log says why"):
                await it.read(content_of(LARGE))
            assert it.leftovers() == []

    run(story())


def test_closing_in_the_middle_leaves_nothing_behind(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LARGE)) as it:
            await it.holder(stalls)
            reader = asyncio.create_task(it.read(content_of(LARGE)))
            await asyncio.sleep(0)
            await it.fetching.close()
            with pytest.raises(Unavailable):
                await reader
        assert it.leftovers() == []

    run(story())
