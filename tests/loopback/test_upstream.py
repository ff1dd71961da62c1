"""The upstream client against registries that answer as told, well and badly, over loopback."""

import asyncio
import contextlib
import gzip
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from mirror.errors import UpstreamError, UpstreamRateLimited, UpstreamRefused, UpstreamUnknown
from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.manifest import MANIFEST_MAX_BYTES, MEDIA_TYPES, OCI_INDEX, OCI_MANIFEST, SCHEMA_1
from mirror.oci.reference import Reference, Repository
from mirror.settings import CredentialSettings
from mirror.sources.upstream.budgets import Budgets
from mirror.sources.upstream.challenge import basic_authorization
from mirror.sources.upstream.credentials import AuthPath
from tests.loopback.registries import (
    A_BLOB,
    A_MANIFEST,
    BLOB,
    BLOB_DIGEST,
    MANIFEST,
    REPOSITORY,
    TAG,
    Script,
    TokenService,
    chunked,
    failing,
    fetch,
    in_turn,
    manifest,
    on_loop,
    ranged,
    raw,
    serving,
    text,
    to,
    token_service,
    unranged,
    upstream,
)  # fmt: skip

# Tags -----------------------------------------------------------------------------------------------------------------


@on_loop
async def test_a_tag_is_resolved_by_head_alone() -> None:
    async with serving(manifest) as server, upstream(server.url) as client:
        resolved = await client.resolve(TAG)
        assert (resolved.digest, resolved.media_type, resolved.size) == (
            Digest.of(MANIFEST),
            OCI_MANIFEST,
            len(MANIFEST),
        )
        (request,) = server.requests
        assert (request.method, request.path) == ("HEAD", "/v2/team/app/manifests/1.0")
        assert request.headers["Accept"].split(", ") == [*MEDIA_TYPES, "*/*"]
        assert request.headers["Accept-Encoding"] == "identity"
        assert request.headers["User-Agent"].startswith("skvaller/")
        assert not [name for name in request.headers if name.lower().startswith("skvaller-")]


@pytest.mark.parametrize(
    "head",
    [
        text(405),
        text(200, "no digest", Content_Type=OCI_INDEX),
        text(200, "no sha256", Content_Type=OCI_INDEX, Docker_Content_Digest="sha512:00"),
        text(200, "no type", Docker_Content_Digest=str(BLOB_DIGEST)),
    ],
)
@on_loop
async def test_a_registry_that_does_not_answer_head_in_full_is_asked_by_get(head: Script) -> None:
    async def get(_: web.Request) -> web.StreamResponse:
        return web.Response(body=MANIFEST, content_type="application/json", headers={"Docker-Content-Digest": "junk"})

    async with serving(in_turn(head, get)) as server, upstream(server.url) as client:
        resolved = await client.resolve(TAG)
        assert (resolved.digest, resolved.media_type) == (Digest.of(MANIFEST), OCI_MANIFEST)
        assert [request.method for request in server.requests] == ["HEAD", "GET"]


@pytest.mark.parametrize(
    "script",
    [
        text(200, "<html>Please log in</html>", Content_Type="text/html; charset=utf-8"),
        text(200, "<html>Please log in</html>"),
        text(200, '{"schemaVersion": 2}', Content_Type="application/json"),
        text(200, ""),
    ],
)
@on_loop
async def test_what_is_no_manifest_does_not_resolve(script: Script) -> None:
    async with serving(script) as server, upstream(server.url) as client:
        assert (await failing(UpstreamError, client.resolve(TAG))).reason == "broken"


@pytest.mark.parametrize(
    "script",
    [
        text(200, '{"schemaVersion": 1}', Content_Type="application/json"),
        text(200, "{}", Content_Type=SCHEMA_1[0]),
        text(200, "{}", Content_Type=SCHEMA_1[1], Docker_Content_Digest=str(BLOB_DIGEST)),
        text(200, " " * (MANIFEST_MAX_BYTES + 1)),
        text(406),
        text(410),
        text(451),
    ],
)
@on_loop
async def test_what_is_never_passed_on_is_unknown_and_not_a_failure_that_may_pass(script: Script) -> None:
    async with serving(script) as server, upstream(server.url) as client:
        await failing(UpstreamUnknown, client.resolve(TAG))


@on_loop
async def test_a_tag_of_a_type_that_nobody_has_heard_of_is_resolved_by_head() -> None:
    odd = "application/vnd.example.thing.v1+json"
    async with (
        serving(text(200, "{}", Content_Type=odd, Docker_Content_Digest=str(BLOB_DIGEST))) as server,
        upstream(server.url) as client,
    ):
        resolved = await client.resolve(TAG)
        assert (resolved.digest, resolved.media_type) == (BLOB_DIGEST, odd)
        assert [request.method for request in server.requests] == ["HEAD"]


