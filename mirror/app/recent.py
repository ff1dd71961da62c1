"""Answers that are made once for all who ask within a moment, as viewers of the status page do.

Whoever has the last one already is told that it is the same (RFC 9110 section 13.1.2), and an answer may say how old it
is. A client says with `Cache-Control: max-age=SECONDS` how old an answer may be that it takes (RFC 9111 section
5.2.1.1).
"""

import asyncio
import hashlib
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=([0-9]{1,6})(?=$|[,\s])", re.IGNORECASE)
_TAG_BYTES: Final = 12
"""Bytes of a hash that tell one answer from another: nobody gains by two that are alike."""


@dataclass(frozen=True, slots=True)
class _Made:
    """An answer: its JSON, its entity tag, and when it was begun, monotonic seconds."""

    body: bytes
    tag: str
    at: float


class Recent:
    """An answer in JSON that may be given again for a while.

    Args:
        make: makes it.
        clock: monotonic seconds.
    """

    def __init__(self, make: Callable[[], Awaitable[Any]], clock: Callable[[], float] = time.monotonic) -> None:
        self._make = make
        self._clock = clock
        self._made: _Made | None = None
        self._turn = asyncio.Lock()

    async def answer(self, request: Request, max_age_s: float) -> Response:
        """Answer a request.

        Args:
            request: who asks. Its `If-None-Match` may spare the body.
            max_age_s: how old the answer may be, s.
        """
        async with self._turn:
            made = self._made
            if made is None or self._clock() - made.at >= max_age_s:
                made = self._made = await self._anew()
        age_s = max(0, int(self._clock() - made.at))
        headers = {"etag": made.tag, "cache-control": "no-cache", "age": str(age_s)}
        if made.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(made.body, media_type="application/json", headers=headers)

    async def _anew(self) -> _Made:
        at = self._clock()
        body = bytes(JSONResponse(await self._make()).body)
        return _Made(body, f'"{hashlib.blake2b(body, digest_size=_TAG_BYTES).hexdigest()}"', at)


def max_age_of(request: Request) -> float:
    """How old an answer may be that a client takes, s; 0 if it does not say."""
    match = _MAX_AGE.search(request.headers.get("cache-control", ""))
    return float(match[1]) if match else 0.0
