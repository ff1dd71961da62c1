"""Registries that answer as a test tells them to, and the client that asks them, over loopback."""

import asyncio
import functools
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, ParamSpec

import pytest
from aiohttp import web

from mirror.errors import SourceError
from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.manifest import OCI_MANIFEST
from mirror.oci.reference import Reference, Repository
from mirror.settings import UpstreamSettings
from mirror.sources.upstream import Upstream
from mirror.sources.upstream.access import Access
from mirror.sources.upstream.budgets import Budgets
from mirror.sources.upstream.credentials import AuthPath
from mirror.sources.upstream.names import LookUp
from mirror.sources.upstream.reached import Proxies
from mirror.sources.upstream.registries import Registry, with_trust
from mirror.sources.upstream.trust import Trusted

REPOSITORY = Repository("lab", "team/app")
BLOB = bytes(range(256)) * 4096
BLOB_DIGEST = Digest.of(BLOB)
A_BLOB = Content(REPOSITORY, "blobs", BLOB_DIGEST)
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {}, "layers": []}).encode()
A_MANIFEST = Content(REPOSITORY, "manifests", Digest.of(MANIFEST))
TAG = Reference(REPOSITORY, "1.0")

Script = Callable[[web.Request], Awaitable[web.StreamResponse]]


Parameters = ParamSpec("Parameters")


def on_loop(test: Callable[Parameters, Coroutine[Any, Any, None]]) -> Callable[Parameters, None]:
    """Run a test's coroutine, with a bound, and asyncio's own checks on."""

    @functools.wraps(test)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 30), debug=True)

    return run


class Server:
    """A registry that answers by a script and remembers what it was asked."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[web.Request] = []
        self.url = ""

    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        return await self.script(request)


@asynccontextmanager
async def serving(script: Script, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(script)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, 0, ssl_context=tls)
        await site.start()
        server.url = f"{'https' if tls else 'http'}://{host}:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()


@asynccontextmanager
async def raw(answer: bytes, *, then: asyncio.Event | None = None) -> AsyncIterator[str]:
    """A server that sends these bytes to every request, and closes, or waits for an event first."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(answer)
        if then is not None:
            await then.wait()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        if then is not None:
            then.set()
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def upstream(
    *configured: str,
    tables: Sequence[Registry] = (),
    trust: Sequence[str] = (),
    auth: AuthPath | None = None,
    proxies: Proxies | None = None,
    budgets: Budgets | None = None,
    look_up: LookUp = socket.getaddrinfo,
    **limits: Any,
) -> AsyncIterator[Upstream]:
    """An upstream client; `configured` are REGISTRY=URL, or a URL for the registry `lab`, which leads to `trust`.

    `tables` are registries as they are, beside these.
    """
    entries = [entry if "=" in entry.partition("//")[0] else f"lab={entry}" for entry in configured]
    trusted = [Trusted.parse(f"lab={where}") for where in trust]
    registries = with_trust([*(Registry.parse(entry) for entry in entries), *tables], trusted)
    client = Upstream(
        registries, UpstreamSettings(**limits), Access(auth, proxies or Proxies()), look_up, budgets=budgets
    )
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def fetch(client: Upstream, content: Content, start: int = 0, stop: int | None = None) -> bytes:
    """Open and read to the end, and check that what came is as long as announced."""
    async with client.open(content, start, stop) as reply:
        body = b"".join([chunk async for chunk in reply.chunks])
        assert reply.start == start
        assert len(body) == reply.stop - reply.start
        return body


async def failing(failure: type[SourceError], attempt: Awaitable[object]) -> SourceError:
    """The error with which an attempt ends; its message is one line."""
    with pytest.raises(failure) as caught:
        await attempt
    assert "\n" not in str(caught.value)
    return caught.value


async def ranged(request: web.Request) -> web.StreamResponse:
    """Serve BLOB, with ranges, as registries do."""
    begin, end = 0, len(BLOB)
    if "Range" in request.headers:
        wanted = request.http_range
        begin, end = wanted.start or 0, min(wanted.stop or len(BLOB), len(BLOB))
        headers = {"Content-Range": f"bytes {begin}-{end - 1}/{len(BLOB)}"}
        return web.Response(status=206, body=BLOB[begin:end], headers=headers)
    return web.Response(body=BLOB)


async def unranged(_: web.Request) -> web.StreamResponse:
    """Serve all of BLOB, whatever was asked for."""
    return web.Response(body=BLOB)


async def manifest(_: web.Request) -> web.StreamResponse:
    """Serve MANIFEST in full, as registries do."""
    headers = {"Docker-Content-Digest": str(Digest.of(MANIFEST))}
    return web.Response(body=MANIFEST, content_type=OCI_MANIFEST, headers=headers)


def text(status: int, body: str = "", **headers: str) -> Script:
    """A script that always answers the same; underscores in header names are hyphens."""

    async def answer(_: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, text=body, headers={"Content-Type": "text/plain", **named})

    return answer


def in_turn(*scripts: Script) -> Script:
    """A script that answers by each of these once, and by the last from then on."""
    waiting = list(scripts)

    async def answer(request: web.Request) -> web.StreamResponse:
        return await (waiting.pop(0) if len(waiting) > 1 else waiting[0])(request)

    return answer


async def chunked(request: web.Request, *chunks: bytes, status: int = 200, **headers: str) -> web.StreamResponse:
    response = web.StreamResponse(status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})
    response.enable_chunked_encoding()
    await response.prepare(request)
    for chunk in chunks:
        await response.write(chunk)
    await response.write_eof()
    return response


class TokenService:
    """A token service, and the guard in front of a registry that accepts its tokens."""

    def __init__(self) -> None:
        self.url = ""
        self.issued: list[str] = []
        self.requests: list[web.Request] = []
        self.revoked: set[str] = set()

    async def issue(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        await asyncio.sleep(0)
        self.issued.append(f"token-{len(self.issued)}")
        return web.json_response({"token": self.issued[-1], "expires_in": 300})

    def guarding(self, behind: Script) -> Script:
        async def answer(request: web.Request) -> web.StreamResponse:
            token = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if token in self.issued and token not in self.revoked:
                return await behind(request)
            scope = "repository:team/app:pull"
            challenge = f'Bearer realm="{self.url}/token",service="lab",scope="{scope}"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})

        return answer


@asynccontextmanager
async def token_service() -> AsyncIterator[TokenService]:
    service = TokenService()
    async with serving(service.issue, "127.0.0.2") as server:
        service.url = server.url
        yield service


def to(location: str, status: int = 307) -> Script:
    return text(status, Location=location)
