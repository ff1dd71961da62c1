"""The hub: what it answers, and what it counts."""

import asyncio
import hashlib
import hmac
import json
import re
import secrets
import ssl
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from aiohttp import web

from ..images import Image
from ..network import Address
from .contents import Shelf
from .counts import Counts, Kind
from .limits import PullLimits, source_of
from .tokens import Grant, TokenService
from .web import HTTPS_PORT, Site, Sites

SERVICE: Final = "registry.docker.io"
NAMES: Final = ("registry-1.docker.io", "auth.docker.io", "production.cloudflare.docker.com")
"""Of the real registry, its token service and its store."""

_PATH: Final = re.compile(r"/v2/(?P<repository>.+)/(?P<what>manifests|blobs|tags|referrers)/(?P<which>[^/]+)")
_STORE_PATH: Final = "/registry-v2/docker/registry/v2/blobs/sha256/{}/{}/data"
_STORED: Final = re.compile(r"/registry-v2/docker/registry/v2/blobs/sha256/[0-9a-f]{2}/(?P<hex>[0-9a-f]{64})/data")
_API: Final = {"Docker-Distribution-Api-Version": "registry/2.0"}
_KEY: Final = secrets.token_bytes(16)
_LIMITED: Final = "You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit"
_TWO_WAYS: Final = (
    '<?xml version="1.0" encoding="UTF-8"?><Error><Code>InvalidArgument</Code>'
    "<Message>Only one auth mechanism allowed</Message></Error>"
)


@dataclass(slots=True)
class Fault:
    """Answers that are not what they should be.

    Args:
        kind: of the requests that get them.
        status: of these answers.
        times: how many do; None: all, until the fault is taken away.
        headers: of these answers, such as Retry-After.
        body: of these answers.
    """

    kind: Kind
    status: int = 503
    times: int | None = 1
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""


