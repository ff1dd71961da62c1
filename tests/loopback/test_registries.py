"""Registries as they are: what container tools put up with, so must the client that asks for all of them."""

import asyncio
import contextlib
import gzip
import json
import socket
import threading
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest
from aiohttp import web

from mirror.errors import UpstreamError, UpstreamRefused, UpstreamUnknown
from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.manifest import MANIFEST_MAX_BYTES, OCI_MANIFEST
from mirror.oci.reference import Reference, Repository
from mirror.settings import NameSettings
from mirror.sources.upstream import Upstream
from mirror.sources.upstream.names import LookUp
from tests.loopback.registries import (
    A_BLOB,
    A_MANIFEST,
    BLOB,
    BLOB_DIGEST,
    MANIFEST,
    REPOSITORY,
    TAG,
    Script,
    Server,
    chunked,
    failing,
    fetch,
    in_turn,
    manifest,
    on_loop,
    ranged,
    serving,
    text,
    to,
    token_service,
    unranged,
    upstream,
)  # fmt: skip

LARGE = BLOB * 3
A_LARGE_BLOB = Content(REPOSITORY, "blobs", Digest.of(LARGE))
CONFIG = json.dumps({"architecture": "amd64", "history": [{"created_by": "a long line " * 100}]}).encode()
A_CONFIG = Content(REPOSITORY, "blobs", Digest.of(CONFIG))
NOTHING = Content(REPOSITORY, "blobs", Digest.of(b""))


def by_method(head: Script, get: Script) -> Script:
    async def answer(request: web.Request) -> web.StreamResponse:
        return await (head if request.method == "HEAD" else get)(request)

    return answer


def methods(server: Server) -> list[str]:
    return [request.method for request in server.requests]


# HEAD -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 403, 404, 405, 501])
@on_loop
async def test_where_only_get_works_head_is_tried_once(status: int) -> None:
    async with serving(by_method(text(status), manifest)) as server, upstream(server.url) as client:
        for _ in range(3):
            assert (await client.resolve(TAG)).digest == Digest.of(MANIFEST)
        assert methods(server) == ["HEAD", "GET", "GET", "GET"]


@on_loop
async def test_a_redirect_that_is_signed_for_get_alone() -> None:
    async with (
        serving(by_method(text(403), manifest), "127.0.0.3") as store,
        serving(to(store.url)) as server,
        upstream(server.url, f"store={store.url}") as client,
    ):
        for _ in range(2):
            assert (await client.resolve(TAG)).digest == Digest.of(MANIFEST)
        assert methods(store) == ["HEAD", "GET", "GET"]


@on_loop
async def test_a_tag_that_does_not_exist_says_nothing_of_head() -> None:
    get = in_turn(text(404), manifest)
    async with serving(by_method(text(404), get)) as server, upstream(server.url) as client:
        await failing(UpstreamUnknown, client.resolve(TAG))
        assert (await client.resolve(TAG)).digest == Digest.of(MANIFEST)
        assert methods(server) == ["HEAD", "GET", "HEAD", "GET"]


@on_loop
async def test_a_registry_that_knows_head_is_believed_when_it_says_no() -> None:
    async with serving(in_turn(manifest, text(404))) as server, upstream(server.url) as client:
        await client.resolve(TAG)
        await failing(UpstreamUnknown, client.resolve(TAG))
        assert methods(server) == ["HEAD", "HEAD"]


@pytest.mark.parametrize(
    "head",
    [
        lambda _: length(0), lambda _: length(7), lambda _: length(2**40), text(405), text(403), text(404),
        lambda request: chunked(request),
    ],
)  # fmt: skip
@on_loop
async def test_no_size_is_believed_that_head_alone_says(head: Script) -> None:
    async with serving(by_method(head, ranged)) as server, upstream(server.url) as client:
        assert await client.size(A_BLOB) == len(BLOB)
        assert await client.size(A_BLOB, expected=len(BLOB)) == len(BLOB)
        assert await client.size(A_BLOB, expected=9) == len(BLOB)
        assert {request.headers.get("Range") for request in server.requests if request.method == "GET"} == {"bytes=0-0"}


async def length(said: int) -> web.StreamResponse:
    return web.Response(headers={"Content-Length": str(said)})


