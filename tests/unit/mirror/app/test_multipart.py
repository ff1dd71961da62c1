"""Several ranges in one answer, read back as clients read them."""

import asyncio
import os
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import pytest

from mirror.app.request import RegistryRequest
from mirror.app.responses import Body, blob_response
from mirror.app.zerocopy import EXTENSION
from mirror.oci.digest import Digest
from mirror.oci.ranges import Span, parse_range
from mirror.oci.reference import Repository
from mirror.settings import AppSettings

CONTENT = bytes(range(256)) * 40
DIGEST = Digest.of(CONTENT)


def sent(path: Path, header: str, *, zero_copy: bool) -> tuple[int, dict[str, str], bytes]:
    """The answer of a node that holds the content in a file: its status, headers and body."""
    path.write_bytes(CONTENT)
    fd = os.open(path, os.O_RDONLY)
    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    async def receive() -> Any:
        await asyncio.Event().wait()

    try:
        request = RegistryRequest("blobs", Repository("docker.io", "x/y"), DIGEST, range=parse_range(header))
        body = Body(DIGEST, len(CONTENT), lambda start, stop: [(fd, start, stop - start)])
        response = blob_response(request, body, AppSettings(copied_max_bytes=100))
        scope: Any = {"method": "GET", "path": "/", "extensions": {EXTENSION: {}} if zero_copy else {}}
        asyncio.run(response(scope, receive, send))
        got = b"".join(
            os.pread(fd, part["count"], part["offset"]) if part["type"] == EXTENSION else part["body"]
            for part in messages[1:]
        )
    finally:
        os.close(fd)
    assert response.sent == len(got)
    assert any(part["type"] == EXTENSION for part in messages) is zero_copy
    return messages[0]["status"], {name.decode(): value.decode() for name, value in messages[0]["headers"]}, got


@pytest.mark.parametrize("zero_copy", [False, True])
def test_each_range_is_a_part_of_its_own_in_the_order_of_the_request(tmp_path: Path, zero_copy: bool) -> None:
    header = "bytes=5000-5999,0-9,10-10,-3"
    spans: list[Span] = [(5000, 6000), (0, 10), (10, 11), (len(CONTENT) - 3, len(CONTENT))]
    status, headers, body = sent(tmp_path / "blob", header, zero_copy=zero_copy)
    assert status == 206
    assert int(headers["content-length"]) == len(body)
    assert "content-range" not in headers
    message = BytesParser().parsebytes(f"Content-Type: {headers['content-type']}\r\n".encode() + body)
    parts: Any = message.get_payload()
    assert [(part["Content-Range"], part.get_payload(decode=True)) for part in parts] == [
        (f"bytes {start}-{stop - 1}/{len(CONTENT)}", CONTENT[start:stop]) for start, stop in spans
    ]


def test_of_several_ranges_of_which_one_is_there_that_one_is_sent_plainly(tmp_path: Path) -> None:
    status, headers, body = sent(tmp_path / "blob", "bytes=0-9,999999-", zero_copy=False)
    assert (status, headers["content-range"], body) == (206, f"bytes 0-9/{len(CONTENT)}", CONTENT[:10])
