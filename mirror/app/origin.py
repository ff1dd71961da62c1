"""Requests of web pages are refused: no page that somebody opens on this node reads images or asks the API.

A browser sends a page's requests to any address, this node's loopback included. It says in headers whose page asks
(Origin, Sec-Fetch-Site). A page whose name was made to mean this node's address (DNS rebinding) is of the same origin
for the browser; there the Host header has the page's name, which is none of this node's. A Host that is an IP address
is always right: a page has such an origin only if it came from that address. Container tools send neither header, and
as the Host what their configuration says.

Browsers leave Sec-Fetch-Site out where they speak clear text with an address that is not loopback, and Origin where a
page merely loads something, as an image or a frame. Such a page reads nothing, but a request below `/v2` can begin a
pull. There a browser is answered only if it says that no other site asks.

What a browser gets has headers by which it takes it for nothing but what it says it is, shows it in no frame, and runs
nothing of it: a manifest may have any type `application/…` that somebody gave it, and is of the status page's origin.

Source: RFC 9110 sections 7.2 and 10.1.5; Fetch Standard, "Origin header"; W3C Fetch Metadata Request Headers; Content
Security Policy Level 3.
"""

import enum
import ipaddress
import logging
from collections.abc import Collection
from functools import lru_cache
from typing import Final, NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import Denied
from .responses import send_error, send_json

log = logging.getLogger(__name__)

OPEN = ("/healthz", "/readyz")
"""What everybody may ask under any name: that the agent lives. Probes send what Host they like."""
UNNAMED: Final = "skvaller.unnamed"
"""The extension in the scope of such a request if its Host names something else: it is told no more than that."""

_NO_PAGES = (b"cross-site", b"same-site")
_NO_OTHER_SITE = (b"none", b"same-origin")
_BROWSER = b"mozilla/"
"""How all browsers begin what they say of themselves. A page can change that only in requests with an Origin, or to
its own."""
_OF_BROWSERS = frozenset(
    (b"accept-language", b"origin", b"sec-ch-ua", b"sec-fetch-dest", b"sec-fetch-mode", b"sec-fetch-site")
)
"""Headers that browsers send, whatever a page says, and container tools do not."""
_SAFE: Final = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
"""What an answer to a browser says, unless the answer says it itself."""


class Naming(enum.Enum):
    """Who has to name this node in Host."""

    ALL = enum.auto()
    BROWSERS = enum.auto()
    """Where metrics alone are: a Prometheus names a node by what its configuration says, and other tools as well."""
    NOBODY = enum.auto()
    """A Unix socket has no name. A proxy in front of it may let a browser in."""


class _Asker(NamedTuple):
    """What the headers of a request say of who sends it.

    Args:
        host: whom it names; None if nobody.
        origin: whose page asks; None if it does not say.
        site: how that page is related to this node, in lower case; empty if it does not say.
        is_browser: whether it says that it is a browser.
        may_be_browser: whether it is one, or sends what browsers send.
        is_twofold: whether it names several in Host.
    """

    host: bytes | None
    origin: bytes | None
    site: bytes
    is_browser: bool
    may_be_browser: bool
    is_twofold: bool

    @classmethod
    def of(cls, headers: Collection[tuple[bytes, bytes]]) -> "_Asker":
        """Read the headers. It is in the way of each request, and takes some µs."""
        named = dict(headers)
        is_browser = named.get(b"user-agent", b"")[: len(_BROWSER)].lower() == _BROWSER
        return cls(
            named.get(b"host"),
            named.get(b"origin"),
            named.get(b"sec-fetch-site", b"").strip().lower(),
            is_browser,
            is_browser or not _OF_BROWSERS.isdisjoint(named),
            len(named) < len(headers) and sum(key == b"host" for key, _ in headers) > 1,
        )


class NoPages:
    """An application that answers all but the requests of web pages.

    Args:
        app: answers the others.
        names: host names of this node, beside its addresses and `localhost`; in lower case.
        naming: whose Host has to be one of these.
    """

    def __init__(self, app: ASGIApp, names: Collection[str], naming: Naming = Naming.ALL) -> None:
        self.app = app
        self._names = {"localhost", *names}
        self._naming = naming

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        asker, path = _Asker.of(scope["headers"]), scope["path"]
        is_image = path.startswith("/v2")
        if asker.may_be_browser or not is_image:
            send = _safely(send)
        unnamed, why = self._unnamed(asker), _objection(asker, is_image=is_image)
        if path in OPEN and why is None and unnamed is not None:
            scope = {**scope, "extensions": {**scope.get("extensions", {}), UNNAMED: {}}}
            unnamed = None
        if (why := unnamed or why) is None:
            await self.app(scope, receive, send)
            return
        log.debug("%s %s: 403 %s", scope["method"], path[:300], why)
        if is_image:
            await send_error(scope, send, Denied(why))
        else:
            await send_json(scope, send, 403, {"error": why})

    def _unnamed(self, asker: _Asker) -> str | None:
        """Why a request does not name this node as it should; None if it does."""
        if asker.is_twofold:
            return "the request has more than one Host"
        is_asked = self._naming is Naming.ALL or (self._naming is Naming.BROWSERS and asker.may_be_browser)
        if not is_asked or asker.host is None or (name := host_name(asker.host)) is None or name in self._names:
            return None
        return (
            f"{name[:100]!r} is no name of this node: use an IP address, localhost or "
            f"{', '.join(sorted(self._names - {'localhost'})) or 'nothing else'}, or allow it with --allow-host"
        )


def _objection(asker: _Asker, *, is_image: bool) -> str | None:
    """Why a request may be that of another site's page; None if it is not."""
    if asker.site in _NO_PAGES:
        return "pages of other sites are not answered: open the address itself"
    if asker.origin is not None:
        host = asker.host
        if host is None or asker.origin.lower().partition(b"://")[2] != host.lower():
            return "pages of other origins are not answered"
    elif is_image and asker.is_browser and asker.site not in _NO_OTHER_SITE:
        return "images are for container tools: a browser finds the status page at /"
    return None


def _safely(send: Send) -> Send:
    """Send an answer so that a browser does nothing else with it than show it."""

    async def safe(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message["headers"])
            said = {name for name, _ in headers}
            message = {**message, "headers": [*headers, *(it for it in _SAFE if it[0] not in said)]}
        await send(message)

    return safe


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
