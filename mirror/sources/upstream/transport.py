"""HTTP requests to a registry: redirects, addresses, answers. Only connections outlive a request.

Redirects are followed here and not by the library, so that every hop is checked. The Authorization header goes only to
the scheme, host and port that it is for: object stores are asked by signed URL and must not see it. https never becomes
http, and no hop leads to an address that may not be contacted.

Where the operator names a proxy, that looks names up, where the address check cannot see it: what the proxy lets
through is its owner's choice; addresses that stand in a URL are checked as ever. netrc is not used: it would send
passwords that nobody named here. OpenSSL's own SSL_CERT_FILE names a private certificate authority for all registries.

Messages name a URL by its scheme, host and port only: paths and queries of signed URLs are secrets.
"""

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from ... import __version__
from ...errors import Reason, UpstreamError, UpstreamRefused
from ...settings import UpstreamSettings
from ..answers import AnswerRefused, BoundedConnector
from ..chain import VIA_HEADER
from .addresses import AddressGuard
from .challenge import basic_authorization
from .reached import Proxies, Proxy
from .registries import Registry

_REDIRECTS = {301, 302, 303, 307, 308}
_LOCATION = re.compile(r"[!-~]+")


def _nothing(url: URL) -> str | None:
    """No authorization for any place to which a redirect leads."""
    return None


class Answer:
    """The answer to one request: its head, and a body to read.

    Args:
        response: aiohttp's.
        authorization: the Authorization header of the request, if it had one.
        settings: bounds on reading.
    """

    def __init__(self, response: aiohttp.ClientResponse, authorization: str | None, settings: UpstreamSettings) -> None:
        self.status = response.status
        self.url = response.url
        """Where it came from, after all redirects."""
        self.headers = response.headers
        self.content_length = response.content_length
        """As the head says, in bytes; None where it does not say."""
        self.content_type = response.content_type
        self.authorization = authorization
        self._response = response
        self._settings = settings
        self._read_bytes = 0

    @property
    def is_encoded(self) -> bool:
        """Whether it says that its body is compressed, though nobody asked for that."""
        return self.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity")

    async def read(self) -> bytes:
        """Read what has arrived of the body, or wait for more; returns nothing at its end.

        Raises:
            UpstreamError: stalled, or broken.
        """
        with _translated(self.url, Reason.STALLED, self._settings.stall_s):
            async with asyncio.timeout(self._settings.stall_s):
                part = await self._part()
        self._read_bytes += len(part)
        return part

    async def _part(self) -> bytes:
        """What has arrived; where the connection has broken since, the error comes only after that.

        aiohttp would raise it at once, and drop what nobody has read yet: a registry that often breaks off would seem
        to send nothing at all.
        """
        body = self._response.content
        try:
            return await body.readany()
        except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError) as error:
            if self._read_bytes == body.total_bytes:
                raise
            body.set_exception(cast("Exception", None))
            part = await body.readany()
            body.set_exception(error)
            return part

    async def read_whole(self, max_bytes: int) -> bytes:
        """Read all of the body into memory, as it came.

        Raises:
            UpstreamError: timeout, stalled, broken, or length: it has more than `max_bytes`.
        """
        body = await self.read_up_to(max_bytes)
        if len(body) > max_bytes:
            raise UpstreamError(Reason.LENGTH, f"{self.url.origin()} sends more than {max_bytes} bytes")
        return body

    async def read_up_to(self, max_bytes: int) -> bytes:
        """Read the body until it ends, or has more than `max_bytes`; raises UpstreamError as `read_whole`."""
        body = bytearray()
        with _translated(self.url, Reason.TIMEOUT, self._settings.whole_s):
            async with asyncio.timeout(self._settings.whole_s):
                while len(body) <= max_bytes and (chunk := await self.read()):
                    body += chunk
        return bytes(body)

    def release(self) -> None:
        """Let the connection serve others, or drop it where the body was not read to its end."""
        self._response.release()


