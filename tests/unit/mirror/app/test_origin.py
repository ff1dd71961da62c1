"""Which requests could be a web page's, and are refused, and that no container tool's is."""

import asyncio
import json
from typing import Any

import pytest

from mirror.app.origin import UNNAMED, Naming, NoPages, host_name

NAMES = {"node-1", "mirror.example.com"}


async def well(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"private"})


def answer(
    *headers: tuple[str, str],
    path: str = "/v2/x/manifests/1",
    method: str = "GET",
    naming: Naming = Naming.ALL,
    app: Any = well,
) -> list[Any]:
    """Ask; return the messages of the answer."""
    got: list[Any] = []

    async def send(message: Any) -> None:
        got.append(message)

    async def receive() -> Any:
        raise NotImplementedError

    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    scope = {"type": "http", "method": method, "path": path, "headers": raw}
    asyncio.run(NoPages(app, NAMES, naming)(scope, receive, send))
    return got


def ask(*headers: tuple[str, str], **given: Any) -> tuple[int, bytes]:
    """Ask; return the status and the body."""
    got = answer(*headers, **given)
    return got[0]["status"], got[1]["body"]


CLIENTS = {
    "containerd": [("Host", "127.0.0.1:5000"), ("User-Agent", "containerd/2.1.4"), ("Accept", "*/*")],
    "podman, skopeo, CRI-O": [("Host", "127.0.0.1:5000"), ("User-Agent", "containers/5.34 (github.com)")],
    "Docker": [("Host", "localhost:5000"), ("User-Agent", "docker/28.0 go/go1.24 UpstreamClient(Docker-Client/28.0)")],
    "curl": [("Host", "127.0.0.1:5000"), ("User-Agent", "curl/8.5.0"), ("Accept", "*/*")],
    "a probe of Kubernetes": [("Host", "10.42.3.17:5000"), ("User-Agent", "kube-probe/1.34")],
    "a probe of Kubernetes over IPv6": [("Host", "[fd00:42::17]:5000"), ("User-Agent", "kube-probe/1.34")],
    "Prometheus": [("Host", "192.168.7.7:5000"), ("User-Agent", "Prometheus/3.5.0")],
    "HTTP/1.0 without a Host": [("User-Agent", "haproxy")],
    "by this node's name": [("Host", "Node-1:5000")],
    "by a name that the operator allows": [("Host", "mirror.example.com.:80")],
    "IPv6 without a port": [("Host", "[::1]")],
    "a page of this node": [
        ("Host", "127.0.0.1:5000"), ("Origin", "http://127.0.0.1:5000"), ("Sec-Fetch-Site", "same-origin")
    ],
    "somebody who types the address": [("Host", "127.0.0.1:5000"), ("Sec-Fetch-Site", "none")],
}  # fmt: skip


@pytest.mark.parametrize("client", CLIENTS)
def test_tools_are_answered(client: str) -> None:
    assert ask(*CLIENTS[client]) == (200, b"private")


PAGES = {
    "a name that was made to mean this node": [("Host", "evil.example:5000")],
    "a name that ends like this node's": [("Host", "node-1.evil.example")],
    "a name that begins like an address": [("Host", "127.0.0.1.evil.example:5000")],
    "a name of digits": [("Host", "2130706433:5000")],
    "a short address": [("Host", "127.1:5000")],
    "two Hosts": [("Host", "127.0.0.1:5000"), ("Host", "evil.example")],
    "an empty Host": [("Host", "")],
    "user and host": [("Host", "127.0.0.1@evil.example")],
    "another site's script": [("Host", "127.0.0.1:5000"), ("Origin", "https://evil.example")],
    "a script of another port": [("Host", "127.0.0.1:5000"), ("Origin", "http://127.0.0.1:8080")],
    "a script in a frame without an origin": [("Host", "127.0.0.1:5000"), ("Origin", "null")],
    "an origin without a Host": [("Origin", "http://127.0.0.1:5000")],
    "another site's image": [("Host", "127.0.0.1:5000"), ("Sec-Fetch-Site", "cross-site")],
    "a neighbour's image": [("Host", "localhost:5000"), ("Sec-Fetch-Site", "Same-Site ")],
}


@pytest.mark.parametrize("page", PAGES)
def test_pages_are_refused_and_told_why(page: str) -> None:
    status, body = ask(*PAGES[page])
    assert status == 403
    (error,) = json.loads(body)["errors"]
    assert error["code"] == "DENIED"
    assert error["message"]
    for path in ("/api/v1/members", "/api/v1/fetches", "/metrics", "/"):
        status, body = ask(*PAGES[page], path=path)
        assert status == 403
        assert b"private" not in body
        assert json.loads(body)["error"]


