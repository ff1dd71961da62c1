"""Held: a slow reader is given less at once, so that no look at the page cache is old when its bytes leave."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from mirror.stores import Held
from tests.unchecked import Unchecked

MIB = 1024 * 1024


class Asked(Unchecked):
    """Notes what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.ranges: list[tuple[int, int]] = []

    async def ready(self, fd: int, start: int, stop: int) -> int:
        self.ranges.append((start, stop))
        return min(stop, start + 64 * MIB)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    path = tmp_path / "file"
    path.touch()
    with Held(os.open(path, os.O_RDONLY), 1024 * MIB, "shelf", Asked()) as held:
        yield held


class Clock:
    """The loop's time, beside which some is passed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self.late_s = 0.0
        real = loop.time
        monkeypatch.setattr(loop, "time", lambda: real() + self.late_s)


@pytest.mark.parametrize("bytes_per_s", [100_000, 1_250_000, 2 * MIB])
def test_a_slow_reader_is_given_what_it_takes_in_a_second(
    held: Held, monkeypatch: pytest.MonkeyPatch, bytes_per_s: int
) -> None:
    async def story() -> None:
        clock = Clock(monkeypatch)
        sizes: list[int] = []
        async with aclosing(held.ready(0, held.size)) as parts:
            async for _, count in parts:
                clock.late_s += count / bytes_per_s
                sizes.append(count)
                if len(sizes) == 6:
                    break
        assert max(sizes) <= 4 * MIB, "nor is it before its rate is known"
        assert max(sizes[2:]) <= max(MIB, bytes_per_s)

    asyncio.run(story())


def test_a_reader_that_becomes_slow_soon_gets_less(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        clock = Clock(monkeypatch)
        async with aclosing(held.ready(0, held.size)) as parts:
            while (await anext(parts))[1] < 64 * MIB:
                pass
            sizes = []
            for _ in range(4):
                clock.late_s += 32.0
                sizes.append((await anext(parts))[1])
        assert max(sizes[1:]) <= 2 * MIB, "one step was looked at ahead"

    asyncio.run(story())


def test_a_quick_reader_is_soon_given_all_that_is_ready(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    checks = Asked()

    async def story() -> None:
        with Held(os.open(path, os.O_RDONLY), 202 * MIB, "shelf", checks) as held:
            held.note_use()
            got = [part async for part in held.ready(MIB, 202 * MIB)]
        sizes = [count // MIB for _, count in got]
        assert sizes == [4, 4, 32, 64, 64, 33]
        assert [offset for offset, _ in got] == [MIB * (1 + sum(sizes[:number])) for number in range(len(sizes))]
        assert checks.uses == 1

    asyncio.run(asyncio.wait_for(story(), 20))
