"""Asking a credential program, as Docker and podman do: the system's keyring, `pass`, or a cloud's login.

The program `docker-credential-NAME` gets the host on its standard input, and prints JSON with a user and a secret.

Source: docker/docker-credential-helpers, README, "Development".
"""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, BinaryIO

from ....errors import Reason, UpstreamError
from .auth_file import credential_of
from .values import Credential

_ANSWER_MAX_BYTES = 64 * 1024
"""Bounds what is read of a program's answer, bytes. Tokens of clouds have some KiB."""
_UNKNOWN = b"credentials not found"
"""What a program prints, with an exit status of 1, about a host that it does not know."""
_HUB = ("docker.io", "https://index.docker.io/v1/")
"""Docker Hub's name here, and as Docker has told it to programs ever since."""


async def ask_program(name: str, host: str, within_s: float) -> Credential | None:
    """Ask a program for a host's credential. One that does not end is killed, with all that it started.

    Args:
        name: what follows `docker-credential-`.
        host: with its port if it has one.
        within_s: bounds the time, s.

    Returns:
        The credential; None if it knows none.

    Raises:
        UpstreamError: it cannot run, fails, or answers what cannot be understood.
    """
    program = f"docker-credential-{name}"
    async with _pipes(_HUB[1] if host == _HUB[0] else host) as (question, answer, reader):
        try:
            process = await asyncio.create_subprocess_exec(
                program, "get", stdin=question, stdout=answer, stderr=asyncio.subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            raise UpstreamError(Reason.AUTH, f"{program} cannot run: {error.strerror}") from None
        finally:
            question.close()
            answer.close()
        try:
            async with asyncio.timeout(within_s):
                said = await _read(reader)
                status = await process.wait() if len(said) <= _ANSWER_MAX_BYTES else 0
        except TimeoutError:
            raise UpstreamError(Reason.AUTH, f"{program} gave no answer about {host} within {within_s:g} s") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if status != 0:
        if _UNKNOWN in said:
            return None
        raise UpstreamError(Reason.AUTH, f"{program} gave no credential for {host}: exit status {status}")
    return _credential(program, host, said)


@asynccontextmanager
async def _pipes(line: str) -> AsyncIterator[tuple[BinaryIO, BinaryIO, asyncio.StreamReader]]:
    """A pipe that has a line, for a program to read; one for its answer; and a reader of that.

    The reader's end is closed in the end, whoever may still hold the other one.
    """
    (question, told), (heard, answer) = _pipe(), _pipe()
    with question, answer:
        with told:
            told.write(f"{line}\n".encode())  # which fits into an empty pipe
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), heard
        )
        try:
            yield question, answer, reader
        finally:
            transport.close()


def _pipe() -> tuple[BinaryIO, BinaryIO]:
    read, write = os.pipe()
    return open(read, "rb", buffering=0), open(write, "wb", buffering=0)


async def _read(reader: asyncio.StreamReader) -> bytes:
    """What is written, to its end or a little more than is allowed."""
    said = b""
    while len(said) <= _ANSWER_MAX_BYTES and (part := await reader.read(_ANSWER_MAX_BYTES)):
        said += part
    return said


def _credential(program: str, host: str, answer: bytes) -> Credential:
    try:
        document: Any = json.loads(answer) if len(answer) <= _ANSWER_MAX_BYTES else None
    except (ValueError, RecursionError):
        document = None
    fields = document if isinstance(document, dict) else {}
    user, secret = fields.get("Username"), fields.get("Secret")
    if not (isinstance(user, str) and isinstance(secret, str) and user and secret):
        raise UpstreamError(Reason.AUTH, f"{program} answered about {host} without a user and a secret")
    return credential_of(user, secret)