class Hub:
    """The registry, its token service and its store.

    Args:
        hosts: IP addresses of the three, in this order.
        netns: network namespace in which they listen.
        limits: how many pulls are allowed.
        passwords: of accounts, by account.
        port: of all three; 0: any that are free.
        tls: makes what TLS needs for a name. With it, the three speak TLS and have their real names and port, so that
            nobody has to be told of them who has these names resolved and believes these certificates.
        clock: monotonic seconds, by which pulls are counted.
    """

    def __init__(  # noqa: PLR0913 - all have defaults
        self,
        hosts: Sequence[str] = ("127.0.0.1", "127.0.0.2", "127.0.0.3"),
        *,
        netns: str | None = None,
        limits: PullLimits | None = None,
        passwords: Mapping[str, str] | None = None,
        port: int = 0,
        tls: Callable[[str], ssl.SSLContext] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.shelf = Shelf()
        self.limits = limits or PullLimits()
        self.tokens = TokenService(SERVICE, self.shelf.may_see, passwords or {})
        self.faults: list[Fault] = []
        self.abused = False
        """Whether it takes everybody for an abuser: everything is answered 429, without a word."""
        self.signed_s = 600.0
        """For how long the URLs are good to which it redirects, s."""
        self._clock = clock
        self._counter: Counter[Kind] = Counter()
        self._going = asyncio.Event()
        self._going.set()
        handlers = (self._registry, self._auth, self._store)
        self.registry, self.auth, self.store = (
            Site(handler, host, port) if tls is None else Site(handler, host, HTTPS_PORT, tls(name), name)
            for handler, host, name in zip(handlers, hosts, NAMES, strict=True)
        )
        self._sites = Sites([self.registry, self.auth, self.store], netns)

    @contextmanager
    def running(self) -> Iterator["Hub"]:
        """It listens inside of `with`."""
        with self._sites.running():
            try:
                yield self
            finally:
                self.go_on()

    @property
    def address(self) -> Address:
        """Of the registry."""
        return self.registry.address

    @property
    def url(self) -> str:
        """Of the registry."""
        return self.registry.url

    @property
    def flags(self) -> Sequence[str]:
        """What an agent is told that takes it for docker.io, where it has neither its names nor public addresses."""
        trusted = (f"--upstream-trust=docker.io={site.address}" for site in (self.auth, self.store))
        return [f"--upstream=docker.io={self.url}", *trusted]

    def hold(self, image: Image, repository: str, *tags: str, readers: Collection[str] | None = None) -> None:
        """Have an image; see `Shelf.hold`."""
        self.shelf.hold(image, repository, *tags, readers=readers)

    # What it counted.

    def counts(self) -> Counts:
        """What it was asked so far."""
        return Counts.of(self._counter)

    # What it does wrong.

    def hang(self) -> None:
        """Answer nothing more, until `go_on`."""
        self._sites.call(self._going.clear)

    def go_on(self) -> None:
        """Answer what waits, and what comes."""
        self._sites.call(self._going.set)

    def _fault(self, kind: Kind) -> web.Response | None:
        """The wrong answer that a request is to have, if any."""
        if self.abused:
            self._counter[Kind.LIMITED] += 1
            return web.Response(status=429)
        fault = next((fault for fault in self.faults if fault.kind is kind), None)
        if fault is None:
            return None
        if fault.times is not None:
            fault.times -= 1
            if not fault.times:
                self.faults.remove(fault)
        self._counter[Kind.LIMITED] += fault.status == 429
        return web.Response(status=fault.status, headers=fault.headers, text=fault.body)

    # What it answers.

    async def _registry(self, request: web.BaseRequest) -> web.StreamResponse:
        await self._going.wait()
        asked = _PATH.fullmatch(request.path)
        kind = _kind(request.method, asked)
        if kind is None:
            return _refused(404, "UNSUPPORTED", "there is no such thing here")
        repository = asked["repository"] if asked else ""
        grant = self._grant(request)
        if grant is None or (repository and f"repository:{repository}:pull" not in grant.scopes):
            self._counter[Kind.CHALLENGE] += 1
            return self._fault(Kind.CHALLENGE) or self._challenge(repository, grant)
        self._counter[kind] += 1
        if (wrong := self._fault(kind)) is not None:
            return wrong
        if asked is None:
            return web.Response(text="{}", content_type="application/json", headers=_API)
        if kind is Kind.BLOB:
            return self._redirect(repository, asked["which"])
        if kind is Kind.LIST:
            return self._list(request, repository, asked["what"])
        return self._manifest(request, repository, asked["which"], grant.account)

    def _grant(self, request: web.BaseRequest) -> Grant | None:
        return self.tokens.grant(request.headers.get("Authorization", "").removeprefix("Bearer "))

    def _challenge(self, repository: str, grant: Grant | None) -> web.Response:
        challenge = f'Bearer realm="{self.auth.url}/token",service="{SERVICE}"'
        if repository:
            challenge += f',scope="repository:{repository}:pull"'
        if grant is not None:
            challenge += ',error="insufficient_scope"'
        answer = _refused(401, "UNAUTHORIZED", "authentication required")
        answer.headers["WWW-Authenticate"] = challenge
        return answer

    def _manifest(self, request: web.BaseRequest, repository: str, reference: str, account: str) -> web.Response:
        """GET counts as a pull, also of what is not there."""
        address, now = request.remote or "", self._clock()
        allowed = request.method == "HEAD" or self.limits.pull(account, address, now)
        standing = self.limits.standing(account, address, now)
        headers = standing.headers(source_of(account, address))
        if not allowed:
            self._counter[Kind.LIMITED] += 1
            answer = _refused(429, "TOOMANYREQUESTS", _LIMITED)
            answer.headers.update({**headers, "Retry-After": str(standing.again_s)})
            return answer
        found = self.shelf.manifest(repository, reference)
        if found is None:
            answer = _refused(404, "MANIFEST_UNKNOWN", "manifest unknown")
            answer.headers.update(headers)
            return answer
        digest, media_type, body = found
        given = {"Docker-Content-Digest": digest, "ETag": f'"{digest}"', "Content-Type": media_type}
        return web.Response(body=body, headers={**_API, **given, **headers})

    def _redirect(self, repository: str, digest: str) -> web.Response:
        if not self.shelf.has_blob(repository, digest):
            return _refused(404, "BLOB_UNKNOWN", "blob unknown to registry")
        name = digest.removeprefix("sha256:")
        path = _STORE_PATH.format(name[:2], name)
        until = str(int(time.time() + self.signed_s))
        target = f"{self.store.url}{path}?verify={until}-{quote(_signature(path, until))}"
        return web.Response(
            status=307, headers={**_API, "Location": target, "Content-Type": "application/octet-stream"}
        )

    def _list(self, request: web.BaseRequest, repository: str, what: str) -> web.Response:
        if what == "referrers":
            return web.Response(status=404, text="404 page not found\n")
        tags = sorted(self.shelf.repositories[repository].tags)
        first = [tag for tag in tags if tag > request.query.get("last", "")]
        page = first[: int(request.query.get("n", len(tags)))]
        answer = web.json_response({"name": repository, "tags": page}, headers=_API)
        if page != first:
            answer.headers["Link"] = f'</v2/{repository}/tags/list?last={page[-1]}&n={len(page)}>; rel="next"'
        return answer

    async def _auth(self, request: web.BaseRequest) -> web.StreamResponse:
        await self._going.wait()
        self._counter[Kind.TOKEN] += 1
        return self._fault(Kind.TOKEN) or await self.tokens.answer(request)

    async def _store(self, request: web.BaseRequest) -> web.StreamResponse:
        await self._going.wait()
        self._counter[Kind.STORE] += 1
        if (wrong := self._fault(Kind.STORE)) is not None:
            return wrong
        if "Authorization" in request.headers:
            return web.Response(status=400, text=_TWO_WAYS, content_type="application/xml")
        until, _, signature = request.query.get("verify", "").partition("-")
        if not hmac.compare_digest(signature, _signature(request.path, until)) or int(until) < time.time():
            return web.Response(status=403, text="expired or wrong signature")
        stored = _STORED.fullmatch(request.path)
        file = self.shelf.file(f"sha256:{stored['hex']}") if stored else None
        if file is None:
            return web.Response(status=404)
        return web.FileResponse(file, headers={"Content-Type": "application/octet-stream"})


def _kind(method: str, asked: "re.Match[str] | None") -> Kind | None:
    if asked is None:
        return Kind.PING
    if method not in ("GET", "HEAD"):
        return None
    if asked["what"] == "manifests":
        return Kind.HEAD if method == "HEAD" else Kind.MANIFEST
    return Kind.BLOB if asked["what"] == "blobs" else Kind.LIST


def _signature(path: str, until: str) -> str:
    return hmac.new(_KEY, f"{path} {until}".encode(), hashlib.sha256).hexdigest()


def _refused(status: int, code: str, message: str) -> web.Response:
    text = json.dumps({"errors": [{"code": code, "message": message}]})
    return web.Response(status=status, text=text, content_type="application/json", headers=_API)