@on_loop
async def test_a_size_that_somebody_says_is_confirmed_by_head() -> None:
    async with serving(ranged) as server, upstream(server.url) as client:
        assert await client.size(A_BLOB, expected=len(BLOB)) == len(BLOB)
        assert methods(server) == ["HEAD"]


# Lengths, encodings ---------------------------------------------------------------------------------------------------


def pieces(body: bytes) -> list[bytes]:
    return [body[at : at + 300_000] for at in range(0, len(body), 300_000)]


def unsized(body: bytes, head: Script | None = None) -> Script:
    """All of a body, in chunks, whatever range is asked for."""

    async def get(request: web.Request) -> web.StreamResponse:
        return await chunked(request, *(pieces(body) if request.method == "GET" else ()))

    return by_method(head or get, get)


@contextlib.asynccontextmanager
async def until_it_closes(body: bytes, head: bytes = b"") -> AsyncIterator[str]:
    """An HTTP/1.0 server, which ends a body by ending the connection."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            asked = await reader.readuntil(b"\r\n\r\n")
            writer.write(
                b"HTTP/1.0 200 OK\r\n\r\n" if asked.startswith(b"GET") else b"HTTP/1.0 200 OK\r\n%b\r\n" % head
            )
            writer.write(body if asked.startswith(b"GET") else b"")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("claim", [None, len(LARGE), len(LARGE) - 1, len(LARGE) + 1])
@on_loop
async def test_a_blob_whose_length_nobody_says_or_head_says_wrong(claim: int | None) -> None:
    script = unsized(LARGE, None if claim is None else lambda _: length(claim))
    async with serving(script) as server, upstream(server.url) as client:
        got = await insist(client, A_LARGE_BLOB)
        assert got == LARGE
        assert await fetch(client, A_LARGE_BLOB, 1000, 2000) == LARGE[1000:]
        assert await client.size(A_LARGE_BLOB) == len(LARGE)
        assert len(server.requests) <= 3 + 4  # the size is found out once


async def insist(client: Upstream, content: Content) -> bytes:
    """Fetch, and once more where that fails, as a download does."""
    with contextlib.suppress(UpstreamError):
        return await fetch(client, content)
    return await fetch(client, content)


@pytest.mark.parametrize("head", [b"", b"Content-Length: %d\r\n" % len(LARGE)])
@on_loop
async def test_bodies_that_end_with_the_connection(head: bytes) -> None:
    async with until_it_closes(LARGE, head) as url, upstream(url) as client:
        assert await fetch(client, A_LARGE_BLOB) == LARGE
        assert await fetch(client, A_LARGE_BLOB, 5, 9) == LARGE[5:]
        assert await client.size(A_LARGE_BLOB) == len(LARGE)
    async with until_it_closes(MANIFEST) as url, upstream(url) as client:
        assert (await client.resolve(TAG)).digest == Digest.of(MANIFEST)
        assert await fetch(client, A_MANIFEST) == MANIFEST


@on_loop
async def test_a_blob_without_length_and_end_is_given_up() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while request.method == "GET":
                await response.write(BLOB)
        return response

    async with serving(endless) as server, upstream(server.url, measured_s=0.2) as client:
        assert (await failing(UpstreamError, fetch(client, A_BLOB))).reason == "length"


def encoded(body: bytes, coding: str = "gzip", pack: Callable[[bytes], bytes] = gzip.compress) -> Script:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "HEAD":
            return web.Response(status=405)
        return await chunked(request, pack(body), Content_Encoding=coding, Content_Type=OCI_MANIFEST)

    return answer


@pytest.mark.parametrize(
    ("coding", "pack"), [("gzip", gzip.compress), ("GZIP", gzip.compress), ("deflate", zlib.compress)]
)
@on_loop
async def test_json_that_comes_compressed_unasked_is_read(coding: str, pack: Callable[[bytes], bytes]) -> None:
    async with serving(encoded(MANIFEST, coding, pack)) as server, upstream(server.url) as client:
        assert (await client.resolve(TAG)).digest == Digest.of(MANIFEST)
        assert await fetch(client, A_MANIFEST) == MANIFEST
        server.script = encoded(CONFIG, coding, pack)
        assert await fetch(client, A_CONFIG) == CONFIG
        assert await fetch(client, A_CONFIG, 0, 4096) == CONFIG
        assert await client.size(A_CONFIG) == len(CONFIG)


@pytest.mark.parametrize(
    ("body", "coding", "reason"),
    [
        (gzip.compress(bytes(MANIFEST_MAX_BYTES + 1)), "gzip", "unknown"),
        (MANIFEST, "gzip", "broken"),
        (gzip.compress(MANIFEST)[:-9], "gzip", "broken"),
        (gzip.compress(MANIFEST), "br", "broken"),
    ],
)
@on_loop
async def test_what_is_compressed_wrongly_is_refused_in_little_memory(body: bytes, coding: str, reason: str) -> None:
    script = encoded(body, coding, lambda packed: packed)
    async with serving(script) as server, upstream(server.url) as client:
        assert (await failing(UpstreamError, client.resolve(TAG))).reason == reason


@on_loop
async def test_a_layer_that_is_said_to_be_encoded_stays_as_it_is() -> None:
    layer = gzip.compress(CONFIG)
    content = Content(REPOSITORY, "blobs", Digest.of(layer))
    async with serving(encoded(layer, pack=lambda packed: packed)) as server, upstream(server.url) as client:
        assert await fetch(client, content) == layer


@on_loop
async def test_a_token_may_come_compressed() -> None:
    async with token_service() as service, serving(service.guarding(manifest)) as server:

        async def packed(request: web.Request) -> web.StreamResponse:
            response = await service.issue(request)
            assert isinstance(response, web.Response)
            return web.Response(body=gzip.compress(bytes(response.body)), headers={"Content-Encoding": "gzip"})  # type: ignore[arg-type]

        async with serving(packed, "127.0.0.5") as zipped, upstream(server.url, f"tokens={zipped.url}") as client:
            service.url = zipped.url
            assert (await client.resolve(TAG)).digest == Digest.of(MANIFEST)


@pytest.mark.parametrize("said", [{}, {"Content_Range": "bytes */0"}, {"Content_Range": "bytes */*"}])
@on_loop
async def test_a_range_of_nothing_is_answered_416(said: dict[str, str]) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return await text(416 if "Range" in request.headers else 200, **said)(request)

    async with serving(answer) as server, upstream(server.url) as client:
        assert await fetch(client, NOTHING, 0, 1024) == b""
        assert await client.size(NOTHING) == 0
        async with client.open(NOTHING, 0, 1024) as reply:
            assert (reply.stop, reply.size, reply.ranged) == (0, 0, True)


@on_loop
async def test_a_registry_that_does_not_clip_ranges_is_asked_without_one() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return await (text(416) if "Range" in request.headers else unranged)(request)

    async with serving(answer) as server, upstream(server.url) as client, client.open(A_BLOB, 0, 2**30) as reply:
        assert (reply.stop, reply.ranged) == (len(BLOB), False)
        assert b"".join([chunk async for chunk in reply.chunks]) == BLOB


# Tokens ---------------------------------------------------------------------------------------------------------------


@on_loop
async def test_a_vanity_registry_redirects_to_one_that_wants_a_token_of_its_own() -> None:
    async with token_service() as service, serving(text(500), "127.0.0.3") as real, serving(text(500)) as vanity:
        vanity.script = lambda request: to(f"{real.url}/v2/project/app/{'/'.join(request.path.split('/')[-2:])}")(
            request
        )

        async def by_kind(request: web.Request) -> web.StreamResponse:
            return await (ranged if "/blobs/" in request.path else manifest)(request)

        real.script = service.guarding(by_kind)
        named = f"real={real.url.replace('//', '//robot:hunter2@')}", f"tokens={service.url}"
        async with upstream(vanity.url.replace("//", "//user:hunter2@"), *named) as client:
            assert (await client.resolve(TAG)).digest == Digest.of(MANIFEST)
            assert [request.headers.get("Authorization") for request in real.requests] == [None, "Bearer token-0"]
            assert await fetch(client, A_BLOB, 10, 20) == BLOB[10:20]
            assert await fetch(client, A_BLOB, 20, 30) == BLOB[20:30]
            service.revoked.add("token-0")
            assert await fetch(client, A_BLOB, 30, 40) == BLOB[30:40]
        assert service.issued == ["token-0", "token-1"]
        assert "Authorization" not in service.requests[0].headers, "passwords of neither registry are for this"
        assert {request.headers.get("Authorization") for request in vanity.requests} == {None}


@on_loop
async def test_a_vanity_registry_may_want_a_token_as_well() -> None:
    async with (
        token_service() as one,
        serving(one.guarding(text(500))) as vanity,
        serving(text(500), "127.0.0.3") as real,
    ):
        challenge = 'Bearer realm="{}/token"'
        other: list[str] = []

        async def issue(_: web.Request) -> web.StreamResponse:
            other.append(f"other-{len(other)}")
            return web.json_response({"token": other[-1]})

        async def guarded(request: web.Request) -> web.StreamResponse:
            if request.headers.get("Authorization", "").removeprefix("Bearer ") in other:
                return await manifest(request)
            return await text(401, WWW_Authenticate=challenge.format(tokens.url))(request)

        real.script, vanity.script = guarded, one.guarding(to(f"{real.url}/v2/project/app/manifests/1.0"))
        async with serving(issue, "127.0.0.4") as tokens:
            named = f"one={one.url}", f"real={real.url}", f"tokens={tokens.url}"
            async with upstream(vanity.url, *named) as client:
                for _ in range(2):
                    assert (await client.resolve(TAG)).digest == Digest.of(MANIFEST)
                one.revoked.add("token-0")
                other[0] = "forgotten"
                assert (await client.resolve(TAG)).digest == Digest.of(MANIFEST)
        assert (len(one.issued), len(other)) == (2, 2)


@pytest.mark.parametrize(
    "headers",
    [
        ['Basic realm="log in", Bearer realm="{}/token"'],
        ['Basic realm="log in"', 'Bearer realm="{}/token"'],
        ['Bearer realm="{}/token"', 'Basic realm="log in"'],
        ["Negotiate", 'Bearer service="no realm", Bearer realm="{}/token"'],
        ['Bearer realm="unfinished', 'Bearer realm="{}/token"'],
        ['Bearer realm="http://127.0.0.9:9/token"', 'Bearer realm="{}/token"'],
    ],
)
@pytest.mark.parametrize("user", ["", "user:hunter2@"])
@on_loop
async def test_of_several_challenges_the_one_is_answered_that_can_be(headers: Sequence[str], user: str) -> None:
    async with token_service() as service, serving(text(500)) as server:

        async def guarded(request: web.Request) -> web.StreamResponse:
            if request.headers.get("Authorization", "").startswith("Bearer token-"):
                return await manifest(request)
            response = web.Response(status=401)
            for header in headers:
                response.headers.add("WWW-Authenticate", header.format(service.url))
            return response

        server.script = guarded
        async with upstream(server.url.replace("//", f"//{user}"), f"tokens={service.url}") as client:
            assert (await client.resolve(TAG)).digest == Digest.of(MANIFEST)


@on_loop
async def test_a_password_is_tried_where_the_token_service_does_not_work() -> None:
    challenge = 'Bearer realm="http://127.0.0.9:9/token", Basic realm="x"'

    async def guarded(request: web.Request) -> web.StreamResponse:
        is_known = request.headers.get("Authorization", "").startswith("Basic ")
        return await (manifest if is_known else text(401, WWW_Authenticate=challenge))(request)

    async with serving(guarded) as server, upstream(server.url.replace("//", "//user:hunter2@")) as client:
        assert (await client.resolve(TAG)).digest == Digest.of(MANIFEST)


@on_loop
async def test_a_token_that_is_refused_without_a_challenge_is_replaced() -> None:
    async with token_service() as service, serving(text(500)) as server:
        guarded = service.guarding(ranged)

        async def terse(request: web.Request) -> web.StreamResponse:
            answer = await guarded(request)
            if answer.status == 401 and "Authorization" in request.headers:
                del answer.headers["WWW-Authenticate"]
            return answer

        server.script = terse
        async with upstream(server.url, f"tokens={service.url}") as client:
            await fetch(client, A_BLOB, 0, 10)
            service.revoked.add("token-0")
            assert await fetch(client, A_BLOB, 10, 20) == BLOB[10:20]
            assert service.issued == ["token-0", "token-1"]


@on_loop
async def test_a_token_that_ends_in_the_middle_of_a_pull_costs_one_request_more() -> None:
    async with token_service() as service, serving(text(500)) as server:
        server.script = service.guarding(ranged)
        async with upstream(server.url, f"tokens={service.url}") as client:
            step, got = 100_000, bytearray()
            while len(got) < len(BLOB):
                async with client.open(A_BLOB, len(got), len(got) + step) as reply:
                    service.revoked.update(service.issued)  # what is under way goes on
                    got += b"".join([chunk async for chunk in reply.chunks])
            assert got == BLOB
        assert len(service.issued) == len(BLOB) // step + 1


# Where a registry leads -----------------------------------------------------------------------------------------------


@on_loop
async def test_a_registry_leads_where_the_operator_trusts_it_to_and_no_other_one_does() -> None:
    async with (
        token_service() as service,
        serving(ranged, "127.0.0.3") as store,
        serving(service.guarding(to(store.url))) as server,
    ):
        tokens, blobs = (url.removeprefix("http://") for url in (service.url, store.url))
        for trust in ([], [tokens], [blobs], [tokens, "127.0.0.3:1"], ["10.0.0.0/8", tokens]):
            async with upstream(server.url, trust=trust) as client:
                await failing(UpstreamRefused, fetch(client, A_BLOB))
        assert store.requests == []
        for trust in ([tokens, blobs], ["127.0.0.2", "127.0.0.3"], ["127.0.0.0/29"]):
            async with upstream(server.url, f"other={server.url}", trust=trust) as client:
                assert await fetch(client, A_BLOB) == BLOB
                stranger = Content(Repository("other", "team/app"), "blobs", BLOB_DIGEST)
                await failing(UpstreamRefused, fetch(client, stranger))


# Time -----------------------------------------------------------------------------------------------------------------


async def silent(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


Ask = Callable[[Upstream], Awaitable[object]]


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.resolve(TAG),
        lambda client: client.size(A_BLOB),
        lambda client: fetch(client, A_BLOB),
        lambda client: fetch(client, A_MANIFEST),
    ],
    ids=["tag", "size", "blob", "manifest"],
)
@pytest.mark.parametrize("where", ["registry", "redirect", "token service", "redirects"])
@on_loop
async def test_one_try_has_one_bound_wherever_nobody_answers(ask: Ask, where: str) -> None:
    async with serving(silent) as server, serving(silent, "127.0.0.3") as other:
        named = server.url, f"other={other.url}"
        async with upstream(*named, question_s=0.2, head_s=0.3) as client:
            match where:
                case "redirect":
                    server.script = to(other.url)
                case "token service":
                    server.script = text(401, WWW_Authenticate=f'Bearer realm="{other.url}/token"')
                case "redirects":
                    server.script = slowly(to(f"{server.url}/again"))
            error = await failing(UpstreamError, ask(client))
            assert error.reason == "timeout"
            assert "lab gave no answer within 0." in str(error)


@on_loop
async def test_a_place_that_no_longer_answers_is_asked_once_more_and_then_the_registry() -> None:
    async with (
        serving(ranged, "127.0.0.3") as old,
        serving(ranged, "127.0.0.4") as new,
        serving(to(old.url)) as server,
        upstream(server.url, f"old={old.url}", f"new={new.url}", head_s=1.0) as client,
    ):
        assert await fetch(client, A_BLOB, 0, 10) == BLOB[:10]
        old.script, server.script = silent, to(new.url)
        assert (await failing(UpstreamError, fetch(client, A_BLOB, 10, 20))).reason == "timeout"
        assert await fetch(client, A_BLOB, 10, 20) == BLOB[10:20]


def slowly(script: Script) -> Script:
    async def answer(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.15)  # below every bound
        return await script(request)

    return answer


@on_loop
async def test_a_host_that_takes_no_connection_at_any_of_its_addresses_is_given_up_once() -> None:
    hosts = [f"127.0.0.{number}" for number in range(1, 4)]
    loop, tried = asyncio.get_running_loop(), list[str]()
    connect = loop.sock_connect

    async def counted(sock: socket.socket, address: Any) -> None:
        tried.append(address[0])
        await connect(sock, address)

    loop.sock_connect = counted  # type: ignore[method-assign]
    with contextlib.ExitStack() as stack:
        port = 0
        for host in hosts:
            full = stack.enter_context(socket.create_server((host, port), backlog=0))
            port = full.getsockname()[1]
            for _ in range(4):  # beyond the backlog, the kernel drops what knocks
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex((host, port))

        def look_up(*_: Any, **__: Any) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in hosts]

        async with upstream(f"http://full.example:{port}", look_up=look_up, connect_s=0.8) as client:
            error = await failing(UpstreamError, client.resolve(TAG))
    assert (error.reason, "no connection in time" in str(error)) == ("unreachable", True)
    assert tried == hosts


# Names ----------------------------------------------------------------------------------------------------------------


def resolver(hung: threading.Event, *hosts: str) -> LookUp:
    """Knows some hosts, and does not come back for any other one before it is told to."""

    def look_up(host: str, *_: Any, **__: Any) -> list[Any]:
        if host not in hosts:
            hung.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    return look_up


@on_loop
async def test_lookups_that_hang_hold_up_no_other_registry() -> None:
    hung, others = threading.Event(), [f"r{number}.example" for number in range(8)]
    async with serving(manifest) as server:
        port = server.url.rpartition(":")[2]
        named = [f"{host}=http://{host}:{port}" for host in others]
        names, look_up = NameSettings(wait_s=20.0), resolver(hung, "known.example")
        async with upstream(
            f"http://known.example:{port}", *named, look_up=look_up, names=names, question_s=20.0, connect_s=20.0
        ) as client:
            asking = [asyncio.create_task(client.resolve(Reference(Repository(host, "a"), "1"))) for host in others]
            try:
                await asyncio.sleep(0)
                assert (await client.resolve(TAG)).digest == Digest.of(MANIFEST)
                assert not any(task.done() for task in asking)
            finally:
                hung.set()
            assert {resolved.digest for resolved in await asyncio.gather(*asking)} == {Digest.of(MANIFEST)}


@pytest.mark.parametrize(("wait_s", "connect_s"), [(0.1, 20.0), (20.0, 0.1)])
@on_loop
async def test_a_name_server_that_does_not_answer_makes_a_registry_unreachable(wait_s: float, connect_s: float) -> None:
    hung, names = threading.Event(), NameSettings(wait_s=wait_s)
    try:
        async with upstream("http://a.example", look_up=resolver(hung), names=names, connect_s=connect_s) as client:
            for _ in range(2):
                error = await failing(UpstreamError, client.resolve(TAG))
                assert error.reason == "unreachable"
                assert ("no name server answered within 0.1 s" in str(error)) == (wait_s < connect_s)
    finally:
        hung.set()


# What belongs to one question alone -----------------------------------------------------------------------------------


@on_loop
async def test_what_a_tag_means_is_not_asked_where_it_led_a_moment_ago() -> None:
    moved = MANIFEST + b"\n"

    async def by_path(request: web.Request) -> web.StreamResponse:
        return web.Response(body=moved if request.path == "/2" else MANIFEST, content_type=OCI_MANIFEST)

    async with serving(by_path, "127.0.0.3") as store:
        get = in_turn(to(f"{store.url}/1"), to(f"{store.url}/2"))
        async with (
            serving(by_method(text(405), get)) as server,
            upstream(server.url, f"store={store.url}") as client,
        ):
            assert (await client.resolve(TAG)).digest == Digest.of(MANIFEST)
            assert (await client.resolve(TAG)).digest == Digest.of(moved)


@on_loop
async def test_a_sign_of_life_needs_no_connection_of_the_requests_that_it_is_about() -> None:
    came, may_answer = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        if request.path == "/v2/":
            return web.Response()
        came.set()
        await may_answer.wait()
        return await manifest(request)

    async with serving(slow) as server, upstream(server.url, connections_max=1) as client:
        asking = asyncio.create_task(client.resolve(TAG))
        await came.wait()
        assert await client.answers("lab")
        may_answer.set()
        assert (await asking).digest == Digest.of(MANIFEST)


@on_loop
async def test_blobs_of_unknown_length_do_not_wait_for_each_others_connections() -> None:
    async def sized(_: web.Request) -> web.StreamResponse:
        return web.Response(body=LARGE)

    async def unsized(request: web.Request) -> web.StreamResponse:
        return await chunked(request, LARGE)

    async with serving(by_method(sized, unsized)) as server, upstream(server.url, connections_max=1) as client:
        got = await asyncio.gather(*(fetch(client, A_LARGE_BLOB) for _ in range(4)))
        assert set(got) == {LARGE}
        assert "HEAD" in methods(server), "it had a connection"
