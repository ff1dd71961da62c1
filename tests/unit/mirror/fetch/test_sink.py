"""What a worker thread may take by itself, and what it leaves to the event loop."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mirror.fetch.plan import Flight
from mirror.fetch.sink import FlightSink
from mirror.fetch.spool import DiskFile, Spool
from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.reference import Repository
from mirror.settings import SpoolSettings
from mirror.sources import RangeReply, Role

SIZE = 1000
CONTENT = Content(Repository("docker.io", "a/a"), "blobs", Digest.of(b""))


@dataclass
class Loop:
    """What the event loop was told."""

    replies: list[RangeReply] = field(default_factory=list)
    reports: list[tuple[RangeReply | None, int, list[tuple[int, int]]]] = field(default_factory=list)

    async def on_reply(self, flight: Flight, reply: RangeReply) -> None:
        self.replies.append(reply)

    def on_bytes(self, flight: Flight, reply: RangeReply | None, position: int, written: list[tuple[int, int]]) -> None:
        self.reports.append((reply, position, written))


def spool(folder: Path, size: int | None = SIZE) -> Spool:
    it = Spool(CONTENT, SpoolSettings(), lambda: None, lambda start, stop: set())
    if size is not None:
        fd = os.open(folder / "spool", os.O_RDWR | os.O_CREAT)
        os.ftruncate(fd, size)
        it.open(DiskFile(fd, size))
    return it


def play(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 30))


def made(it: Spool, loop: Loop, start: int = 0, stop: int | None = SIZE) -> FlightSink:
    return FlightSink(Flight("a", Role.HOME, start, stop, 0.0), it, it.size, 0.0, loop.on_reply, loop.on_bytes)


@pytest.mark.parametrize(
    ("size", "stop", "reply"),
    [
        (None, None, RangeReply(0, SIZE, SIZE)),
        (None, SIZE, RangeReply(0, SIZE, SIZE)),
        (SIZE, SIZE, RangeReply(0, SIZE, SIZE + 1)),
        (SIZE, SIZE, RangeReply(0, SIZE - 1, SIZE)),
        (SIZE, SIZE, RangeReply(0, SIZE, SIZE, ranged=False)),
    ],
)
def test_a_reply_that_was_not_expected_is_left_to_the_loop(
    tmp_path: Path, size: int | None, stop: int | None, reply: RangeReply
) -> None:
    async def story() -> None:
        loop, it = Loop(), spool(tmp_path, size)
        sink = made(it, loop, stop=stop)
        assert not sink.begin_at_once(reply)
        await sink.begin(reply)
        assert loop.replies == [reply]
        it.close()

    play(story)


def test_before_the_size_is_agreed_on_no_reply_is_expected_though_the_file_is_open(tmp_path: Path) -> None:
    async def story() -> None:
        loop, it = Loop(), spool(tmp_path)
        sink = FlightSink(Flight("a", Role.HOME, 0, SIZE, 0.0), it, None, 0.0, loop.on_reply, loop.on_bytes)
        assert not sink.begin_at_once(RangeReply(0, SIZE, SIZE))
        it.close()

    play(story)


def test_an_expected_reply_is_reported_before_its_bytes(tmp_path: Path) -> None:
    async def story() -> None:
        loop, it = Loop(), spool(tmp_path)
        sink = made(it, loop, 100)
        reply = RangeReply(100, SIZE, SIZE, origin="b")
        assert await asyncio.to_thread(sink.begin_at_once, reply)
        await asyncio.to_thread(sink.put, 100, bytes(50))
        while not loop.reports:
            await asyncio.sleep(0)
        await asyncio.to_thread(sink.put, 150, bytes(850))
        sink.report()
        assert loop.replies == []
        assert loop.reports == [(reply, 150, [(100, 150)]), (None, SIZE, [(150, SIZE)])]
        it.close()

    play(story)


def test_bytes_that_another_flight_wrote_are_not_written_again(tmp_path: Path) -> None:
    async def story() -> None:
        loop, it = Loop(), spool(tmp_path)
        it.put(20, b"x" * 10)
        sink = made(it, loop)
        sink.put(0, b"y" * 40)
        sink.report()
        assert loop.reports == [(None, 40, [(0, 20), (30, 40)])]
        it.close()

    play(story)


def test_nothing_new_is_no_report(tmp_path: Path) -> None:
    async def story() -> None:
        loop, it = Loop(), spool(tmp_path)
        sink = made(it, loop)
        sink.report()
        assert loop.reports == []
        it.close()

    play(story)
