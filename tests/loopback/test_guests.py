"""What registries show to others than this node: to anybody, and to clients with credentials of their own."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from mirror.errors import UpstreamError, UpstreamRateLimited
from mirror.oci.reference import Repository
from mirror.sources import Shown
from mirror.sources.upstream import Upstream
from tests.loopback.registries import (
    A_BLOB,
    REPOSITORY,
    Script,
    Server,
    failing,
    fetch,
    manifest,
    on_loop,
    ranged,
    serving,
    text,
    to,
    upstream,
)

TAG, BLOB = "manifests/1.0", A_BLOB.path.removeprefix("team/app/")


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


ALICE, MALLORY = basic("alice", "right"), basic("alice", "wrong")
OURS = basic("operator", "own")


def behind_basic(behind: Script, *accepted: str) -> Script:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") in accepted:
            return await behind(request)
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="lab"'})

    return answer


class Tokens:
    """A token service that gives anybody a token, which opens what is public, and who says who he is one of his own."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[str | None] = []

    async def issue(self, request: web.Request) -> web.StreamResponse:
        given = request.headers.get("Authorization")
        self.asked.append(given)
        if given not in (None, ALICE, OURS):
            return web.json_response({"errors": []}, status=401)
        return web.json_response({"token": "anybody" if given is None else "known"})

    def guarding(self, behind: Script, *accepted: str) -> Script:
        async def answer(request: web.Request) -> web.StreamResponse:
            token = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if token in accepted:
                return await behind(request)
            challenge = f'Bearer realm="{self.url}/token",service="lab",scope="repository:team/app:pull"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})

        return answer


@asynccontextmanager
async def with_tokens(behind: Script, *accepted: str) -> AsyncIterator[tuple[Upstream, Tokens, Server]]:
    """A registry with a token service, asked by a node that has a password of its own."""
    tokens = Tokens()
    async with (
        serving(tokens.issue, "127.0.0.2") as service,
        serving(tokens.guarding(behind, *accepted)) as registry,
        upstream(registry.url.replace("//", "//operator:own@"), trust=["127.0.0.2"]) as client,
    ):
        tokens.url = service.url
        yield client, tokens, registry


@on_loop
async def test_an_open_repository_is_shown_to_anybody() -> None:
    async with serving(manifest) as registry, upstream(registry.url) as client:
        assert await client.shows(REPOSITORY, TAG, None) is Shown.YES


@pytest.mark.parametrize(("who", "shown"), [(None, Shown.REFUSED), (ALICE, Shown.YES), (MALLORY, Shown.REFUSED)])
def test_a_password_opens_what_the_registry_lets_it(who: str | None, shown: Shown) -> None:
    @on_loop
    async def test() -> None:
        async with (
            serving(behind_basic(manifest, ALICE, OURS)) as registry,
            upstream(registry.url.replace("//", "//operator:own@")) as client,
        ):
            assert await client.shows(REPOSITORY, TAG, who) is shown
            assert OURS not in [request.headers.get("Authorization") for request in registry.requests]

    test()


@pytest.mark.parametrize(("who", "shown"), [(None, Shown.REFUSED), (ALICE, Shown.YES), (MALLORY, Shown.REFUSED)])
def test_a_password_is_shown_to_the_token_service_and_never_this_nodes(who: str | None, shown: Shown) -> None:
    @on_loop
    async def test() -> None:
        async with with_tokens(manifest, "known") as (client, tokens, registry):
            assert await client.shows(REPOSITORY, TAG, who) is shown
            assert tokens.asked == [who]
            assert who is None or who not in [request.headers.get("Authorization") for request in registry.requests]

    test()


@on_loop
async def test_what_the_token_of_anybody_opens_is_public_though_this_node_has_a_password() -> None:
    async with with_tokens(manifest, "anybody", "known") as (client, _, _):
        assert await client.shows(REPOSITORY, TAG, None) is Shown.YES


@on_loop
async def test_a_token_of_the_client_goes_to_the_registry_alone() -> None:
    async with with_tokens(manifest, "known") as (client, tokens, _):
        assert await client.shows(REPOSITORY, TAG, "Bearer known") is Shown.YES
        assert await client.shows(REPOSITORY, TAG, "Bearer other") is Shown.REFUSED
        assert tokens.asked == []


@on_loop
async def test_a_blob_is_asked_for_by_its_first_byte_wherever_it_is() -> None:
    async with serving(ranged, "127.0.0.2") as store, with_tokens(to(f"{store.url}/store"), "known") as (client, _, _):
        assert await client.shows(REPOSITORY, BLOB, ALICE) is Shown.YES
        assert store.requests[-1].headers["Range"] == "bytes=0-0"
        assert "Authorization" not in store.requests[-1].headers


@on_loop
async def test_a_registry_that_knows_no_head_is_asked_by_get() -> None:
    async def without_head(request: web.Request) -> web.StreamResponse:
        return web.Response(status=405) if request.method == "HEAD" else await manifest(request)

    async with serving(without_head) as registry, upstream(registry.url) as client:
        assert await client.shows(REPOSITORY, TAG, None) is Shown.YES


@on_loop
async def test_what_does_not_exist_says_nothing_of_who_may_see_the_rest() -> None:
    async with serving(text(404)) as registry, upstream(registry.url) as client:
        assert await client.shows(REPOSITORY, TAG, None) is Shown.ABSENT


@on_loop
async def test_a_registry_that_does_not_say_is_no_answer() -> None:
    async with serving(text(500)) as registry, upstream(registry.url) as client:
        await failing(UpstreamError, client.shows(REPOSITORY, TAG, None))
    async with serving(text(429, Retry_After="30")) as registry, upstream(registry.url) as client:
        await failing(UpstreamRateLimited, client.shows(REPOSITORY, TAG, None))
        await failing(UpstreamRateLimited, client.shows(REPOSITORY, TAG, None))
        assert len(registry.requests) == 1


@on_loop
async def test_the_last_url_says_who_may_see_something_not_the_cache_before_it() -> None:
    async with (
        serving(manifest) as cache,
        serving(behind_basic(manifest, ALICE)) as registry,
        upstream(cache.url, registry.url) as client,
    ):
        assert await client.shows(REPOSITORY, TAG, None) is Shown.REFUSED
        assert cache.requests == []


@on_loop
async def test_content_that_came_by_a_password_is_marked_and_what_anybody_gets_is_not() -> None:
    async with (
        serving(behind_basic(ranged, OURS)) as registry,
        upstream(registry.url.replace("//", "//operator:own@")) as client,
    ):
        await fetch(client, A_BLOB)
        mark = client.marks.of(A_BLOB.digest)
        assert mark is not None
        assert mark.names == {"lab/team/app"}
    async with serving(ranged) as registry, upstream(registry.url.replace("//", "//operator:own@")) as client:
        await fetch(client, A_BLOB)
        assert client.marks.of(A_BLOB.digest) is None


@on_loop
async def test_nobody_is_asked_of_a_registry_that_is_not_allowed() -> None:
    async with upstream() as client:
        await failing(UpstreamError, client.shows(Repository("unknown.example", "a/b"), TAG, None))
