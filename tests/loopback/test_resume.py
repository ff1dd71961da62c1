"""What a fetch left half: the next one goes on with it, as far as it is shown to be what had been written."""

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mirror.errors import MirrorError
from mirror.oci.content import Content
from mirror.oci.digest import Algorithm
from mirror.settings import FetchSettings, SpoolSettings
from tests.loopback.lab import STEADY, Lab, before_me, lab, running
from tests.loopback.nodes import cluster
from tests.loopback.servers import (
    CLOSE,
    LARGE,
    MIB,
    NOT_FOUND,
    Part,
    Script,
    always,
    content_of,
    corrupt,
    honest,
    part,
    run,
)

CONTENT = content_of(LARGE)
BY_SHA512 = content_of(LARGE, algorithm=Algorithm.SHA512)


SETTINGS = replace(STEADY, spool=SpoolSettings(hash_step_bytes=MIB // 16))
"""The hash goes in short steps, and the journal follows it closely."""


async def written(folder: Path, pieces: int, event: asyncio.Event, content: Content = CONTENT) -> None:
    """Set the event when so many pieces of a fetch are in its journal."""
    journal = folder / "spool" / f"{content.digest.hex}.pieces"
    while not journal.exists() or journal.stat().st_size < 8 + 32 * pieces:
        await asyncio.sleep(0)
    event.set()


def only(count: int, written: asyncio.Event) -> Script:
    """An upstream that sends so many bytes of the blob, and is gone when they are written down."""

    async def script(start: int, stop: int | None) -> Sequence[Part]:
        if start >= count:
            return [CLOSE]
        head, body = part(LARGE, start, stop)
        return [head, body[: count - start], written, CLOSE]

    return script


async def read_until_lost(it: Lab, pieces: int, event: asyncio.Event, content: Content = CONTENT) -> None:
    """Read until upstream, which waits for the event, is gone; the event is set when the journal has all pieces."""
    watching = asyncio.create_task(written(it.folder, pieces, event, content))
    with pytest.raises(MirrorError):
        await it.read(content)
    await watching


async def leave_half(folder: Path, pieces: int, content: Content = CONTENT) -> None:
    event = asyncio.Event()
    async with lab(folder, only(pieces * MIB + MIB // 8, event), settings=SETTINGS) as it:
        await read_until_lost(it, pieces, event, content)


def half(folder: Path, content: Content = CONTENT) -> Path:
    return folder / "spool" / content.digest.hex


@pytest.mark.parametrize(("pieces", "content"), [(4, CONTENT), (8, CONTENT), (11, CONTENT), (4, BY_SHA512)])
def test_what_a_fetch_that_failed_left_is_not_asked_for_again(tmp_path: Path, pieces: int, content: Content) -> None:
    async def story() -> None:
        await leave_half(tmp_path, pieces, content)
        async with lab(tmp_path, honest(LARGE)) as it:
            assert await it.read(content) == LARGE
            assert it.held(content)
            assert it.record.resumed == pieces * MIB
            first, *rest = sorted(it.registry.asked)
            assert first == (0, MIB)  # which tells the size
            assert rest[0][0] == pieces * MIB
            asked_for = sum((len(LARGE) if stop is None else stop) - start for start, stop in rest)
            assert asked_for == len(LARGE) - pieces * MIB
            assert it.leftovers() == []

    run(story())


def test_in_the_same_process_too(tmp_path: Path) -> None:
    async def story() -> None:
        event = asyncio.Event()
        async with lab(tmp_path, only(4 * MIB + MIB // 8, event), settings=SETTINGS) as it:
            await read_until_lost(it, 4, event)
            it.registry.script = honest(LARGE)
            assert await it.read(CONTENT) == LARGE
            assert it.record.resumed == 4 * MIB

    run(story())


def test_what_a_killed_process_left_is_gone_on_with(tmp_path: Path) -> None:
    async def story() -> None:
        alive, dead = tmp_path / "alive", tmp_path / "dead"
        async with lab(alive, only(8 * MIB + MIB // 8, asyncio.Event()), settings=SETTINGS) as it:
            reading = asyncio.create_task(it.read(CONTENT))
            await written(alive, 8, asyncio.Event())
            shutil.copytree(alive, dead)  # the disk as it is, had the process been killed now
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        async with lab(dead, honest(LARGE)) as it:
            assert it.router.advertised == set()
            assert await it.read(CONTENT) == LARGE
            assert it.record.resumed == 8 * MIB

    run(story())


@pytest.mark.parametrize("at", [0, 3 * MIB + 17, 8 * MIB - 1])
def test_from_damage_on_it_is_brought_again(tmp_path: Path, at: int) -> None:
    async def story() -> None:
        await leave_half(tmp_path, 8)
        half(tmp_path).write_bytes(corrupt(half(tmp_path).read_bytes(), at))
        async with lab(tmp_path, honest(LARGE)) as it:
            assert await it.read(CONTENT) == LARGE
            assert it.record.resumed == at // MIB * MIB
            assert it.held(CONTENT)
            assert it.lies() == 0

    run(story())


def test_a_journal_that_is_wrong_costs_what_it_speaks_of(tmp_path: Path) -> None:
    async def story() -> None:
        await leave_half(tmp_path, 8)
        journal = tmp_path / "spool" / f"{CONTENT.digest.hex}.pieces"
        journal.write_bytes(corrupt(journal.read_bytes(), 8 + 32 * 2 + 5))
        async with lab(tmp_path, honest(LARGE)) as it:
            assert await it.read(CONTENT) == LARGE
            assert it.record.resumed == 2 * MIB

    run(story())


def test_wrong_bytes_are_not_gone_on_with(tmp_path: Path) -> None:
    async def story() -> None:
        promised = content_of(LARGE[:-1] + b"!")
        async with lab(tmp_path, honest(LARGE)) as it:
            for _ in range(2):
                with pytest.raises(MirrorError):
                    await it.read(promised)
                assert it.record.resumed == 0
                assert it.leftovers() == []

    run(story())


def test_what_comes_from_members_is_gone_on_with_too(tmp_path: Path) -> None:
    async def story() -> None:
        await leave_half(tmp_path, 8)
        async with lab(tmp_path, always(NOT_FOUND)) as it:
            holder = await it.holder(honest(LARGE))
            assert await it.read(CONTENT) == LARGE
            assert it.record.resumed == 8 * MIB
            assert sorted(start // MIB for start, _ in holder.asked) == [0, *range(8, 13)]

    run(story())


def test_a_home_gives_others_what_it_has_of_a_half(tmp_path: Path) -> None:
    async def story() -> None:
        await leave_half(tmp_path / "n0", 8)
        async with cluster(tmp_path, 2) as it:
            content = it.origin.has(LARGE)
            await it.pull(content)
            assert it.nodes[0].record(content).resumed == 8 * MIB
            assert it.origin.bytes_of(content) <= len(LARGE)

    run(story())


def test_a_fetch_that_was_given_up_is_gone_on_with(tmp_path: Path) -> None:
    async def story() -> None:
        (home,) = before_me(CONTENT, 1)
        settings = replace(SETTINGS, fetch=FetchSettings(idle_s=0.05))
        async with lab(tmp_path, honest(LARGE), settings=settings) as it:
            never = asyncio.Event()

            async def slow(start: int, stop: int | None) -> Sequence[Part]:
                head, body = part(LARGE, start, stop)
                return [head, body] if start < 4 * MIB else [head, body[: MIB // 8], never]

            server = await it.home(home, slow)
            it.registry.script = slow
            with it.fetching.fetches.read(CONTENT):
                await written(tmp_path, 4, asyncio.Event())
                task = running(it.fetching, CONTENT).task
            await task
            assert it.record.outcome == "abandoned"
            server.script = it.registry.script = honest(LARGE)
            assert await it.read(CONTENT) == LARGE
            assert it.record.resumed == 4 * MIB

    run(story())
