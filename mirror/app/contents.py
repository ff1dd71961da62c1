"""What an operator asks about content: why it is here, and what there is."""

import asyncio
import platform
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..errors import DigestInvalid, NameInvalid
from .images import Images
from .recent import Recent, max_age_of
from .why import Why

_WHYS_MAX: Final = 4
"""Bounds the questions why that are under way at once: each asks all members that may have something."""
_QUERY_SHOWN_MAX: Final = 200
"""Characters of a wrong query that go into the answer: enough to recognise it, and bounded."""
_PATTERNS_MAX: Final = 32
_PATTERN_MAX: Final = 400
"""Bounds a pattern, in characters: a name has fewer."""
_ARCHITECTURES: Final = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm/v7",
    "armv6l": "arm/v6",
    "i686": "386",
}
"""What image indexes call the machines that the kernel names so; others have the same name."""


class ContentsEndpoint:
    """The routes about content.

    Args:
        why: tells why something is here.
        images: tells which images there are.
    """

    def __init__(self, why: Why, images: Images) -> None:
        self._why = why
        self._images = images
        self._asking = asyncio.Semaphore(_WHYS_MAX)
        self._all = Recent(lambda: images.images((), everywhere=True))

    def routes(self) -> list[Route]:
        """The routes, for a Starlette application."""
        return [Route("/api/v1/why", self.why), Route("/api/v1/images", self.images)]

    async def why(self, request: Request) -> Response:
        """Why an image or digest (`?q=`) is here or is not; of an index for a `platform`, or for `all=1` of them."""
        query = request.query_params.get("q", "")
        wanted = request.query_params.get("platform") or local_platform()
        try:
            async with self._asking:
                everything = request.query_params.get("all") == "1"
                return JSONResponse(await self._why.why(query, wanted, everything=everything))
        except (NameInvalid, DigestInvalid) as error:
            message = f"q={query[:_QUERY_SHOWN_MAX]!r} is no image name and no digest: {error}"
            return JSONResponse({"error": message}, status_code=400)

    async def images(self, request: Request) -> Response:
        """Which images this node and the members hold (`?pattern=`, as often as wanted); `here=1`: this node alone.

        All images are told as of some seconds ago to whom that is enough (`Cache-Control: max-age=…`).
        """
        patterns = request.query_params.getlist("pattern")
        if len(patterns) > _PATTERNS_MAX or any(len(pattern) > _PATTERN_MAX for pattern in patterns):
            message = f"give at most {_PATTERNS_MAX} patterns of at most {_PATTERN_MAX} characters"
            return JSONResponse({"error": message}, status_code=400)
        everywhere = request.query_params.get("here") != "1"
        if everywhere and not patterns and (max_age_s := max_age_of(request)):
            return await self._all.answer(request, max_age_s)
        async with self._asking:
            return JSONResponse(await self._images.images(patterns, everywhere=everywhere))


def local_platform() -> str:
    """The platform of this machine, as image indexes name it."""
    machine = platform.machine()
    return f"linux/{_ARCHITECTURES.get(machine, machine)}"