@on_loop
async def test_a_log_in_page_is_called_what_it_is() -> None:
    async with serving(text(200, "<html>", Content_Type="text/html")) as server, upstream(server.url) as client:
        for attempt in (client.resolve(TAG), fetch(client, A_MANIFEST)):
            error = await failing(UpstreamError, attempt)
            assert (error.reason, "HTML page" in str(error)) == ("broken", True)


@on_loop
async def test_cookies_are_not_kept() -> None:
    async with serving(text(404, Set_Cookie="a=b")) as server, upstream(server.url) as client:
        await failing(UpstreamUnknown, client.resolve(TAG))
        await failing(UpstreamUnknown, client.resolve(TAG))
        assert len(server.requests) >= 2
        assert {request.headers.get("Cookie") for request in server.requests} == {None}


@on_loop
async def test_the_environments_proxy_and_netrc_are_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password hunter2\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with serving(manifest) as server, upstream(server.url) as client:
        await client.resolve(TAG)
        assert "Authorization" not in server.requests[0].headers


# Content, ranges ------------------------------------------------------------------------------------------------------


@on_loop
async def test_all_is_asked_for_without_a_range() -> None:
    async with serving(ranged) as server, upstream(server.url) as client:
        assert await fetch(client, A_BLOB) == BLOB
        assert server.paths() == [f"/v2/team/app/blobs/{BLOB_DIGEST}"]
        assert "Range" not in server.requests[0].headers


@pytest.mark.parametrize("script", [ranged, unranged])
@pytest.mark.parametrize(
    ("start", "stop", "header"),
    [
        (0, 1, "bytes=0-0"),
        (0, 10**9, "bytes=0-999999999"),
        (1000, 5000, "bytes=1000-4999"),
        (700_001, 700_002, "bytes=700001-700001"),
        (300_000, None, "bytes=300000-"),
        (len(BLOB) - 1, None, f"bytes={len(BLOB) - 1}-"),
    ],
)
@on_loop
async def test_a_registry_that_knows_no_ranges_sends_all_there_is_from_the_first_byte_asked_for_on(
    script: Script, start: int, stop: int | None, header: str
) -> None:
    async with serving(script) as server, upstream(server.url) as client:
        async with client.open(A_BLOB, start, stop) as reply:
            end = min(stop or len(BLOB), len(BLOB)) if script is ranged else len(BLOB)
            assert (reply.stop, reply.size, reply.ranged) == (end, len(BLOB), script is ranged)
            assert b"".join([chunk async for chunk in reply.chunks]) == BLOB[start:end]
        assert server.requests[0].headers["Range"] == header


@on_loop
async def test_bytes_come_as_they_are_whatever_encoding_they_are_said_to_have() -> None:
    layer = gzip.compress(b"layer")

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=layer, headers={"Content-Encoding": "gzip"})

    async with serving(answer) as server, upstream(server.url) as client:
        assert await fetch(client, A_BLOB) == layer


@on_loop
async def test_empty_content_is_content() -> None:
    empty = Content(REPOSITORY, "blobs", Digest.of(b""))
    script = in_turn(text(200), text(416, "no", Content_Range="bytes */0"), text(200))
    async with serving(script) as server, upstream(server.url) as client:
        assert await fetch(client, empty) == b""
        assert await fetch(client, empty, 0, 1024) == b""
        assert await fetch(client, empty, 0, 1024) == b""


def part(content_range: str | None, body: bytes = b"x" * 100) -> Script:
    async def answer(_: web.Request) -> web.StreamResponse:
        headers = {"Content-Range": content_range} if content_range is not None else {}
        return web.Response(status=206, body=body, headers=headers)

    return answer


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (part(None), "range"),
        (part("bytes 0-99/1000"), "range"),
        (part("bytes 0-199/1000", b"x" * 200), "range"),
        (part("bytes 101-200/1000"), "range"),
        (part("bytes 100-198/1000", b"x" * 99), "range"),
        (part("bytes 100-200/1000", b"x" * 101), "range"),
        (part("bytes 100-199/*"), "range"),
        (part("bytes 199-100/1000"), "range"),
        (part("items 100-199/1000"), "range"),
        (part("bytes 100-199/150"), "range"),
        (part("bytes 100-199/1000", b"x" * 50), "length"),
        (text(416, "", Content_Range="bytes */10"), "range"),
        (text(416), "range"),
        (text(200, "x" * 100), "range"),
        (text(203, "x" * 1000), "status"),
    ],
)
@on_loop
async def test_a_wrong_range_is_refused(script: Script, reason: str) -> None:
    async with serving(script) as server, upstream(server.url) as client:
        assert (await failing(UpstreamError, fetch(client, A_BLOB, 100, 200))).reason == reason


