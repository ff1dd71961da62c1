"""Sources that do anything, for ever: every fetch ends, and no client of this node gets a wrong byte of a member.

`SKVALLER_SEEDS=100:400` in the environment tries other histories than the usual ones, the last one not included.
"""

import asyncio
import contextlib
import os
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mirror.errors import MirrorError
from mirror.fetch import Audience, Phase
from mirror.settings import EvidenceSettings, FetchSettings, SpoolSettings
from tests.loopback.lab import STEADY, Lab, before_me, collect, lab
from tests.loopback.servers import (
    CLOSE,
    LARGE,
    MIB,
    Part,
    Request,
    Script,
    Server,
    content_of,
    corrupt,
    honest,
    part,
    refusal,
    run,
)

SETTINGS = replace(
    STEADY,
    plan=replace(STEADY.plan, busy_s=0.2, upstream_rest_s=0.1),
    fetch=FetchSettings(idle_s=0.2, patience_s=1.0, opinion_s=0.3),
    evidence=EvidenceSettings(sample_after_s=0.2, again_s=0.2),
)
FIRST, END = map(int, os.environ.get("SKVALLER_SEEDS", "0:8").split(":"))
SIZE = len(LARGE)
BOUND_S = 15.0
"""Time within which every read ends, s: with these settings a few rounds of questions and rests take no more than a
second each, and the rest is for a busy machine."""
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
@pytest.mark.parametrize("seed", range(FIRST, END))
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


class Moody(Server):
    """A holder that vouches, or is slow to, busy, or gone, or says what is not so: something else each time."""

    def __init__(self, script: Script, *, alive: bool = True) -> None:
        super().__init__(script, alive)
        self.chance = random.Random()
        self.moods = [""]

    async def answer(self, request: Request) -> Sequence[Part]:
        if "skvaller-want" not in request.headers:
            return await super().answer(request)
        match self.chance.choice(self.moods):
            case "slow":
                await asyncio.sleep(self.chance.random() * 0.3)
            case "busy":
                return [refusal(503, "busy")]
            case "gone":
                return [CLOSE]
            case "wrong":
                return [b"HTTP/1.1 200 OK\r\nContent-Length: 32\r\n\r\n" + self.chance.randbytes(32)]
        return await super().answer(request)


def span_of(chance: random.Random) -> tuple[int, int]:
    """A range as runtimes read them by themselves: the end of a layer, a file, or a good part of all."""
    count = chance.choice([50, 40_000, MIB, 5 * MIB, 9 * MIB])
    start = SIZE - count if chance.random() < 0.3 else chance.randrange(SIZE - count)
    return start, start + count


async def read_ranges(it: Lab, chance: random.Random) -> None:
    """Read some ranges as one client does with one request, the whole, or a range as another member does.

    Whatever comes to clients is right; a member looks itself.
    """
    who = chance.choices(list(Audience), [2, 7, 1])[0]
    is_slow, goes_after = chance.random() < 0.3, chance.choice([1, 3, 1000, 1000])
    spans = [span_of(chance) for _ in range(chance.choice([1, 1, 1, 2, 5]))]
    fetches, content = it.fetching.fetches, content_of(LARGE)
    with contextlib.suppress(MirrorError), contextlib.ExitStack() as stack:
        if who is Audience.MEMBER:
            reader, spans = stack.enter_context(fetches.relay(content, spans[0])).reader, spans[:1]
        else:
            is_whole = who is Audience.LOCAL
            part = None if is_whole else spans[0]
            reader = stack.enter_context(fetches.read(content, from_start=is_whole, part=part))
            spans = [(0, SIZE)] if is_whole else spans
        if await reader.size() != SIZE:
            return
        if who is Audience.LAZY:
            reader.expect(spans)
        for start, stop in spans:
            async with contextlib.aclosing(reader.extents(start, stop)) as extents:
                async for offset, count in extents:
                    is_right = os.pread(reader.fd, count, offset) == LARGE[offset : offset + count]
                    assert is_right or who is Audience.MEMBER
                    goes_after -= 1
                    if not goes_after:
                        return
                    if is_slow:
                        await asyncio.sleep(0.02)


def limited(calls: int) -> Script:
    """An upstream that lets nobody ask after some requests."""
    left = iter(range(calls))

    async def script(start: int, stop: int | None) -> Sequence[Part]:
        return part(LARGE, start, stop) if next(left, None) is not None else [refusal(429)]

    return script


async def without_ranges(start: int, stop: int | None) -> Sequence[Part]:
    """Answers a range with everything."""
    return [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE, LARGE]


async def gone(start: int, stop: int | None) -> Sequence[Part]:
    """Answers nobody."""
    return [CLOSE]


@pytest.mark.parametrize("capacity", [1 << 30, 0], ids=["on disk", "in memory"])
@pytest.mark.parametrize("seed", range(FIRST, END))
def test_whoever_reads_ranges_by_themselves_gets_them_or_an_error_in_time(
    tmp_path: Path, seed: int, capacity: int
) -> None:
    """Clients come and go; holders vouch for what others sent, or do not; upstream lets them ask, or not."""

    async def story() -> None:
        chance = random.Random(seed)
        settings = replace(
            SETTINGS,
            spool=SpoolSettings(window_bytes=8 * MIB),
            evidence=EvidenceSettings(
                sample_after_s=0.2, again_s=0.1, small_range_bytes=chance.choice([MIB // 4, MIB, 4 * MIB])
            ),
        )
        upstream = chance.choice(
            [erratic(seed, lies=False), honest(LARGE), limited(chance.randrange(4)), without_ranges, gone]
        )
        async with lab(tmp_path, upstream, capacity, settings) as it:
            for number in range(chance.randrange(4)):
                lies = chance.random() < 0.2
                script = erratic(seed + 100 * (number + 1), lies=lies) if chance.random() < 0.5 else honest(LARGE)
                holder = await it.holder(script, lie(seed + number) if lies else LARGE, kind=Moody)
                assert isinstance(holder, Moody)
                holder.chance = random.Random(seed + number)
                holder.moods = chance.choice([["slow"], ["", "slow"], ["", "slow", "busy", "gone", "wrong"], ["busy"]])
            if chance.random() < 0.5:
                it.fetching.stated.note([(content_of(LARGE).digest.hex, SIZE)])
            for _ in range(3):
                clients = [asyncio.create_task(read_ranges(it, chance)) for _ in range(chance.choice([1, 2, 12]))]
                await in_time(seed, it, clients)
            while any(record.outcome is Phase.RUNNING for record in it.fetching.fetches.records):
                await asyncio.sleep(0.01)

    run(story())


async def in_time(seed: int, it: Lab, clients: Sequence["asyncio.Task[None]"]) -> None:
    """Wait for clients; fail, and say how to see it again, if one of them still waits after the bound."""
    _, late = await asyncio.wait(clients, timeout=BOUND_S)
    fetch = it.fetching.fetches.current(content_of(LARGE))
    waiting = [] if fetch is None else fetch.spool.readers.waiting()
    for task in late:
        task.cancel()
    await asyncio.gather(*clients, return_exceptions=bool(late))
    again = f"SKVALLER_SEEDS={seed}:{seed + 1} python -m pytest tests/loopback/test_any_outcome.py -k in_time"
    assert not late, f"{len(late)} reads have not ended; try again with: {again}; {waiting}"
