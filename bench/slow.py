"""A registry with one blob behind a slow line, which counts what it sends."""

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from mirror.oci.ranges import SeveralRanges, content_range, parse_range
from testbed.network import Address, free_address

from .content import Content

_STEP_BYTES = 32 * 1024
_BOUNDARY = "of-the-bench"


class SlowRegistry:
    """Serves one blob at a rate that all its answers share.

    Args:
        blob: what it has.
        rate: bytes per second.
    """

    def __init__(self, blob: Content, rate: float) -> None:
        self.address: Address = free_address()
        self.sent_bytes = 0
        """Bytes of bodies so far."""
        self._blob = blob
        self._body = blob.file.read_bytes()
        self._rate = rate
        self._free_at = 0.0
        self._stopping = asyncio.Event()
        self._ready = threading.Event()

    @contextmanager
    def running(self) -> Iterator["SlowRegistry"]:
        """Run it in a thread."""
        thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        thread.start()
        self._ready.wait(10)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._stopping.set)
            thread.join(10)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=0.5)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.address.host, self.address.port).start()
            self._ready.set()
            await self._stopping.wait()
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path != self._blob.path:
            return web.Response(status=200 if re.fullmatch("/v2/?", request.path) else 404)
        requested = None if request.method == "HEAD" else parse_range(request.headers.get("Range"))
        size, status, headers = len(self._body), 206 if requested else 200, {"Docker-Content-Digest": self._blob.digest}
        if isinstance(requested, SeveralRanges):
            body = self._several(requested.resolve(size))
            headers["Content-Type"] = f"multipart/byteranges; boundary={_BOUNDARY}"
        else:
            start, stop = requested.resolve(size) if requested else (0, size)
            body = self._body[start:stop]
            headers |= {"Content-Range": content_range(start, stop, size)} if requested else {}
        answer = web.StreamResponse(status=status, headers={**headers, "Content-Length": str(len(body))})
        await answer.prepare(request)
        for at in range(0, 0 if request.method == "HEAD" else len(body), _STEP_BYTES):
            part = body[at : at + _STEP_BYTES]
            now = self._loop.time()
            self._free_at = max(now, self._free_at) + len(part) / self._rate
            await asyncio.sleep(self._free_at - now)
            self.sent_bytes += len(part)
            await answer.write(part)
        return answer

    def _several(self, spans: tuple[tuple[int, int], ...]) -> bytes:
        parts = [
            f"--{_BOUNDARY}\r\nContent-Range: {content_range(start, stop, len(self._body))}\r\n\r\n".encode()
            + self._body[start:stop]
            for start, stop in spans
        ]
        return b"\r\n".join([*parts, f"--{_BOUNDARY}--\r\n".encode()])