@on_loop
async def test_the_size_is_asked_by_a_byte() -> None:
    async with serving(ranged) as server, upstream(server.url) as client:
        assert await client.size(A_BLOB) == len(BLOB)
        assert [(request.method, request.headers["Range"]) for request in server.requests] == [("GET", "bytes=0-0")]


@on_loop
async def test_a_delivery_left_early_drops_its_connection() -> None:
    dropped = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(2**40)})
        await response.prepare(request)
        try:
            while True:
                await response.write(BLOB)
        except (ConnectionError, asyncio.CancelledError):
            dropped.set()
            raise

    async with serving(endless) as server, upstream(server.url) as client:
        async with client.open(A_BLOB, 0, None) as reply:
            async for _ in reply.chunks:
                break
        await dropped.wait()
        server.script = ranged
        assert await fetch(client, A_BLOB) == BLOB


@on_loop
async def test_what_came_before_a_connection_broke_is_read_however_late() -> None:
    head = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-999/1000\r\nContent-Length: 1000\r\n\r\n"
    async with (
        raw(head + b"ten bytes.") as server,
        upstream(server) as client,
        client.open(A_BLOB, 0, 1000) as reply,
    ):
        for _ in range(100):  # turns in which the client hears of the end
            await asyncio.sleep(0)
        chunks = aiter(reply.chunks)
        assert await anext(chunks) == b"ten bytes."
        await failing(UpstreamError, anext(chunks))


@on_loop
async def test_a_pooled_connection_that_upstream_closed_is_not_noticed() -> None:
    answers = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answers
        await reader.readuntil(b"\r\n\r\n")
        answers += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")  # takes a second request, as a server does that is just closing
        writer.close()

    server = await asyncio.start_server(once, "127.0.0.1", 0)
    async with server, upstream(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as client:
        assert await fetch(client, A_BLOB) == b"abc"
        assert await fetch(client, A_BLOB) == b"abc"
    assert answers == 2


# Lengths, bad bodies --------------------------------------------------------------------------------------------------


@on_loop
async def test_a_manifest_may_come_without_a_length() -> None:
    script = in_turn(lambda request: chunked(request, MANIFEST[:10], MANIFEST[10:]))
    async with serving(script) as server, upstream(server.url) as client:
        assert await fetch(client, A_MANIFEST) == MANIFEST
        assert await fetch(client, A_MANIFEST, 5, 20) == MANIFEST[5:]


@on_loop
async def test_an_endless_manifest_is_given_up() -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        if request.method == "HEAD":
            return web.Response(status=405)
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        while True:
            await response.write(b" " * 65536)
            sent += 65536

    async with serving(endless) as server, upstream(server.url) as client:
        assert (await failing(UpstreamUnknown, fetch(client, A_MANIFEST))).reason == "unknown"
        assert (await failing(UpstreamUnknown, client.resolve(TAG))).reason == "unknown"
    assert sent < 8 * MANIFEST_MAX_BYTES


@on_loop
async def test_a_manifest_that_is_announced_too_large_is_refused() -> None:
    async with raw(b"HTTP/1.1 200 OK\r\nContent-Length: 4194305\r\n\r\n{") as url, upstream(url) as client:
        assert (await failing(UpstreamUnknown, fetch(client, A_MANIFEST))).reason == "unknown"


@on_loop
async def test_a_part_without_content_length_must_still_have_its_bytes() -> None:
    bodies = [b"x" * 100, b"x" * 99, b"x" * 101]
    scripts = [
        lambda request, body=body: chunked(request, body, status=206, Content_Range="bytes 100-199/1000")
        for body in bodies
    ]
    async with serving(in_turn(*scripts)) as server, upstream(server.url) as client:
        assert await fetch(client, A_BLOB, 100, 200) == b"x" * 100
        short = await failing(UpstreamError, fetch(client, A_BLOB, 100, 200))
        assert (short.reason, "1 bytes short" in str(short)) == ("broken", True)
        assert (await failing(UpstreamError, fetch(client, A_BLOB, 100, 200))).reason == "broken"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 206 OK\r\nContent-Range: bytes 0-99/100\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 206 OK\r\nContent-Range: bytes 0-99/100\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 10_000 + b"\r\n",
        b"\xff" * 1000,
    ],
)
@on_loop
async def test_a_broken_answer_is_a_clear_error(answer: bytes) -> None:
    async with raw(answer) as url, upstream(url) as client:
        assert (await failing(UpstreamError, fetch(client, A_BLOB))).reason == "broken"


