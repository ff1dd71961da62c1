"""Which requests are left to the registry, by patterns of names."""

import asyncio
import json
from typing import Any

import pytest

from mirror.app.left_out import LeftOut
from mirror.config import parse_left_out

DIGEST = "sha256:" + "a" * 64


async def here(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


def ask(target: str, *patterns: str, registry: str | None = None, method: str = "GET") -> tuple[int, Any]:
    """Ask; return the status and the body."""
    got: list[Any] = []

    async def send(message: Any) -> None:
        got.append(message)

    async def receive() -> Any:
        raise NotImplementedError

    path, _, query = target.partition("?")
    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": []}
    asyncio.run(LeftOut(here, patterns, registry)(scope, receive, send))
    return got[0]["status"], json.loads(got[1]["body"])


@pytest.mark.parametrize(
    ("target", "pattern", "status"),
    [
        ("/v2/library/nginx/manifests/latest?ns=docker.io", "*/*:latest", 404),
        ("/v2/library/nginx/manifests/1.27?ns=docker.io", "*/*:latest", 200),
        (f"/v2/library/nginx/manifests/{DIGEST}?ns=docker.io", "*/*:latest", 200),
        (f"/v2/big/model/blobs/{DIGEST}?ns=ghcr.io", "ghcr.io/big/*", 404),
        (f"/v2/big/model/blobs/{DIGEST}?ns=quay.io", "ghcr.io/big/*", 200),
        ("/v2/big/model/tags/list?ns=ghcr.io", "ghcr.io/big/*", 404),
        (f"/v2/ghcr.io/big/model/blobs/{DIGEST}", "ghcr.io/big/*", 404),
        ("/v2/library/nginx/manifests/1", "docker.io/*", 404),
        ("/v2/", "*/*", 200),
        ("/v2/?ns=ghcr.io", "ghcr.io/*", 200),
        ("/v2/no_such/!/manifests/1", "*/*", 200),
    ],
)
def test_what_a_pattern_fits_is_not_here(target: str, pattern: str, status: int) -> None:
    assert ask(target, "quay.io/other/*", pattern)[0] == status


def test_request_that_names_no_registry_is_of_its_listeners() -> None:
    target = "/v2/big/model/manifests/1"
    assert (ask(target, "ghcr.io/*", registry="ghcr.io")[0], ask(target, "ghcr.io/*")[0]) == (404, 200)


def test_client_is_told_why() -> None:
    _, body = ask("/v2/library/nginx/manifests/latest?ns=docker.io", "*/*:latest")
    assert body["errors"][0]["code"] == "NAME_UNKNOWN"
    assert "docker.io/library/nginx:latest is left to its registry" in body["errors"][0]["message"]


@pytest.mark.parametrize("text", ["nginx", "docker.io", "docker.io/a b", "https://ghcr.io/a", "/x", ""])
def test_pattern_that_fits_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="REGISTRY/REPOSITORY"):
        parse_left_out(text)
