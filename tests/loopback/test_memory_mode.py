"""What the cache has no room for passes through a bounded spool in memory, verified, and leaves nothing behind."""

import asyncio
import contextlib
import errno
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest

from mirror.errors import MirrorError, SourceError
from mirror.settings import FetchSettings, PlanSettings, SpoolSettings
from mirror.sources.peers.protocol import AVOID_HEADER, ORIGIN_HEADER, ROLE_HEADER
from tests.loopback.lab import STEADY, before_me, collect, lab, running
from tests.loopback.nodes import cluster
from tests.loopback.servers import (
    LARGE,
    MIB,
    SMALL,
    Part,
    Script,
    always,
    breaks_off,
    content_of,
    corrupt,
    honest,
    part,
    refusal,
    run,
    stalls,
)

CONTENT = content_of(LARGE)
WINDOW = 8 * MIB
TWICE = LARGE + LARGE[::-1]


SETTINGS = replace(STEADY, spool=SpoolSettings(window_bytes=WINDOW))
"""Eight pieces of a mebibyte in memory: less than the blob."""


class Watch:
    """How many bytes a spool in memory takes, at most: looks after each turn of the event loop, while it is used."""

    def __init__(self) -> None:
        self.most = 0

    def __enter__(self) -> Self:
        self._next = asyncio.get_running_loop().call_soon(self._look)
        return self

    def __exit__(self, *_: object) -> None:
        self._next.cancel()

    def _look(self) -> None:
        for fd in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # closed meanwhile
                if os.readlink(f"/proc/self/fd/{fd}").startswith("/memfd:spool"):
                    self.most = max(self.most, os.fstat(int(fd)).st_blocks * 512)
        self._next = asyncio.get_running_loop().call_soon(self._look)


def fds_in(folder: Path) -> list[str]:
    """Partial blobs that this process has open, so that their space is not free."""
    opened = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # closed meanwhile
            opened.append(os.readlink(f"/proc/self/fd/{fd}"))
    return [path for path in opened if path.startswith(str(folder / "spool"))]


def files(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != "running"]


@pytest.mark.parametrize("capacity", [0, MIB], ids=["no cache", "too small a cache"])
@pytest.mark.parametrize("body", [LARGE, SMALL, b"x", TWICE], ids=["large", "small", "one byte", "twice as large"])
def test_it_comes_right_within_bounds_and_leaves_no_file(tmp_path: Path, capacity: int, body: bytes) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(body), capacity, SETTINGS) as it:
            with Watch() as watch, it.fetching.fetches.read(content_of(body)) as reader:
                assert await collect(reader, 0, await reader.size()) == body
                passed = reader.is_in_memory
            if len(body) <= capacity:
                assert it.held(content_of(body))
                assert not passed
                return
            assert passed
            assert 0 < watch.most <= WINDOW + 4 * MIB
            assert it.record.sources["upstream"] == len(body)
            assert not it.held(content_of(body))
            assert it.router.advertised == set()
            assert files(tmp_path) == []

    run(story())


@pytest.mark.parametrize("left_pieces", [0, 5], ids=["a new blob", "a blob of which some is here"])
def test_a_disk_that_others_have_filled_has_no_client_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left_pieces: int
) -> None:
    def full(fd: int, start: int, count: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def story() -> None:
        async with lab(tmp_path, breaks_off if left_pieces else honest(LARGE), settings=SETTINGS) as it:
            if left_pieces:
                with pytest.raises(MirrorError):
                    await it.whole(CONTENT)
                assert it.leftovers()
                it.registry.script = honest(LARGE)
            monkeypatch.setattr(os, "posix_fallocate", full)
            with it.fetching.fetches.read(CONTENT) as reader:
                assert await collect(reader, 0, await reader.size()) == LARGE
                assert reader.is_in_memory
            assert not it.held(CONTENT)
            await it.cache.close()
            assert fds_in(tmp_path) == []

    run(story())


def test_a_reader_that_is_slow_holds_upstream_up_and_not_memory(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(TWICE), 0, SETTINGS) as it:
            got = bytearray()
            with Watch() as watch, it.fetching.fetches.read(content_of(TWICE)) as followed:
                size = await followed.size()
                async for offset, count in followed.extents(0, size):
                    for _ in range(50):
                        await asyncio.sleep(0)  # others get far, if they can
                    got += os.pread(followed.fd, count, offset)
            assert got == TWICE
            assert watch.most <= WINDOW + 4 * MIB
            assert it.record.sources == {"upstream": len(TWICE)}

    run(story())


def test_an_upstream_without_ranges_sends_it_once_however_slowly_it_is_read(tmp_path: Path) -> None:
    async def story() -> None:
        async def whole(start: int, stop: int | None) -> Sequence[Part]:
            return [f"HTTP/1.1 200 OK\r\nContent-Length: {len(TWICE)}\r\n\r\n".encode(), TWICE]

        async with lab(tmp_path, whole, 0, SETTINGS) as it:
            (home,) = before_me(content_of(TWICE), 1)
            await it.home(home, always(refusal(503, "unable")))
            with it.fetching.fetches.read(content_of(TWICE)) as followed:
                size = await followed.size()
                count = 0
                async for _, more in followed.extents(0, size):
                    await asyncio.sleep(0)
                    count += more
            assert count == size
            assert it.record.sources == {"upstream": size}

    run(story())


def test_two_readers_at_once_share_one_download(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LARGE), 0, SETTINGS) as it:
            assert set(await asyncio.gather(it.read(CONTENT), it.read(CONTENT))) == {LARGE}
            assert it.record.sources["upstream"] == len(LARGE)

    run(story())


