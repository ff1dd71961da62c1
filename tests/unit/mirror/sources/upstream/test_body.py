"""How the chunks of a body are passed on."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from mirror.settings import UpstreamSettings
from mirror.sources.upstream.body import ExactBody, Span, gathered

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
        ([LARGE] * 5, 1),
        ([LARGE + LARGE] * 5, 0),
    ],
    ids=["one", "a small body in parts", "a small rest", "a small beginning", "both", "later ones", "large ones"],
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


def test_of_a_body_without_ranges_each_chunk_is_a_sign_that_it_comes() -> None:
    """Who watches over it hears of what comes before the range, too, and it is no reason to pause."""
    chunks = [b"ab", b"cd", b"ef", b"gh"]

    async def read() -> bytes:
        return chunks.pop(0)

    async def story() -> list[bytes]:
        body = ExactBody(Span(5, 7, 8, body_start=0, body_stop=8), read)
        return [chunk async for chunk in gathered(body, 2, SETTINGS)]

    assert asyncio.run(story()) == [b"", b"", b"f", b"g"]