@on_loop
async def test_a_body_that_turns_to_junk_while_it_is_waited_for_ends() -> None:
    begun = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(
            b"HTTP/1.1 206 OK\r\nContent-Range: bytes 0-99/100\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
        )
        await begun.wait()
        writer.write(b"no length of a chunk\r\n")
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, upstream(url, stall_s=0.2) as client, client.open(A_BLOB, 0, None) as reply:
        assert await anext(reply.chunks) == b"a"
        asyncio.get_running_loop().call_soon(begun.set)
        # aiohttp's parser in C drops the connection and forgets to tell who waits: the stall limit is what ends it.
        assert (await failing(UpstreamError, anext(reply.chunks))).reason in ("broken", "stalled")


# Time -----------------------------------------------------------------------------------------------------------------


@on_loop
async def test_silence_before_the_head_and_within_the_body() -> None:
    async with raw(b"HTTP/1.1 200", then=asyncio.Event()) as url, upstream(url, head_s=0.05) as client:
        assert (await failing(UpstreamError, fetch(client, A_BLOB))).reason == "timeout"
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegin"
    async with raw(head, then=asyncio.Event()) as url, upstream(url, stall_s=0.05) as client:
        assert (await failing(UpstreamError, fetch(client, A_BLOB))).reason == "stalled"


@on_loop
async def test_a_manifest_that_only_drips_is_given_up() -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.01)

    async with serving(drip) as server, upstream(server.url, whole_s=0.1, stall_s=5) as client:
        assert (await failing(UpstreamError, fetch(client, A_MANIFEST))).reason == "timeout"


@on_loop
async def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    async with upstream(f"http://127.0.0.1:{port}", "nowhere.invalid=https://nowhere.invalid") as client:
        assert (await failing(UpstreamError, client.resolve(TAG))).reason == "unreachable"
        nowhere = Reference(Repository("nowhere.invalid", "a"), "1")
        assert (await failing(UpstreamError, client.resolve(nowhere))).reason == "unreachable"


@on_loop
async def test_a_connection_that_is_not_accepted() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        fillers = [socket.socket() for _ in range(4)]  # beyond the backlog, the kernel drops what knocks
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        try:
            async with upstream(f"http://127.0.0.1:{address[1]}", connect_s=0.2) as client:
                assert (await failing(UpstreamError, client.resolve(TAG))).reason == "unreachable"
        finally:
            for filler in fillers:
                filler.close()


@on_loop
async def test_tls_to_what_speaks_none() -> None:
    async with raw(b"HTTP/1.1 400 Bad Request\r\n\r\n") as url, upstream(url.replace("http", "https")) as client:
        assert (await failing(UpstreamError, client.resolve(TAG))).reason == "unreachable"


# Statuses -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "failure", "reason"),
    [
        (400, UpstreamError, "status"),
        (403, UpstreamUnknown, "unknown"),
        (404, UpstreamUnknown, "unknown"),
        (410, UpstreamUnknown, "unknown"),
        (500, UpstreamError, "status"),
        (503, UpstreamError, "status"),
        (204, UpstreamError, "status"),
        (304, UpstreamError, "status"),
    ],
)
@on_loop
async def test_what_a_status_means(status: int, failure: type[UpstreamError], reason: str) -> None:
    async with serving(text(status)) as server, upstream(server.url) as client:
        for attempt in (client.resolve(TAG), client.size(A_BLOB), fetch(client, A_BLOB), fetch(client, A_MANIFEST)):
            error = await failing(failure, attempt)
            assert (type(error), error.reason) == (failure, reason)
            assert str(status) in str(error)


@on_loop
async def test_a_rate_limited_registry_is_left_alone_and_others_are_not() -> None:
    limit = text(429, "toomanyrequests", Retry_After="100")
    async with (
        serving(limit) as limited,
        serving(manifest) as free,
        upstream(limited.url, f"free={free.url}") as client,
    ):
        first = await failing(UpstreamRateLimited, client.resolve(TAG))
        assert isinstance(first, UpstreamRateLimited)
        assert first.retry_after_s == 100
        second = await failing(UpstreamRateLimited, fetch(client, A_BLOB))
        assert isinstance(second, UpstreamRateLimited)
        assert 0 < second.retry_after_s <= 100
        assert len(limited.requests) == 1
        await client.resolve(Reference(Repository("free", "a"), "1"))


def auth_file(folder: Path, auths: dict[str, Any]) -> AuthPath:
    """A file of credentials, in place of the one before."""
    new = folder / "new.json"
    new.touch(0o600)
    new.write_text(json.dumps({"auths": auths}))
    return AuthPath(new.rename(folder / "auth.json"))