class Transport:
    """Sends requests on behalf of one registry, over connections that no other one uses.

    Args:
        guard: resolves names, and says where this registry may lead.
        settings: bounds on time, connections and redirects.
        registry: says by which certificates it is reached. Its own host alone sees this agent's.
        proxies: through which it is reached.
        passed_on: the marks that a request has to have, for the case that this registry is an agent.

    Make it inside a running event loop, and close it there.
    """

    def __init__(
        self,
        guard: AddressGuard,
        settings: UpstreamSettings,
        registry: Registry,
        proxies: Proxies,
        passed_on: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        reached = registry.reached
        self._place = URL(registry.url)
        self._proxies = proxies
        self._strangers = reached.context(with_certificate=False) if reached.ca or reached.cert else True
        self._itself = reached.context(with_certificate=True) if reached.cert else self._strangers
        self._settings = settings
        self._passed_on = passed_on
        self._guard = guard
        self._session = aiohttp.ClientSession(
            connector=BoundedConnector(
                settings.answers,
                open_s=settings.connect_s,
                limit=settings.connections_max,
                resolver=guard,
                use_dns_cache=False,
            ),
            timeout=aiohttp.ClientTimeout(total=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"skvaller/{__version__}", "Accept-Encoding": "identity"},
            auto_decompress=False,
            read_bufsize=settings.read_buffer_bytes,
            trust_env=False,
        )

    async def close(self) -> None:
        """Drop all connections."""
        await self._session.close()

    async def send(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        sent_by: str | None = None,
        granted: Callable[[URL], str | None] = _nothing,
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request and follow redirects. The caller bounds the time, and has to release the answer.

        Args:
            method: GET or HEAD; POST with a form.
            url: without userinfo.
            headers: Authorization among them, if there is one; it goes to the URL's scheme, host and port only, and no
                longer once a redirect has led elsewhere.
            sent_by: who gave the URL, if not the operator.
            granted: what Authorization a URL elsewhere has asked for itself, if any.
            form: to be posted. It has a secret, so that it goes nowhere else: then no redirect is followed.

        Returns:
            The first answer that is no redirect, whatever its status.

        Raises:
            UpstreamRefused: the URL or a redirect leads to an address to which this registry may not lead.
            UpstreamError: unreachable, or broken.
        """
        marks = self._passed_on()
        headers = {**headers, VIA_HEADER: ",".join(marks)} if marks else dict(headers)
        for _ in range(self._settings.redirects_max + 1):
            response = await self._send_once(method, url, headers, sent_by, form)
            if form is not None or response.status not in _REDIRECTS:
                return Answer(response, headers.get("Authorization"), self._settings)
            response.release()
            sent_by = str(url.origin())
            target = redirected(url, response.headers.get("Location", ""))
            if not same_origin(url, target):
                headers.pop("Authorization", None)
                headers.pop(VIA_HEADER, None)
                if (value := granted(target)) is not None:
                    headers["Authorization"] = value
            url = target
        raise UpstreamError(
            Reason.BROKEN, f"more than {self._settings.redirects_max} redirects, the last from {sent_by}"
        )

    async def _send_once(
        self, method: str, url: URL, headers: Mapping[str, str], sent_by: str | None, form: Mapping[str, str] | None
    ) -> aiohttp.ClientResponse:
        try:
            with _translated(url, Reason.TIMEOUT, self._settings.head_s):
                self._guard.check(url.raw_host or "", url.port or 0)
                return await self._session.request(
                    method,
                    url,
                    data=form,
                    allow_redirects=False,
                    ssl=self._itself if same_origin(url, self._place) else self._strangers,
                    **_through(self._proxies.of(str(url)), url, headers),
                )
        except UpstreamRefused as error:
            if sent_by is None:
                raise
            raise UpstreamRefused(f"{sent_by} sends on to {error}") from None


def _through(proxy: Proxy | None, url: URL, headers: Mapping[str, str]) -> dict[str, Any]:
    """What aiohttp has to know to send a request with these headers, through the proxy if there is one."""
    if proxy is None:
        return {"headers": headers}
    login = {}
    if proxy.username is not None:
        login["Proxy-Authorization"] = basic_authorization(proxy.username, proxy.password or "")
    if url.scheme == "https":
        return {"headers": headers, "proxy": proxy.url, "proxy_headers": login}  # they go with CONNECT alone
    return {"headers": {**headers, **login}, "proxy": proxy.url}


def same_origin(one: URL, other: URL) -> bool:
    """Tell whether two URLs have the same scheme, host and port."""
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)


def redirected(url: URL, location: str) -> URL:
    """Where a redirect leads, without userinfo, and otherwise letter for letter: signatures cover the spelling.

    Raises:
        UpstreamError: `location` is no http or https URL, or leads from https to http.
    """
    try:
        if not _LOCATION.fullmatch(location):
            raise ValueError("not printable, or empty")
        target = url.join(URL(location, encoded=True))
        target = target.with_user(None) if target.raw_user or target.raw_password else target
        usable = target.scheme in ("http", "https") and bool(target.host) and target.port is not None
    except ValueError:
        usable = False
    if not usable:
        raise UpstreamError(Reason.BROKEN, f"{url.origin()} redirects to what is no http or https URL")
    if (url.scheme, target.scheme) == ("https", "http"):
        raise UpstreamError(Reason.BROKEN, f"{url.origin()} redirects from https to http, to {target.origin()}")
    return target


@contextmanager
def _translated(url: URL, late: Reason, limit_s: float) -> Iterator[None]:
    """Turn the client library's exceptions into UpstreamError; `late` is the reason once `limit_s` has passed."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError:
        raise UpstreamError(Reason.UNREACHABLE, f"{url.origin()} cannot be reached: no connection in time") from None
    except aiohttp.ClientConnectorError as error:
        raise UpstreamError(Reason.UNREACHABLE, f"{url.origin()} cannot be reached: {_why(error)}") from error
    except TimeoutError:
        raise UpstreamError(late, f"{url.origin()} took more than {limit_s:g} s") from None
    # HttpProcessingError: from aiohttp's parser in Python; UnicodeError: from the names of hosts that cannot be any.
    except (aiohttp.ClientError, HttpProcessingError, OSError, UnicodeError) as error:
        raise UpstreamError(Reason.BROKEN, f"{url.origin()} broke off: {_why(error)}") from error


def _why(error: Exception) -> str:
    """What went wrong, in words of this machine alone.

    The library's messages repeat what the server sent, of any length, and the URL of the request, which may be signed.
    """
    match error:
        case AnswerRefused():
            return str(error)
        case aiohttp.ClientResponseError() | HttpProcessingError():
            return "what it sends is not HTTP as this agent knows it"
        case aiohttp.ClientConnectorError():
            return error.os_error.strerror or str(error.os_error)[:200]
        case OSError():
            return error.strerror or type(error).__name__
        case _:
            return type(error).__name__
