"""Held: a slow reader is given less at once, so that no look at the page cache is old when its bytes leave."""

import asyncio
import os
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


def test_a_slow_reader_is_given_what_it_takes_in_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.touch()
    checks = Asked()

    async def story() -> None:
        loop = asyncio.get_running_loop()
        late_s = 0.0
        real = loop.time
        monkeypatch.setattr(loop, "time", lambda: real() + late_s)
        with Held(os.open(path, os.O_RDONLY), 1024 * MIB, "shelf", checks) as held:
            parts = held.ready(0, 1024 * MIB)
            sizes = [(await anext(parts))[1]]
            for _ in range(4):
                late_s += 32.0
                sizes.append((await anext(parts))[1])
            await parts.aclose()
        assert [size // MIB for size in sizes[:2]] == [64, 64], "one step is looked at ahead"
        assert max(sizes[2:]) <= 2 * MIB
        assert min(sizes[2:]) >= MIB

    asyncio.run(story())


def test_a_quick_reader_is_given_all_that_is_ready(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    checks = Asked()

    async def story() -> None:
        with Held(os.open(path, os.O_RDONLY), 130 * MIB, "shelf", checks) as held:
            held.note_use()
            got = [part async for part in held.ready(MIB, 130 * MIB)]
        assert got == [(MIB, 64 * MIB), (65 * MIB, 64 * MIB), (129 * MIB, MIB)]
        assert checks.uses == 1

    asyncio.run(asyncio.wait_for(story(), 20))
