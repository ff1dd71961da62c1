"""How registries are reached: several URLs in turn, proxies, and certificates of either side."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from mirror.errors import UpstreamError, UpstreamRateLimited, UpstreamUnknown
from mirror.sources.upstream.reached import Proxies, Reached
from mirror.sources.upstream.registries import Registry
from tests.loopback.registries import (
    A_BLOB,
    BLOB,
    TAG,
    Script,
    failing,
    fetch,
    manifest,
    on_loop,
    ranged,
    raw,
    serving,
    text,
    upstream,
)

CLOSED = "http://127.0.0.1:1"
"""Where nobody listens."""


@pytest.mark.parametrize("answer", [text(404), text(500), text(429, Retry_After="60"), text(401), text(403)])
@on_loop
async def test_what_the_cache_before_a_registry_does_not_give_the_registry_is_asked_for(answer: Script) -> None:
    async with (
        serving(answer) as cache,
        serving(ranged) as registry,
        upstream(cache.url, registry.url) as client,
    ):
        assert await fetch(client, A_BLOB) == BLOB
        assert (len(cache.requests), len(registry.requests)) == (1, 1)


@on_loop
async def test_the_cache_is_asked_first_and_rests_when_it_fails() -> None:
    async with (
        serving(manifest) as cache,
        serving(manifest) as registry,
        upstream(cache.url, registry.url) as client,
    ):
        await client.resolve(TAG)
        assert (len(cache.requests), len(registry.requests)) == (1, 0)
        cache.script = text(503)
        for _ in range(3):
            await client.resolve(TAG)
        assert (len(cache.requests), len(registry.requests)) == (2, 3)


@on_loop
async def test_a_registry_that_is_down_leaves_what_its_cache_has_and_a_silent_cache_costs_half_the_time() -> None:
    async with serving(ranged) as cache, upstream(cache.url, CLOSED) as client:
        assert await fetch(client, A_BLOB, 0, 10) == BLOB[:10]
        cache.script = text(404)
        error = await failing(UpstreamError, fetch(client, A_BLOB))
        assert error.reason == "unreachable"  # nobody knows whether the registry has it
    async with (
        raw(b"", then=asyncio.Event()) as silent,
        serving(ranged) as registry,
        upstream(silent, registry.url, head_s=1.0) as client,
    ):
        for _ in range(2):
            assert await fetch(client, A_BLOB, 0, 10) == BLOB[:10]
        assert len(registry.requests) == 2


@on_loop
async def test_what_the_registry_itself_says_counts_though_its_cache_fails() -> None:
    async with serving(text(404)) as registry, upstream(CLOSED, registry.url) as client:
        for _ in range(2):  # the second time it is asked first
            await failing(UpstreamUnknown, fetch(client, A_BLOB))
        registry.script = text(429, Retry_After="60")
        await failing(UpstreamRateLimited, fetch(client, A_BLOB))


@on_loop
async def test_any_url_that_answers_is_a_sign_of_life() -> None:
    async with serving(text(401)) as registry, upstream(CLOSED, registry.url, f"gone={CLOSED}") as client:
        assert await client.answers("lab")
        assert not await client.answers("gone")


class Tunnels:
    """A proxy for TLS: it connects to the one registry that there is, whatever host it is asked for."""

    def __init__(self, port: int) -> None:
        self.heads: list[str] = []
        self.url = ""
        self._port = port

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        behind_reader, behind = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        await asyncio.gather(_copy(reader, behind), _copy(behind_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while part := await reader.read(65536):
            writer.write(part)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def tunnels(port: int) -> AsyncIterator[Tunnels]:
    proxy = Tunnels(port)
    server = await asyncio.start_server(proxy.take, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        await server.wait_closed()


class Authority:
    """An authority that nobody knows, with a registry's certificate and an agent's, as files."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self.ca, self.cert, self.key = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
        self._authority.cert_pem.write_to_path(self.ca)
        mine = self._authority.issue_cert("agent.example")
        mine.cert_chain_pems[0].write_to_path(self.cert)
        mine.private_key_pem.write_to_path(self.key)

    def server(self, *, wants_certificate: bool = False) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._authority.issue_cert("127.0.0.1", "127.0.0.2", "lab.example").configure_cert(context)
        self._authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED if wants_certificate else ssl.CERT_OPTIONAL
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@on_loop
async def test_an_authority_of_the_operators_is_believed_for_the_registry_that_it_is_for(authority: Authority) -> None:
    async with serving(ranged, tls=authority.server()) as server:
        reached = Reached(ca=authority.ca)
        async with upstream(f"other={server.url}", tables=[Registry("lab", server.url, reached=reached)]) as client:
            assert await fetch(client, A_BLOB) == BLOB
            assert not await client.answers("other")


@on_loop
async def test_the_agents_certificate_is_for_the_registrys_own_host_alone(authority: Authority) -> None:
    shown: list[bool] = []

    async def stored(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        shown.append(bool(request.transport.get_extra_info("peercert")))
        return await ranged(request)

    async with (
        serving(stored, "127.0.0.2", authority.server()) as store,
        serving(text(307, Location=f"{store.url}/x"), tls=authority.server(wants_certificate=True)) as server,
    ):
        reached = Reached(authority.ca, authority.cert, authority.key)
        registry = Registry("lab", server.url, reached=reached)
        async with upstream(f"store={store.url}", tables=[registry]) as client:
            assert await fetch(client, A_BLOB) == BLOB
        async with upstream(tables=[Registry("lab", server.url, reached=Reached(authority.ca))]) as client:
            await failing(UpstreamError, fetch(client, A_BLOB))
    assert shown == [False]


@on_loop
async def test_a_proxy_looks_names_up_and_passes_tls_on_with_the_operators_password(authority: Authority) -> None:
    async with serving(ranged, tls=authority.server()) as server, tunnels(int(server.url.rpartition(":")[2])) as proxy:
        through = Proxies.parse(proxy.url.replace("//", "//user:p%40ss@"))
        registry = Registry("lab", "https://lab.example", reached=Reached(authority.ca, proxies=through))

        def look_up(host: str, *_: object, **__: object) -> list[object]:
            raise AssertionError(f"{host} is looked up here")

        async with upstream(tables=[registry], look_up=look_up) as client:
            assert await fetch(client, A_BLOB) == BLOB
        (head,) = proxy.heads
        assert head.startswith("CONNECT lab.example:443 HTTP/1.1\r\n")
        assert "Proxy-Authorization: Basic dXNlcjpwQHNz\r\n" in head
        assert [request.headers.get("Proxy-Authorization") for request in server.requests] == [None]


@on_loop
async def test_a_proxy_for_http_is_asked_for_the_whole_url_and_an_address_in_one_is_checked_as_ever() -> None:
    async with serving(ranged) as proxy:
        proxies = Proxies.parse(proxy.url.replace("//", "//user:x@"))
        async with upstream("http://lab.example", "inside=http://10.0.0.9", proxies=proxies) as client:
            assert await fetch(client, A_BLOB) == BLOB
            assert proxy.requests[0].host == "lab.example"
            assert proxy.requests[0].headers["Proxy-Authorization"] == "Basic dXNlcjp4"
            proxy.script = text(307, Location="http://169.254.169.254/secret")
            error = await failing(UpstreamError, fetch(client, A_BLOB, 0, 1))
            assert error.reason == "forbidden"
            assert len(proxy.requests) == 2


@on_loop
async def test_this_machine_is_reached_without_a_proxy() -> None:
    async with serving(ranged) as server, upstream(server.url, proxies=Proxies.parse(CLOSED)) as client:
        assert await fetch(client, A_BLOB) == BLOB