@on_loop
async def test_nobody_asks_a_registry_that_told_a_member_429_and_what_is_left_is_known_to_all() -> None:
    said: list[bytes] = []
    here, there = Budgets(tell=said.append), Budgets()
    limits = {"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "98;w=21600"}
    async with (
        serving(in_turn(text(200, **{name.replace("-", "_"): value for name, value in limits.items()}))) as server,
        upstream(server.url, budgets=here) as one,
        upstream(server.url, budgets=there) as other,
    ):
        await failing(UpstreamError, one.resolve(TAG))
        server.script = text(429, Retry_After="60")
        await failing(UpstreamRateLimited, one.resolve(TAG))
        now = asyncio.get_running_loop().time()
        for note in said:
            there.heard(note, now)
        server.requests.clear()
        error = await failing(UpstreamRateLimited, other.resolve(TAG))
        assert "not asked for another" in str(error)
        assert server.requests == []
        assert [(note.remaining, note.limit) for note in there.shown(now)] == [(0, 100)]


@on_loop
async def test_what_is_told_to_people_of_an_answer_can_be_written_whatever_bytes_it_has() -> None:
    answer = b"HTTP/1.1 404 No\r\nRateLimit-Remaining: \xff\xfe\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    async with raw(answer) as url, upstream(url) as client:
        await failing(UpstreamUnknown, client.resolve(TAG))
        (told, *_) = client.said_of(TAG.tag, str(TAG.repository))
        assert told.remaining is not None
        assert set(told.remaining.encode().decode()) == {"?"}


# Tokens ---------------------------------------------------------------------------------------------------------------


@on_loop
async def test_a_token_is_fetched_once_and_used_again() -> None:
    async with (
        token_service() as service,
        serving(service.guarding(ranged)) as server,
        upstream(server.url, f"tokens={service.url}") as client,
    ):
        assert await fetch(client, A_BLOB) == BLOB
        assert await fetch(client, A_BLOB, 10, 20) == BLOB[10:20]
        assert len(server.requests) == 3
        (asked,) = service.requests
        assert dict(asked.query) == {"service": "lab", "scope": "repository:team/app:pull"}
        assert "Authorization" not in asked.headers
        assert server.requests[1].headers["Authorization"] == "Bearer token-0"


@on_loop
async def test_many_who_need_a_token_make_one_request_for_it() -> None:
    async with (
        token_service() as service,
        serving(service.guarding(ranged)) as server,
        upstream(server.url, f"tokens={service.url}") as client,
    ):
        parts = await asyncio.gather(*(fetch(client, A_BLOB, i * 10, i * 10 + 10) for i in range(20)))
        assert b"".join(parts) == BLOB[:200]
        assert len(service.requests) == 1


@on_loop
async def test_a_token_that_is_no_longer_accepted_is_replaced() -> None:
    async with (
        token_service() as service,
        serving(service.guarding(ranged)) as server,
        upstream(server.url, f"tokens={service.url}") as client,
    ):
        await fetch(client, A_BLOB)
        service.revoked.add("token-0")
        assert await fetch(client, A_BLOB) == BLOB
        assert service.issued == ["token-0", "token-1"]


@on_loop
async def test_credentials_go_to_the_token_service_and_tokens_to_the_registry() -> None:
    async with (
        token_service() as service,
        serving(service.guarding(ranged)) as server,
        upstream(server.url.replace("//", "//user:p%40ss@"), f"tokens={service.url}") as client,
    ):
        await fetch(client, A_BLOB)
        assert service.requests[0].headers["Authorization"] == "Basic dXNlcjpwQHNz"
        assert [request.headers.get("Authorization") for request in server.requests] == [None, "Bearer token-0"]


@on_loop
async def test_an_identity_token_is_posted_to_the_token_service_and_to_nobody_to_whom_that_sends_on(
    tmp_path: Path,
) -> None:
    posted: list[dict[str, Any]] = []

    async def exchange(request: web.Request) -> web.StreamResponse:
        posted.append({"method": request.method, **await request.post()})
        return web.json_response({"access_token": "token-0"})

    async with serving(exchange, "127.0.0.2") as service:
        accepted = TokenService()
        accepted.url, accepted.issued = service.url, ["token-0"]
        async with serving(accepted.guarding(ranged)) as server:
            host = server.url.removeprefix("http://")
            auth = auth_file(tmp_path, {host: {"identitytoken": "secret"}})
            async with upstream(server.url, f"tokens={service.url}", auth=auth) as client:
                assert await fetch(client, A_BLOB) == BLOB
            (asked,) = posted
            assert (asked["method"], asked["refresh_token"]) == ("POST", "secret")
            assert asked["scope"] == "repository:team/app:pull"
            assert not service.requests[0].query
            service.script = text(307, Location=f"{server.url}/token")
            server.requests.clear()
            async with upstream(server.url, f"tokens={service.url}", auth=auth) as client:
                await failing(UpstreamError, fetch(client, A_BLOB))
            assert {request.method for request in server.requests} == {"GET"}


@on_loop
async def test_a_password_that_was_changed_in_the_file_is_used_without_a_restart(tmp_path: Path) -> None:
    good = "old"

    async def guarded(request: web.Request) -> web.StreamResponse:
        expected = basic_authorization("user", good)
        if request.headers.get("Authorization") != expected:
            return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})
        return await ranged(request)

    async with serving(guarded) as server:
        host = server.url.removeprefix("http://")
        auth = auth_file(tmp_path, {host: {"username": "user", "password": "old"}})
        looking = CredentialSettings(look_s=0)
        async with upstream(server.url, auth=auth, credentials=looking) as client:
            assert await fetch(client, A_BLOB, 0, 10) == BLOB[:10]
            good = "new"
            error = await failing(UpstreamError, fetch(client, A_BLOB, 0, 10))
            assert "does not accept the password of user 'user'" in str(error)
            auth_file(tmp_path, {host: {"username": "user", "password": "new"}})
            assert await fetch(client, A_BLOB, 0, 10) == BLOB[:10]


