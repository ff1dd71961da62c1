"""How the chunks of a body are passed on."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from mirror.settings import UpstreamSettings
from mirror.sources.upstream.body import gathered

SETTINGS = UpstreamSettings()
SMALL, LARGE = b"x" * 1000, b"x" * SETTINGS.gather_bytes


@pytest.mark.parametrize(
    ("chunks", "pauses"),
    [
        ([SMALL], 0),
        ([SMALL, SMALL, SMALL], 0),
        ([LARGE, LARGE, SMALL], 0),
        ([SMALL, LARGE, LARGE], 1),
        ([SMALL, SMALL, LARGE, SMALL], 2),
    ],
    ids=["one", "a small body in parts", "a small rest", "a small beginning", "both"],
)
def test_small_chunks_are_gathered_only_where_much_is_to_come(
    monkeypatch: pytest.MonkeyPatch, chunks: Sequence[bytes], pauses: int
) -> None:
    paused = []

    async def sleep(seconds: float) -> None:
        paused.append(seconds)

    async def body() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def story() -> list[bytes]:
        return [chunk async for chunk in gathered(body(), sum(map(len, chunks)), SETTINGS)]

    monkeypatch.setattr("mirror.sources.upstream.body.asyncio.sleep", sleep)
    assert asyncio.run(story()) == list(chunks)
    assert len(paused) == pauses
