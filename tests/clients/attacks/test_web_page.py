"""A page in the browser of somebody on the node: it can send requests to 127.0.0.1, and wants to read the answers.

It may have a name that now means 127.0.0.1 (DNS rebinding), or ask from its own origin.
"""

import pytest

from testbed.agents import Agent
from testbed.images import Image
from tests.clients.attacks.attackers import ask_locally, is_right, manifest_path, pull_blob, request
from tests.clients.attacks.conftest import Site

pytestmark = [pytest.mark.clients, pytest.mark.timeout(90)]

PATHS = ["/v2/", "/api/v1/members", "/api/v1/fetches", "/api/v1/find?q=app", "/metrics"]


@pytest.fixture(scope="module")
def agent(site: Site) -> Agent:
    return site.agent("a", "--key-file", str(site.key_file("a", bytes(32))))


@pytest.fixture(scope="module")
def image(site: Site, agent: Agent) -> Image:
    image = site.image("private", 100_000)
    assert is_right(pull_blob(agent, image.layers[0]), image.layers[0])
    return image


FOREIGN = [
    "evil.example",
    "evil.example:5000",
    "127.0.0.1.evil.example",
    "localhost.evil.example:5000",
    "127.0.0.1@evil.example",
    "evil.example#127.0.0.1",
    "evil.example:127.0.0.1",
    "2130706433:5000",
    "0x7f.1",
    "",
]


@pytest.mark.parametrize("host", FOREIGN)
def test_a_name_that_is_not_this_nodes_reads_nothing(host: str, agent: Agent, image: Image) -> None:
    """Its own name leads to 127.0.0.1: what the browser sends names it in Host."""
    for path in [*PATHS, f"/v2/library/app/blobs/{image.layers[0]}?ns=docker.io", manifest_path("private")]:
        got = ask_locally(agent, request(path, host))
        assert got.status in (400, 403, 421), (path, got.status)
        assert image.manifest.encode() not in got.body
        assert len(got.body) < 2000


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8080"},
        {"Origin": "https://127.0.0.1:5000.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "CROSS-SITE"},
    ],
)
def test_another_origin_reads_nothing(headers: dict[str, str], agent: Agent, image: Image) -> None:
    """It asks from its own origin; the browser says so in headers that a page cannot change."""
    for path in [*PATHS, f"/v2/library/app/blobs/{image.layers[0]}?ns=docker.io", manifest_path("private")]:
        got = ask_locally(agent, request(path, "127.0.0.1:5000", **headers))
        assert got.status == 403, (path, got.status)
        assert image.read(image.layers[0])[:100] not in got.body


ORDERS = [
    f"/api/v1/{what}" for what in ("keys/install", "pins", "unpin", "delete", "prune", "prefetch", "verify?deep=1")
]
PUSHES = [("POST", "/v2/library/app/blobs/uploads/"), ("PUT", "/v2/library/app/manifests/1")]


@pytest.mark.parametrize(("method", "path"), [*(("POST", path) for path in ORDERS), *PUSHES])
def test_orders_and_pushes_from_a_page_are_refused(method: str, path: str, agent: Agent) -> None:
    """It posts to the endpoints that change something, as forms can, without asking before."""
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
        for more in ({}, {"Skvaller_Command": "load"}):
            lines = request(path, "127.0.0.1:5000", method=method, Content_Length="2", **headers, **more)
            assert ask_locally(agent, lines + b"{}").status == 403
    assert ask_locally(agent, request(path, "evil.example", method=method, Content_Length="2") + b"{}").status == 403


def test_two_hosts_are_none(agent: Agent) -> None:
    """It hides its name behind a second Host."""
    two = b"GET /api/v1/members HTTP/1.1\r\nHost: 127.0.0.1:5000\r\nHost: evil.example\r\n\r\n"
    other = b"GET /api/v1/members HTTP/1.1\r\nHost: evil.example\r\nHost: 127.0.0.1:5000\r\n\r\n"
    for payload in (two, other):
        assert ask_locally(agent, payload).status in (400, 403, 404, 421), payload


def test_a_target_with_a_foreign_name_reads_nothing(agent: Agent) -> None:
    """It hides its name in the target, before a Host that is this node's."""
    for path in PATHS:
        got = ask_locally(agent, request(f"http://evil.example{path}", "127.0.0.1:5000"))
        assert got.status == 403, (path, got.status)


def test_no_answer_invites_other_origins(agent: Agent, image: Image) -> None:
    """It hopes for a header that lets it read."""
    for path in [*PATHS, manifest_path("private")]:
        for method in ("GET", "OPTIONS"):
            got = ask_locally(agent, request(path, "127.0.0.1:5000", method=method))
            assert not any(name.startswith("access-control-allow") for name in got.headers)


@pytest.mark.parametrize(
    ("host", "headers"),
    [
        ("127.0.0.1:5000", {}),
        ("localhost:5000", {}),
        ("LOCALHOST", {}),
        ("[::1]:5000", {}),
        ("a:5000", {}),
        ("127.0.0.1:5000", {"Sec-Fetch-Site": "none"}),
        ("127.0.0.1:5000", {"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:5000"}),
        ("localhost:5000", {"Origin": "http://localhost:5000"}),
    ],
)
def test_who_is_on_the_node_is_answered(host: str, headers: dict[str, str], agent: Agent, image: Image) -> None:
    """Not an attack: runtimes, and people who open the status page."""
    for path in [*PATHS, manifest_path("private")]:
        assert ask_locally(agent, request(path, host, **headers)).status == 200, path