@on_loop
async def test_what_is_refused_even_with_a_token_does_not_exist_for_us() -> None:
    async with token_service() as service:
        refused = text(401, WWW_Authenticate=f'Bearer realm="{service.url}/token",error="insufficient_scope"')
        async with serving(refused) as server, upstream(server.url, f"tokens={service.url}") as client:
            await failing(UpstreamUnknown, client.resolve(TAG))
            assert (len(server.requests), len(service.requests)) == (2, 1)
            server.script = service.guarding(text(403))
            await failing(UpstreamUnknown, fetch(client, A_BLOB))


@pytest.mark.parametrize(
    ("answer", "failure", "reason"),
    [
        (text(500), UpstreamError, "status"),
        (text(404), UpstreamError, "status"),
        (text(403), UpstreamUnknown, "unknown"),
        (text(429), UpstreamRateLimited, "rate-limited"),
        (text(200, "<html>", Content_Type="text/html"), UpstreamError, "auth"),
        (text(200, "{}"), UpstreamError, "auth"),
        (text(200, '{"token": "' + "x" * 70_000 + '"}'), UpstreamError, "length"),
        (text(302, Location="/token"), UpstreamError, "broken"),
    ],
)
@on_loop
async def test_a_token_service_that_gives_none(answer: Script, failure: type[UpstreamError], reason: str) -> None:
    async with serving(answer, "127.0.0.2") as service:
        wanted = text(401, WWW_Authenticate=f'Bearer realm="{service.url}/token"')
        async with serving(wanted) as server, upstream(server.url, f"tokens={service.url}") as client:
            error = await failing(failure, client.resolve(TAG))
            assert (type(error), error.reason) == (failure, reason)


@on_loop
async def test_a_token_service_that_does_not_know_the_password() -> None:
    async with serving(text(401), "127.0.0.2") as service:
        wanted = text(401, WWW_Authenticate=f'Bearer realm="{service.url}/token"')
        configured = "http://user:hunter2@"
        async with (
            serving(wanted) as server,
            upstream(server.url.replace("http://", configured), f"tokens={service.url}") as client,
        ):
            error = await failing(UpstreamError, client.resolve(TAG))
            assert error.reason == "auth"
            assert "'user'" in str(error)
            assert "hunter2" not in str(error)


# Basic ----------------------------------------------------------------------------------------------------------------


async def behind_password(request: web.Request) -> web.StreamResponse:
    if request.headers.get("Authorization") == "Basic dXNlcjpodW50ZXIy":
        return await manifest(request)
    return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="lab"'})


@on_loop
async def test_a_password_is_sent_once_it_is_asked_for() -> None:
    async with (
        serving(behind_password) as server,
        upstream(server.url.replace("//", "//user:hunter2@")) as client,
    ):
        await client.resolve(TAG)
        await client.resolve(TAG)
        sent = [request.headers.get("Authorization") for request in server.requests]
        assert sent == [None, "Basic dXNlcjpodW50ZXIy", "Basic dXNlcjpodW50ZXIy"]


@pytest.mark.parametrize("userinfo", ["", "user:wrong@"])
@on_loop
async def test_no_password_or_a_wrong_one(userinfo: str) -> None:
    async with serving(behind_password) as server, upstream(server.url.replace("//", f"//{userinfo}")) as client:
        for _ in range(2):
            error = await failing(UpstreamError, client.resolve(TAG))
            assert (type(error), error.reason) == (UpstreamError, "auth")
            assert "wrong" not in str(error)


@pytest.mark.parametrize("challenge", [None, "", "Negotiate", "<html>", "Bearer", 'Bearer realm="file:///etc/passwd"'])
@on_loop
async def test_401_without_a_challenge_that_can_be_met(challenge: str | None) -> None:
    headers = {} if challenge is None else {"WWW_Authenticate": challenge}
    async with serving(text(401, **headers)) as server, upstream(server.url) as client:
        error = await failing(UpstreamError, client.resolve(TAG))
        assert (type(error), error.reason) == (UpstreamError, "auth")
        assert len(server.requests) == 1


