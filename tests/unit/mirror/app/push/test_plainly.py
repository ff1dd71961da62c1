"""What somebody who may push is told where upstream says neither yes nor no."""

import asyncio
from typing import Any

import pytest

from mirror.app.push.plainly import PlainAnswer
from mirror.app.responses import send_error
from mirror.errors import BlobUnknown, LoginRequired, OciError, Unauthorized, Unavailable


@pytest.mark.parametrize(
    ("error", "is_wanted", "told"),
    [
        (Unavailable("upstream is out"), True, 404),
        (Unauthorized("the registry wants a login of this node"), True, 404),
        (Unavailable("upstream is out"), False, 503),
        (BlobUnknown("nobody has it"), True, 404),
        (LoginRequired("it is private: present credentials", "registry.example.com"), True, 401),
    ],
)
def test_who_has_to_present_credentials_is_told_so(error: OciError, is_wanted: bool, told: int) -> None:
    statuses: list[int] = []

    async def send(message: Any) -> None:
        statuses.extend([message["status"]] if message["type"] == "http.response.start" else [])

    scope: Any = {"type": "http", "method": "HEAD", "path": "/v2/lab/app/blobs/x", "headers": []}
    asyncio.run(send_error(scope, PlainAnswer(scope, send, lambda: is_wanted).send, error))
    assert statuses == [told]
