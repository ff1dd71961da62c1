"""Requests of web pages are refused: no page that somebody opens on this node reads images or asks the API.

A browser sends a page's requests to any address, this node's loopback included. It says in headers whose page asks
(Origin, Sec-Fetch-Site). A page whose name was made to mean this node's address (DNS rebinding) is of the same origin
for the browser; there the Host header has the page's name, which is none of this node's. A Host that is an IP address
is always right: a page has such an origin only if it came from that address. Container tools send neither header, and
as the Host what their configuration says.

Source: RFC 9110 section 7.2; Fetch Standard, "Origin header"; W3C Fetch Metadata Request Headers.
"""

import ipaddress
import logging
from collections.abc import Collection
from functools import lru_cache

from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import Denied
from .responses import send_error, send_json

log = logging.getLogger(__name__)

OPEN = ("/healthz", "/readyz")
"""What everybody may ask under any name: it says nothing but that the agent lives. Probes send what Host they like."""

_NO_PAGES = (b"cross-site", b"same-site")


class NoPages:
    """An application that answers all but the requests of web pages.

    Args:
        app: answers the others.
        names: host names of this node, beside its addresses and `localhost`; in lower case.
    """

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self._app = app
        self._names = {"localhost", *names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        why = None if scope["path"] in OPEN else self._objection(scope["headers"])
        if why is None:
            await self._app(scope, receive, send)
            return
        log.debug("%s %s: 403 %s", scope["method"], scope["path"][:300], why)
        if scope["path"].startswith("/v2"):
            await send_error(scope, send, Denied(why))
        else:
            await send_json(scope, send, 403, {"error": why})

    def _objection(self, headers: Collection[tuple[bytes, bytes]]) -> str | None:
        """Why a request is refused; None if it is not."""
        host: bytes | None = None
        origin: bytes | None = None
        for key, value in headers:
            if key == b"host":
                if host is not None:
                    return "the request has more than one Host"
                host = value
            elif key == b"origin":
                origin = value
            elif key == b"sec-fetch-site" and value.strip().lower() in _NO_PAGES:
                return "pages of other sites are not answered: open the address itself"
        if host is not None and (name := host_name(host)) is not None and name not in self._names:
            return (
                f"{name[:100]!r} is no name of this node: use an IP address, localhost or "
                f"{', '.join(sorted(self._names - {'localhost'})) or 'nothing else'}, or allow it with --allow-host"
            )
        if origin is not None and (host is None or origin.lower().partition(b"://")[2] != host.lower()):
            return "pages of other origins are not answered"
        return None


@lru_cache(maxsize=256)
def host_name(host: bytes) -> str | None:
    """The name in a Host header, in lower case; None for an IP address."""
    text = host.decode("latin-1").strip().lower()
    name, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or (":" in name and not name.endswith("]")):
        name = text
    try:
        ipaddress.ip_address(name[1:-1] if name.startswith("[") and name.endswith("]") else name)
    except ValueError:
        return name.removesuffix(".")
    return None
