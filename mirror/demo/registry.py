"""The demo's upstream: a registry of one image that counts what it serves."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from ..oci.ranges import SeveralRanges, content_range, parse_range
from .image import Blob, Image

GET, HEAD = "GET", "HEAD"
_BLOCK_BYTES = 256 * 1024


class CountingRegistry:
    """Serves one image under any tag, on 127.0.0.1.

    Args:
        image: the image.
    """

    def __init__(self, image: Image) -> None:
        self.bytes_served: Counter[str] = Counter()
        """By digest."""
        self.requests: Counter[tuple[str, str]] = Counter()
        """By method, and the digest or tag."""
        self.image = image
        self._blobs = {str(blob.digest): blob for blob in image.everything}
        app = Starlette(
            routes=[
                Route("/v2/", lambda _: PlainTextResponse("")),
                Route("/v2/{name:path}/{kind:str}/{what:str}", self._serve, methods=[GET, HEAD]),
            ]
        )
        config = uvicorn.Config(
            app, host="127.0.0.1", port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1
        )
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> str:
        """Serve; return the URL."""
        self._task = asyncio.create_task(self._server.serve())
        await self._server.listening.wait()
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    async def stop(self) -> None:
        """Stop serving."""
        self._server.should_exit = True
        if self._task is not None:
            await asyncio.wait([self._task])  # who is interrupted while it waits does not interrupt the server
            self._task = None

    async def _serve(self, request: Request) -> Response:
        what = request.path_params["what"]
        blob = self._blobs.get(what) if what.startswith("sha256:") else self.image.manifest
        if blob is None:
            return PlainTextResponse("unknown", status_code=404)
        headers = {
            "Docker-Content-Digest": str(blob.digest),
            "Content-Type": blob.media_type,
            "Content-Length": str(blob.size),
            "Accept-Ranges": "bytes",
        }
        self.requests[request.method, what] += 1
        if request.method == HEAD:
            return Response(headers=headers)
        requested = parse_range(request.headers.get("range"))
        wanted = None if requested is None or isinstance(requested, SeveralRanges) else requested.resolve(blob.size)
        start, stop = wanted or (0, blob.size)
        if wanted:
            headers |= {"Content-Length": str(stop - start), "Content-Range": content_range(start, stop, blob.size)}
        return StreamingResponse(self._read(blob, start, stop), status_code=206 if wanted else 200, headers=headers)

    async def _read(self, blob: Blob, start: int, stop: int) -> AsyncIterator[bytes]:
        with blob.path.open("rb") as file:
            file.seek(start)
            while start < stop:
                block = file.read(min(_BLOCK_BYTES, stop - start))
                yield block
                self.bytes_served[str(blob.digest)] += len(block)
                start += len(block)


class _Server(uvicorn.Server):
    """A server that sets an event when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the demo: an interrupt must end the clients first, not take the registry from them."""
        yield

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Open the listener."""
        await super().startup()
        self.listening.set()
