"""All that a node serves, read from its own tables: no endpoint answers a web page, whichever comes to be added."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
from starlette.routing import Route

from mirror.addresses import UnixAddress
from mirror.app import ClientApp, EndpointServer, NoPages
from mirror.config import load
from mirror.node import Node
from mirror.settings import Settings

OUTSIDE = "192.0.2.9"
"""The address of another machine."""
HOST = ("Host", "127.0.0.1:5000")
PAGES = {
    "a name that was made to mean this node": [("Host", "evil.example"), ("User-Agent", "Mozilla/5.0")],
    "another site's script": [HOST, ("Origin", "https://evil.example")],
    "another site's script to a namesake": [("Host", "localhost:5000"), ("Origin", "http://localhost:8080")],
    "a frame without an origin": [HOST, ("Origin", "null")],
    "another site's form or image": [HOST, ("Sec-Fetch-Site", "cross-site")],
    "a neighbour's form or image": [HOST, ("Sec-Fetch-Site", "same-site")],
}


class Endpoint(NamedTuple):
    """One thing that a server answers."""

    server: EndpointServer
    setting: str
    method: str
    path: str

    def ask(self, *headers: tuple[str, str], client: str = "127.0.0.1", body: bytes = b"{}") -> tuple[int, bytes]:
        """The status and the body of the answer."""
        scope: Any = {
            "type": "http",
            "method": self.method,
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": b"q=nginx",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
            "client": (client, 1),
            "server": ("127.0.0.1", 5000),
            "extensions": {},
            "root_path": "",
            "http_version": "1.1",
            "scheme": "http",
        }
        got: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            got.append(message)

        app: Any = self.server.config.app
        asyncio.run(app(scope, receive, send))
        return got[0]["status"], b"".join(it.get("body", b"") for it in got[1:])


IMAGES = ("/v2/", "/v2/library/x/manifests/1", "/v2/library/x/blobs/uploads/", "/v2/library/x/tags/list")


def endpoints(servers: Sequence[EndpointServer]) -> Iterator[Endpoint]:
    """What is served where, as the applications themselves say."""
    for server in servers:
        guard = server.config.app
        assert isinstance(guard, NoPages), f"{server.setting} is not guarded"
        pages = guard.app.pages if isinstance(guard.app, ClientApp) else guard.app
        for route in getattr(pages, "routes", ()):
            assert isinstance(route, Route)
            path = route.path.replace("{", "").replace("}", "")
            yield from (Endpoint(server, server.setting, method, path) for method in sorted(route.methods or ()))
        if server.setting in ("listen", "listen-for", "peer"):
            for path in IMAGES:
                for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
                    yield Endpoint(server, server.setting, method, path)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> list[Endpoint]:
    """The endpoints of a node that has a listener of each kind."""
    folder = tmp_path_factory.mktemp("node")
    key = folder / "key"
    key.touch(0o600)
    key.write_bytes(b"A" * 43 + b"=\n")
    given: dict[str, Any] = {
        "data-dir": str(folder),
        "key-file": str(key),
        "listen": ["127.0.0.1:5000", f"unix:{folder}/socket"],
        "listen-for": ["docker.io=127.0.0.1:5003"],
        "metrics": "127.0.0.1:5002",
        "push": "any",
    }
    together, apart = (
        endpoints(Node(load(given | more, {}, None), Settings(), lambda: True).servers)
        for more in ({}, {"listen-api": "127.0.0.1:5004"})  # a table of endpoints each
    )
    return [*together, *(it for it in apart if it.setting == "listen-api")]


def test_there_is_a_listener_of_each_kind_and_the_table_is_whole(served: list[Endpoint]) -> None:
    assert {it.setting for it in served} == {"listen", "listen-for", "listen-api", "metrics", "peer"}
    paths = {it.path for it in served if it.setting == "listen"}
    assert {"/", "/metrics", "/api/v1/status", "/api/v1/members", "/api/v1/pins", "/api/v1/delete"} <= paths
    assert {it.path for it in served if it.setting == "listen-api"} <= paths


@pytest.mark.parametrize("page", PAGES)
def test_no_endpoint_answers_a_web_page(page: str, served: list[Endpoint]) -> None:
    """Probes say that the agent lives under any name, and no more."""
    for it in served:
        if page.startswith("a name") and isinstance(it.server.address, UnixAddress):
            continue  # no name leads there
        status, body = it.ask(*PAGES[page])
        if it.path in ("/healthz", "/readyz") and page.startswith("a name"):
            assert body in (b"ok\n", b"ready\n", b"not ready: starting or leaving\n", b""), it
        else:
            assert status == 403, it
            assert b"evil.example" in body or b"pages of other" in body or it.method == "HEAD", it


def test_every_order_of_another_machine_has_to_be_signed(served: list[Endpoint]) -> None:
    """All that is posted changes something, or is an order, but for what only asks and says so here."""
    asks = {"/api/v1/verify": "whether images are whole; no disk is read"}
    orders = [it for it in served if it.method == "POST" and it.path.startswith("/api/")]
    assert len(orders) > 10
    for it in orders:
        status, _ = it.ask(HOST, client=OUTSIDE)
        assert (status in (401, 403, 409)) is (it.path not in asks), (it, status)
