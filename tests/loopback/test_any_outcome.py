"""Sources that do anything, for ever: every fetch ends, and no client of this node gets a wrong byte of a member."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mirror.errors import MirrorError
from mirror.fetch import Phase
from mirror.settings import EvidenceSettings, FetchSettings, SpoolSettings
from tests.loopback.lab import STEADY, Lab, before_me, collect, lab
from tests.loopback.servers import (
    CLOSE,
    LARGE,
    MIB,
    Part,
    Script,
    content_of,
    corrupt,
    part,
    refusal,
    run,
)

SETTINGS = replace(
    STEADY,
    fetch=FetchSettings(idle_s=0.2, patience_s=1.0),
    evidence=EvidenceSettings(sample_after_s=0.2, again_s=0.2),
)
REFUSALS = [(404, "missing"), (404, "unknown"), (503, "busy"), (503, "unable"), (503, "whole"), (500, ""), (429, "")]


def lie(seed: int) -> bytes:
    """Every byte wrong. Each liar has its own lie: two that tell the same are in league, and may deceive a client."""
    return LARGE.translate(bytes(byte ^ (1 + seed % 255) for byte in range(256)))


def erratic(seed: int, *, lies: bool) -> Script:
    """Does something else at each request; tells lies only where it may."""
    chance = random.Random(seed)

    async def script(start: int, stop: int | None) -> Sequence[Part]:
        end = min(stop or len(LARGE), len(LARGE))
        body = LARGE
        if lies and chance.random() < 0.4:
            body = chance.choice([lie(seed), corrupt(LARGE, chance.randrange(start, end))])
        match chance.choice(["whole", "whole", "whole", "short", "refuse", "size"]):
            case "short":
                head, sent = part(body, start, stop)
                return [head, sent[: chance.randrange(len(sent) + 1)], CLOSE]
            case "refuse":
                return [refusal(*chance.choice(REFUSALS))]
            case "size" if lies:
                return part(body, start, stop, size=len(LARGE) + chance.choice([-1, 1, MIB]))
        return part(body, start, stop)

    return script


async def read_all(it: Lab, chance: random.Random) -> None:
    """Read as several clients do, each another range; whatever comes is right."""

    async def read(start: int, stop: int) -> None:
        into = bytearray()
        try:
            with it.fetching.fetches.read(content_of(LARGE), from_start=start == 0) as reader:
                size = await reader.size()
                if size == len(LARGE):
                    await collect(reader, start, min(stop, size), into)
        except MirrorError:
            pass
        assert into == LARGE[start : start + len(into)]

    starts = [0, 0, *(chance.randrange(len(LARGE)) for _ in range(3))]
    await asyncio.gather(*(read(start, start + chance.choice([1000, 3 * MIB, len(LARGE)])) for start in starts))


@pytest.mark.parametrize("capacity", [1 << 30, 0], ids=["on disk", "in memory"])
@pytest.mark.parametrize("seed", range(8))
def test_every_fetch_ends_and_clients_get_right_bytes_alone(tmp_path: Path, seed: int, capacity: int) -> None:
    async def story() -> None:
        chance = random.Random(seed)
        settings = replace(SETTINGS, spool=SpoolSettings(window_bytes=8 * MIB))
        async with lab(tmp_path, erratic(seed, lies=False), capacity, settings) as it:
            for number, home in enumerate(before_me(content_of(LARGE), 2)):
                await it.home(home, erratic(seed + 10 * (number + 1), lies=True))
            for number in range(3):
                name = seed + 100 + 40 * number
                said = chance.choice([None, LARGE, lie(name)])
                await it.holder(erratic(name, lies=True), vouches_for=said)
            for _ in range(3):
                await read_all(it, chance)
            while any(record.outcome is Phase.RUNNING for record in it.fetching.fetches.records):
                await asyncio.sleep(0.01)

    run(story())