def test_a_reader_that_comes_when_the_beginning_was_let_go_gets_all_of_it_too(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(TWICE), 0, SETTINGS) as it:
            content = content_of(TWICE)
            with it.fetching.fetches.read(content) as followed:
                size = await followed.size()
                fetch = running(it.fetching, content)
                first = bytearray()
                later: asyncio.Task[bytes] | None = None
                async for offset, count in followed.extents(0, size):
                    first += os.pread(followed.fd, count, offset)
                    if fetch.spool.is_trimmed and later is None:
                        later = asyncio.create_task(it.read(content))
                        await asyncio.sleep(0)
            assert first == TWICE
            assert later is not None
            assert await later == TWICE

    run(story())


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, 10), (5 * MIB + 3, 6 * MIB), (11 * MIB, len(LARGE)), (len(LARGE) - 1, len(LARGE)), (7, 9 * MIB)],
)
def test_ranges(tmp_path: Path, start: int, stop: int) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LARGE), 0, SETTINGS) as it:
            assert await it.read(CONTENT, start, stop) == LARGE[start:stop]

    run(story())


def test_several_ranges_at_once_as_containerd_asks_for_them(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 1, capacity=0, settings=SETTINGS) as it:
            content = it.origin.has(LARGE)
            (node,) = it.nodes
            chunk = 4 * MIB

            async def read(number: int) -> bytes:
                url = f"http://127.0.0.1:{node.client_port}/v2/{content.path}"
                answer = await it.http.get(url, headers={"Range": f"bytes={number * chunk}-"})
                body = await answer.content.readexactly(min(chunk, len(LARGE) - number * chunk))
                answer.close()
                return body

            assert b"".join(await asyncio.gather(*(read(number) for number in range(4)))) == LARGE

    run(story())


@pytest.mark.parametrize("is_lazy", [True, False], ids=["a range", "the whole"])
def test_what_clients_left_behind_keeps_nobody_waiting(tmp_path: Path, is_lazy: bool) -> None:
    """Upstream is held up with what they asked for, until somebody comes for it, by as many requests as it may get."""
    left = [(at * MIB, at * MIB + MIB // 2) for at in range(4, 4 + PlanSettings().lazy_lanes)]
    gate = asyncio.Event()

    async def at_the_gate(start: int, stop: int | None) -> Sequence[Part]:
        head, body = part(LARGE, start, stop)
        return [head, gate, body] if start >= left[0][0] and stop is not None else [head, body]

    async def story() -> None:
        async with lab(tmp_path, at_the_gate, 0, SETTINGS) as it:
            leaving = []
            for number, span in enumerate(left, 1):
                leaving.append(asyncio.create_task(it.read_range(CONTENT, *span)))
                while len(it.registry.asked) < number:
                    await asyncio.sleep(0.01)
            for task in leaving:
                task.cancel()
            await asyncio.gather(*leaving, return_exceptions=True)
            gate.set()
            if is_lazy:
                assert await it.read_range(CONTENT, 10, 20) == LARGE[10:20]
            else:
                assert await it.read(CONTENT) == LARGE

    run(story())


@pytest.mark.parametrize("at", [0, 6 * MIB + 5, len(LARGE) - 1])
def test_wrong_bytes_never_make_a_complete_blob(tmp_path: Path, at: int) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(corrupt(LARGE, at)), 0, SETTINGS) as it:
            got = bytearray()
            with it.fetching.fetches.read(CONTENT) as followed:
                size = await followed.size()
                with pytest.raises(SourceError):
                    await collect(followed, 0, size, got)
            assert len(got) < size

    run(story())


FAILING: dict[str, Script] = {
    "breaks off": breaks_off,
    "says nothing": stalls,
    "503": always(refusal(503)),
    "404": always(refusal(404)),
}


@pytest.mark.parametrize("failing", FAILING.values(), ids=FAILING.keys())
def test_it_goes_on_where_a_bad_holder_stopped(tmp_path: Path, failing: Script) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LARGE), 0, SETTINGS) as it:
            await it.holder(failing)
            assert await it.read(CONTENT) == LARGE

    run(story())