def test_the_refusal_says_what_is_allowed() -> None:
    _, body = ask(("Host", "evil.example:5000"))
    said = json.loads(body)["errors"][0]["message"]
    for word in ("evil.example", "localhost", "node-1", "mirror.example.com", "--allow-host"):
        assert word in said


def test_a_probe_may_have_any_name() -> None:
    for path in ("/healthz", "/readyz"):
        assert ask(("Host", "probe.example"), path=path)[0] == 200


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (b"127.0.0.1", None),
        (b"127.0.0.1:5000", None),
        (b"[::1]:5000", None),
        (b"[::1]", None),
        (b"::1", None),
        (b"EXAMPLE.com:80", "example.com"),
        (b"example.com.", "example.com"),
        (b"example.com:port", "example.com:port"),
        (b"[evil.example]:5000", "[evil.example]"),
        (b"\xff", "\xff"),
    ],
)
def test_names_are_told_from_addresses(host: bytes, name: str | None) -> None:
    assert host_name(host) == name


FIREFOX = ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0")
LOADING = [("Host", "10.0.0.5:5000"), FIREFOX, ("Accept", "image/avif,*/*"), ("Accept-Language", "en")]
"""What a browser sends for an image in another site's page, to an address that is not loopback: no word of the page."""


def test_a_page_that_merely_loads_something_makes_no_pull() -> None:
    status, body = ask(*LOADING)
    assert status == 403
    assert "container tools" in json.loads(body)["errors"][0]["message"]
    assert ask(*LOADING, path="/")[0] == 200
    assert ask(*LOADING, ("Sec-Fetch-Site", "same-origin"))[0] == 200


@pytest.mark.parametrize("naming", list(Naming))
def test_another_sites_page_is_refused_wherever_it_asks(naming: Naming) -> None:
    for header in (("Sec-Fetch-Site", "cross-site"), ("Origin", "http://evil.example"), ("Origin", "null")):
        for path in ("/", "/metrics", "/api/v1/status", "/readyz", "/healthz"):
            assert ask(("Host", "127.0.0.1"), header, path=path, naming=naming)[0] == 403


def test_where_metrics_alone_are_tools_may_use_any_name_and_browsers_may_not() -> None:
    prometheus = [("Host", "node.example:5002"), ("User-Agent", "Prometheus/3.5.0"), ("Accept-Encoding", "gzip")]
    assert ask(*prometheus, path="/metrics", naming=Naming.BROWSERS)[0] == 200
    for sent in (FIREFOX, ("Accept-Language", ""), ("Sec-Fetch-Mode", "cors"), ("Sec-CH-UA", "")):
        assert ask(*prometheus, sent, path="/metrics", naming=Naming.BROWSERS)[0] == (403), sent


def test_a_unix_socket_has_no_name() -> None:
    assert ask(("Host", "whatever"), naming=Naming.NOBODY)[0] == 200
    assert ask(("Host", "whatever"), FIREFOX, path="/", naming=Naming.NOBODY)[0] == 200


def test_who_asks_a_probe_under_a_foreign_name_is_marked() -> None:
    marked: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        marked.append(UNNAMED in scope.get("extensions", {}))
        await well(scope, receive, send)

    for host in ("evil.example", "127.0.0.1", "node-1"):
        ask(("Host", host), path="/readyz", app=app)
    assert marked == [True, False, False]


def test_a_browser_takes_an_answer_for_nothing_else_and_runs_nothing_of_it() -> None:
    async def evil(scope: Any, receive: Any, send: Any) -> None:
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/xhtml+xml")]}
        )
        await send({"type": "http.response.body", "body": b"<html/>"})

    for path, sent in (("/v2/x/manifests/1", [FIREFOX, ("Sec-Fetch-Site", "none")]), ("/api/v1/members", [])):
        headers = dict(answer(("Host", "127.0.0.1"), *sent, path=path, app=evil)[0]["headers"])
        assert b"sandbox" in headers[b"content-security-policy"]
        assert b"frame-ancestors 'none'" in headers[b"content-security-policy"]
        assert headers[b"x-content-type-options"] == b"nosniff"
        assert headers[b"x-frame-options"] == b"DENY"
        assert headers[b"cross-origin-resource-policy"] == b"same-origin"


def test_what_an_answer_says_itself_stays_and_container_tools_get_what_they_got() -> None:
    policy = (b"content-security-policy", b"script-src 'sha256-x'")

    async def page(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [policy]})
        await send({"type": "http.response.body", "body": b""})

    headers = answer(("Host", "127.0.0.1"), path="/", app=page)[0]["headers"]
    assert [it for it in headers if it[0] == policy[0]] == [policy]
    assert answer(*CLIENTS["containerd"], app=page)[0]["headers"] == [policy]