# Redirects ------------------------------------------------------------------------------------------------------------


@on_loop
async def test_no_credential_follows_a_redirect_to_another_host_port_or_scheme() -> None:
    async with (
        token_service() as service,
        serving(ranged, "127.0.0.3") as cdn,
        serving(ranged) as other_port,
        serving(text(500)) as server,
    ):
        for target in (cdn, other_port):
            server.script = service.guarding(to(f"{target.url}/blob?signature=a%2Fb%7Ec"))
            named = f"tokens={service.url}", f"cdn={cdn.url}", f"other={other_port.url}"
            async with upstream(server.url, *named) as client:
                assert await fetch(client, A_BLOB, 10, 20) == BLOB[10:20]
            (asked,) = target.requests
            assert "Authorization" not in asked.headers
            assert asked.headers["Range"] == "bytes=10-19"
            assert asked.raw_path == "/blob?signature=a%2Fb%7Ec"


@on_loop
async def test_further_ranges_are_asked_where_the_registry_sent_us_until_that_is_good_no_longer() -> None:
    async with (
        serving(ranged, "127.0.0.3") as cdn,
        serving(ranged, "127.0.0.4") as other,
        serving(text(500)) as server,
        upstream(server.url, f"cdn={cdn.url}", f"other={other.url}") as client,
    ):
        server.script = to(f"{cdn.url}/signed")
        for start in (0, 10, 20):
            assert await fetch(client, A_BLOB, start, start + 10) == BLOB[start : start + 10]
        assert (len(server.requests), len(cdn.requests)) == (1, 3)

        cdn.script = text(403)
        server.script = to(f"{other.url}/signed")
        assert await fetch(client, A_BLOB, 30, 40) == BLOB[30:40]
        assert (len(server.requests), len(cdn.requests), len(other.requests)) == (2, 4, 1)


@on_loop
async def test_credentials_do_not_come_back_after_a_detour() -> None:
    async with token_service() as service, serving(text(500), "127.0.0.3") as cdn, serving(text(500)) as server:
        cdn.script = to(f"{server.url}/back")

        async def script(request: web.Request) -> web.StreamResponse:
            return await (ranged if request.path == "/back" else service.guarding(to(cdn.url)))(request)

        server.script = script
        async with upstream(server.url, f"tokens={service.url}", f"cdn={cdn.url}") as client:
            assert await fetch(client, A_BLOB) == BLOB
        assert server.requests[-1].path == "/back"
        assert "Authorization" not in server.requests[-1].headers


@on_loop
async def test_a_token_stays_on_a_redirect_within_the_registry() -> None:
    async with token_service() as service, serving(text(500)) as server:

        async def moved(request: web.Request) -> web.StreamResponse:
            return await (manifest if "library" in request.path else to("/v2/library/manifests/1", 301))(request)

        server.script = service.guarding(moved)
        async with upstream(server.url, f"tokens={service.url}") as client:
            assert (await client.resolve(TAG)).digest == Digest.of(MANIFEST)
            assert server.requests[-1].method == "HEAD"


@on_loop
async def test_what_registries_answered_is_remembered_for_people_and_no_secret_with_it() -> None:
    async with serving(ranged, "127.0.0.3") as cdn, serving(text(500)) as server:
        server.script = in_turn(to(f"{cdn.url}/blob?signature=secret"), text(404))
        async with upstream(server.url, f"cdn={cdn.url}") as client:
            assert client.said_of(str(BLOB_DIGEST)) == []
            await fetch(client, A_BLOB)
            (told,) = client.said_of(str(BLOB_DIGEST))
            assert (told.method, told.name, told.status, told.failure) == ("GET", str(REPOSITORY), 200, None)
            assert (told.url, told.redirected) == (server.url, "127.0.0.3")
            assert "secret" not in repr(told)
            await failing(UpstreamUnknown, client.size(A_MANIFEST))
            assert [it.status for it in client.said_of(str(A_MANIFEST.digest))] == [404]
    async with upstream("http://127.0.0.1:1") as client:
        await failing(UpstreamError, client.resolve(TAG))
        (told,) = client.said_of(TAG.tag, str(REPOSITORY))
        assert told.status is None
        assert "127.0.0.1:1" in str(told.failure)
        assert client.said_of(TAG.tag, "docker.io/library/other") == []


@on_loop
async def test_userinfo_in_a_redirect_is_not_sent() -> None:
    async with serving(ranged) as cdn, serving(to(cdn.url.replace("//", "//user:hunter2@"))) as server:
        async with upstream(server.url, f"cdn={cdn.url}") as client:
            await fetch(client, A_BLOB)
        assert "Authorization" not in cdn.requests[0].headers


