"""Conversations of the core carried over TCP."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from ..core.errors import WireError
from ..core.streams.exchange import Exchange

log = logging.getLogger(__name__)

READ_BYTES: Final = 65536
_ROOT_ERRORS: Final = (OSError, TimeoutError, asyncio.IncompleteReadError)

Progress = Callable[[Exchange, bytes], None]
Ending = tuple[str, WireError | None]
"""What went wrong, in words, or nothing; and what was wrong with what the other half said, if that was it."""


async def dial(exchange: Exchange, progress: Progress, timeout_s: float) -> Ending:
    """Open a conversation and carry it out; `progress` is given what arrives."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(exchange.remote.host, exchange.remote.port)
    except _ROOT_ERRORS as failure:
        return _ended(exchange, failure)
    return await converse(exchange, reader, writer, progress, timeout_s)


async def converse(
    exchange: Exchange,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    progress: Progress,
    timeout_s: float,
) -> Ending:
    """Carry a conversation out on a stream that is open, and close that."""
    try:
        async with asyncio.timeout(timeout_s):
            await _take_turns(exchange, reader, writer, progress)
    except WireError as failure:
        return str(failure), failure
    except _ROOT_ERRORS as failure:
        return _ended(exchange, failure)
    finally:
        writer.close()
    return "", None


async def _take_turns(
    exchange: Exchange, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, progress: Progress
) -> None:
    while not exchange.finished:
        if exchange.my_turn:
            for frame in exchange.frames():
                writer.write(frame)
                await writer.drain()
            continue
        received = await reader.read(READ_BYTES)
        if not received:
            raise asyncio.IncompleteReadError(b"", None)
        progress(exchange, received)


def _ended(exchange: Exchange, failure: Exception) -> Ending:
    log.debug("gossip stream failed remote=%s error=%r", exchange.remote, failure)
    if isinstance(failure, asyncio.IncompleteReadError):
        return "it closed the connection", None
    return (failure.strerror if isinstance(failure, OSError) else None) or "it did not answer in time", None