@pytest.mark.parametrize("count", [2, 3])
def test_nodes_without_a_cache_pull_together(tmp_path: Path, count: int) -> None:
    async def story() -> None:
        async with cluster(tmp_path, count, capacity=0, settings=SETTINGS) as it:
            content = it.origin.has(TWICE)
            with Watch() as watch:
                bodies = await asyncio.gather(*(node.pull(content) for node in it.nodes))
            assert set(bodies) == {TWICE}
            assert watch.most <= WINDOW + 8 * MIB
            once_each = count * len(TWICE)  # nobody could vouch in time for what members send
            assert it.origin.bytes_of(content) <= 1.25 * once_each
            for node in it.nodes:
                assert files(node.folder) == []

    run(story())


def test_a_home_without_a_cache_relays_to_those_that_have_one(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 3, settings=SETTINGS) as it:
            bare = await it.join(capacity=0)
            content = it.origin.has(LARGE)
            bodies = await asyncio.gather(*(node.pull(content) for node in it.nodes))
            assert set(bodies) == {LARGE}
            assert all(node.held(content) for node in it.nodes if node is not bare)
            assert bare.served() > 0
            bare_itself = len(LARGE)  # it takes nothing of members for its own client
            assert it.origin.bytes_of(content) <= bare_itself + 1.25 * len(LARGE)

    run(story())


def test_a_home_without_a_cache_gives_any_range(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 1, capacity=0, settings=SETTINGS) as it:
            content = it.origin.has(TWICE)
            (home,) = it.nodes
            for start in (20 * MIB, 0, 11 * MIB, 1):
                stop = start + MIB + 5
                asked = {ROLE_HEADER: "home", "Range": f"bytes={start}-{stop - 1}"}
                answer = await home.ask(f"/v2/{content.path}", peer=True, headers=asked)
                assert (answer.status, answer.body) == (206, TWICE[start:stop])
                assert answer.headers[ORIGIN_HEADER] == "upstream"

    run(story())


def test_what_passed_for_others_makes_way_for_a_client(tmp_path: Path) -> None:
    async def story() -> None:
        settings = replace(SETTINGS, fetch=FetchSettings(in_memory_max=2))
        async with cluster(tmp_path, 1, capacity=0, settings=settings) as it:
            (home,) = it.nodes
            blobs = [LARGE[:-1] + bytes([number]) for number in range(3)]
            contents = [it.origin.has(blob) for blob in blobs]
            asked = {ROLE_HEADER: "home", "Range": f"bytes=0-{MIB - 1}"}
            for content in contents[:2]:
                assert (await home.ask(f"/v2/{content.path}", peer=True, headers=asked)).status == 206
            assert len(home.fetching.memory) == 2
            assert (await home.get(contents[2])).body == blobs[2]

    run(story())


def test_bytes_that_were_let_go_shame_nobody(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 1, capacity=0, settings=SETTINGS) as it:
            home, holder = it.nodes[0], await it.join(capacity=1 << 30)
            content = it.origin.has(TWICE)
            await it.give(holder, TWICE)
            with home.fetching.fetches.read(content) as followed:
                await followed.size()
                reading = followed.extents(0, len(TWICE))
                await anext(reading)
                fetch = running(home.fetching, content)
                while not fetch.provenance.within(2 * MIB, 2 * MIB + 1):
                    await asyncio.sleep(0.01)
                asked = {ROLE_HEADER: "home", AVOID_HEADER: holder.name, "Range": f"bytes={2 * MIB}-{3 * MIB - 1}"}
                answer = await home.ask(f"/v2/{content.path}", peer=True, headers=asked)
                assert answer.body == TWICE[2 * MIB : 3 * MIB]
                assert [extent async for extent in reading]
            await fetch.task
            assert fetch.spool.is_trimmed
            assert fetch.spool.is_complete
            assert (home.fetching.health.unusable(), home.lies()) == (set(), 0)

    run(story())


def test_a_client_that_goes_lets_the_memory_go(tmp_path: Path) -> None:
    async def story() -> None:
        async def held_back(start: int, stop: int | None) -> Sequence[Part]:
            head, body = part(LARGE, start, stop)
            return [head, body[:MIB], asyncio.Event()]

        settings = replace(SETTINGS, fetch=FetchSettings(idle_s=0.01))
        async with lab(tmp_path, held_back, 0, settings) as it:
            with it.fetching.fetches.read(CONTENT) as followed:
                await followed.size()
                task = running(it.fetching, CONTENT).task
            await task
            assert (len(it.fetching.memory), followed.fd) == (0, -1)

    run(story())
