"""Conversations carried over TCP."""

import asyncio
import logging
import os
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

from ..core.errors import Rejection, WireError
from ..core.streams.exchange import Exchange
from ..core.streams.frames import refusal
from .listener import StreamTls, drop

log = logging.getLogger(__name__)

READ_BYTES: Final = 65536
"""Bytes that are read at a time; the longest datagram that UDP can carry."""
_OUT_OF_TIME: Final = (9, 10)
"""Of a certificate that is not valid yet, or no longer. Source: OpenSSL, x509_vfy.h, X509_V_ERR_CERT_NOT_YET_VALID."""
_IO_ERRORS: Final = (OSError, TimeoutError, asyncio.IncompleteReadError)

Feed = Callable[[Exchange, bytes], Awaitable[None]]
Outcome = tuple[str, WireError | None]
"""What went wrong, in words, or nothing; and the error if the other half broke the rules of the protocol."""


async def dial(exchange: Exchange, feed: Feed, timeout_s: float, tls: StreamTls | None = None) -> Outcome:
    """Open a stream and carry out a conversation on it.

    Args:
        exchange: this node's half.
        feed: given what arrives.
        timeout_s: for opening the stream, and again for the conversation, s.
        tls: how it is encrypted; None: it is not.
    """
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await _open(exchange, tls)
    except _IO_ERRORS as failure:
        return _problem(exchange, failure)
    return await converse(exchange, reader, writer, feed, timeout_s, timeout_s)


async def _open(exchange: Exchange, tls: StreamTls | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a stream, by TLS if that is wanted; in clear text where the other end does not speak it, and that may be."""
    host, port = exchange.remote.host, exchange.remote.port
    if tls is None:
        return await asyncio.open_connection(host, port)
    try:
        reader, writer = await asyncio.open_connection(host, port, ssl=tls.client(), server_hostname="")
    except ssl.SSLCertVerificationError:
        raise
    except (ssl.SSLError, ConnectionResetError):
        if tls.required:
            raise
        return await asyncio.open_connection(host, port)
    if not tls.believes(writer.get_extra_info("peercert")):
        drop(writer)
        raise ConnectionAbortedError("its certificate is of a member that is not believed")
    return reader, writer


async def converse(
    exchange: Exchange,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    feed: Feed,
    timeout_s: float,
    greeting_s: float,
) -> Outcome:
    """Carry out a conversation on an open stream, and close the stream.

    Args:
        exchange: this node's half.
        reader: of the stream.
        writer: of the stream.
        feed: given what arrives.
        timeout_s: for the conversation, until the last byte has gone, s.
        greeting_s: until the other half has greeted, s.
    """
    try:
        async with asyncio.timeout(timeout_s), asyncio.timeout(greeting_s) as greeting:
            await _take_turns(exchange, reader, writer, feed, greeting)
            writer.close()
            await writer.wait_closed()
    except WireError as failure:
        if not exchange.dialled:
            writer.write(refusal(failure.reason))
        return str(failure), failure
    except _IO_ERRORS as failure:
        return ("", None) if exchange.finished else _problem(exchange, failure)
    finally:
        drop(writer)  # what is not sent by now is not waited for: the other half may never read it
    return _said(exchange), None


def _said(exchange: Exchange) -> str:
    """Why the other half took nothing, in words; nothing if it did."""
    match exchange.refusal:
        case None:
            return ""
        case Rejection.KEY:
            return "it says that it does not have the key with which this node seals"
        case Rejection.SEAL if exchange.sealed:
            return "it says that it cannot open the seal: it has no key, or its cluster has another name"
        case Rejection.SEAL:
            return "it says that packets have to be sealed, and this node has no key"
        case Rejection.CLUSTER:
            return "it says that its cluster has another name"
        case Rejection.KIND:
            return "it says that the members of its cluster publish another kind of filter"
        case reason:
            return f"it says that it takes nothing of this node: {reason}"


async def _take_turns(
    exchange: Exchange,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    feed: Feed,
    greeting: asyncio.Timeout,
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
        await feed(exchange, received)
        if exchange.greeted:
            greeting.reschedule(None)


def _problem(exchange: Exchange, failure: Exception) -> Outcome:
    log.debug("gossip stream failed remote=%s error=%s", exchange.remote, failure)
    if isinstance(failure, asyncio.IncompleteReadError):
        if not exchange.greeted:
            return "it closed the connection without a greeting: it may want TLS, for which one needs its key", None
        return "it closed the connection", None
    if isinstance(failure, ssl.SSLCertVerificationError) and failure.verify_code in _OUT_OF_TIME:
        return f"its certificate is not valid by this node's clock: {failure.verify_message}", None
    if isinstance(failure, ssl.SSLCertVerificationError):
        return "its certificate is of another key, or of another authority", None
    if isinstance(failure, OSError) and failure.strerror:
        if failure.errno is None or isinstance(failure, ssl.SSLError):
            return failure.strerror, None
        return os.strerror(failure.errno), None
    return "it did not answer in time", None
