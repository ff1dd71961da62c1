"""The status page at `/`: one document with its style and its script inside, so that nothing else has to be loaded.

It is three files, which are put together when the agent starts. The policy of the page allows what has the hashes of
these files, and nothing else: no other script runs, whatever somebody gets into a name, and the page speaks to this
agent alone. What it shows it reads from `/api/v1`.

Source: Content Security Policy Level 3; Trusted Types; RFC 9110 section 13.1.2 (entity tags).
"""

import base64
import hashlib
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_STYLE: Final = "/* page.css */"
_SCRIPT: Final = "/* page.js */"
"""What stands in `index.html` in place of the other files."""


class StatusPage:
    """The route of the page."""

    def __init__(self) -> None:
        style, script, frame = (_text(name) for name in ("page.css", "page.js", "index.html"))
        self._body = frame.replace(_STYLE, style).replace(_SCRIPT, script).encode()
        self._headers = {
            "content-security-policy": _policy(style, script),
            "etag": f'"{hashlib.sha256(self._body).hexdigest()[:24]}"',
            "cache-control": "no-cache",
        }

    def routes(self) -> list[Route]:
        """For a Starlette application."""
        return [Route("/", self.page)]

    async def page(self, request: Request) -> Response:
        """The page."""
        if self._headers["etag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=self._headers)
        return Response(self._body, media_type="text/html", headers=self._headers)


def _policy(style: str, script: str) -> str:
    """What a browser lets the page do."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_source(script)}",
            f"style-src {_source(style)}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _source(text: str) -> str:
    """The hash by which a policy allows a script or a style that stands in the document."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _text(name: str) -> str:
    return files(__name__).joinpath(name).read_text("utf-8")
