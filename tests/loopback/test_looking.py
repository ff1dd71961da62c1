"""A look at a registry tells whether it answers and lets this node in, and pulls nothing."""

import json
from pathlib import Path

import pytest

from mirror.sources import Looked
from mirror.sources.upstream.credentials import AuthPath
from tests.loopback.registries import on_loop, serving, text, token_service, upstream


async def looked(url: str, auth: AuthPath | None = None) -> Looked:
    async with upstream(url, auth=auth) as client:
        (found,) = await client.registries.look("lab", 5.0)
        return found


@on_loop
async def test_one_that_answers_anything() -> None:
    async with serving(text(200, "{}")) as server:
        found = await looked(server.url)
        assert server.paths() == ["/v2/"]
    assert (found.url, found.status, found.problem, found.has_login) == (server.url, 200, "", False)
    async with serving(text(404)) as server:
        assert (await looked(server.url)).status == 404


@on_loop
async def test_one_that_wants_a_token_gets_one() -> None:
    async with token_service() as tokens, serving(tokens.guarding(text(200, "{}"))) as server:
        async with upstream(server.url, trust=[tokens.url.removeprefix("http://")]) as client:
            (found,) = await client.registries.look("lab", 5.0)
        assert (found.status, found.problem) == (200, "")
        assert len(tokens.issued) == 1


@pytest.mark.parametrize(("password", "status"), [("right", 200), ("wrong", 401)])
@on_loop
async def test_a_password_is_tried(tmp_path: Path, password: str, status: int) -> None:
    file = tmp_path / "auth.json"
    file.touch(0o600)
    async with serving(text(401, WWW_Authenticate='Basic realm="lab"')) as server:
        host = server.url.removeprefix("http://")
        file.write_text(json.dumps({"auths": {host: {"username": "bob", "password": password}}}))
        is_right = "Ym9iOnJpZ2h0"  # bob:right

        async def guarded(request: object) -> object:
            given = getattr(request, "headers", {}).get("Authorization", "")
            return await (text(200) if given == f"Basic {is_right}" else refusing)(request)  # type: ignore[arg-type]

        refusing, server.script = server.script, guarded  # type: ignore[assignment]
        found = await looked(server.url, AuthPath(file))
    assert found.status == status
    assert found.has_login


@on_loop
async def test_one_that_is_not_there_says_why() -> None:
    found = await looked("http://127.0.0.1:9")
    assert found.status is None
    assert "127.0.0.1:9" in found.problem
    assert "cannot be reached" in found.problem