@pytest.mark.parametrize("status", [401, 403])
@on_loop
async def test_a_blob_store_that_refuses_a_signed_url_says_nothing_of_the_blob_and_gets_no_password(
    status: int,
) -> None:
    refusing = text(status, WWW_Authenticate='Basic realm="give it to me"')
    async with serving(refusing, "127.0.0.3") as cdn, serving(to(cdn.url)) as server:
        configured = server.url.replace("//", "//user:hunter2@")
        async with upstream(configured, f"cdn={cdn.url}") as client:
            error = await failing(UpstreamError, fetch(client, A_BLOB))
            assert (type(error), error.reason) == (UpstreamError, "status")
            assert len(cdn.requests) == 1


@pytest.mark.parametrize(
    "location",
    ["/v2/again", "", "ftp://127.0.0.1/x", "http://" + "a" * 64 + ".example/x", "http://127.0.0.1:notaport/"],
)
@on_loop
async def test_a_redirect_that_leads_nowhere(location: str) -> None:
    async with serving(to(location)) as server, upstream(server.url) as client:
        assert (await failing(UpstreamError, fetch(client, A_BLOB))).reason == "broken"
        assert len(server.requests) <= 6


# Addresses ------------------------------------------------------------------------------------------------------------


@on_loop
async def test_a_registry_that_nobody_named_is_not_asked() -> None:
    async with upstream() as client:
        for name in ("evil.example", "127.0.0.1:22", "localhost:5000"):
            reference = Reference(Repository.parse("a", ns=name), "1")
            error = await failing(UpstreamRefused, client.resolve(reference))
            assert f"--upstream {name}=" in str(error)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "127.0.0.2", "0.0.0.0"])
@on_loop
async def test_a_redirect_to_an_address_that_nobody_named_makes_no_connection(host: str) -> None:
    async with serving(text(200, "secret"), "127.0.0.1" if "2" not in host[-1] else "127.0.0.2") as inner:
        target = f"http://{host}:{inner.url.rpartition(':')[2]}"
        async with serving(to(target)) as server, upstream(server.url) as client:
            error = await failing(UpstreamRefused, fetch(client, A_BLOB))
            assert server.url in str(error)
            assert host in str(error)
        assert inner.requests == []


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("http://169.254.169.254/latest/meta-data/", "169.254.169.254:80: not a public address"),
        ("http://10.0.0.1/", "10.0.0.1:80: not a public address"),
        ("http://[fd00:ec2::254]/", "[fd00:ec2::254]:80: not a public address"),
        ("http://[fe80::1%25eth0]/", "[fe80::1%25eth0]:80: not a public address"),
        ("http://[64:ff9b::a00:1]/", "[64:ff9b::a00:1]:80: not a public address"),
        ("http://[::ffff:127.0.0.1]/", "[::ffff:127.0.0.1]:80: not a public address"),
        ("http://[0:0:0:0:0:ffff:7f00:1]/", "[0:0:0:0:0:ffff:7f00:1]:80: not a public address"),
        ("http://[::127.0.0.1]/", "[::127.0.0.1]:80: not a public address"),
        ("http://0x7f000001/", "'0x7f000001': neither a host name nor an address"),
        ("http://0x7f.1/", "'0x7f.1': neither a host name nor an address"),
        ("http://0177.0.0.1/", "'0177.0.0.1': neither a host name nor an address"),
        ("http://2130706433/", "'2130706433': neither a host name nor an address"),
        ("http://127.1/", "'127.1': neither a host name nor an address"),
        ("http://127.0.0.1./", "'127.0.0.1.': neither a host name nor an address"),
        ("http://user@127.1/", "'127.1': neither a host name nor an address"),
        ("http://%31%32%37.0.0.1/", "'%31%32%37.0.0.1': neither a host name nor an address"),
    ],
)
@on_loop
async def test_redirects_into_networks_are_refused_however_they_are_spelt(target: str, complaint: str) -> None:
    async with serving(to(target)) as server, upstream(server.url) as client:
        assert complaint in str(await failing(UpstreamError, fetch(client, A_BLOB)))


@on_loop
async def test_a_token_realm_on_an_address_that_nobody_named_is_refused() -> None:
    async with token_service() as service, serving(service.guarding(manifest)) as server:
        async with upstream(server.url.replace("//", "//user:hunter2@")) as client:
            error = await failing(UpstreamRefused, client.resolve(TAG))
            assert service.url.removeprefix("http://") in str(error)
            assert "lab" in str(error)
        assert service.requests == []


@on_loop
async def test_a_built_in_registry_may_not_be_at_a_private_address() -> None:
    def inside(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    async with upstream(look_up=inside) as client:  # what a forged answer of a name server would do
        error = await failing(UpstreamRefused, client.resolve(Reference.parse("ghcr.io/a/b:1")))
        assert "ghcr.io:443, which has the address 127.0.0.1" in str(error)
