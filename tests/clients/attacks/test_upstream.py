"""An upstream that is wrong once, or that an attacker runs: its own images may be wrong, nothing else may suffer.

One wrong byte in one answer must end no fetch and blame no member; a redirect or a token service that it names must
lead to no address inside; and what it sends must make no node large.
"""

import hashlib
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest

from testbed.agents import Agent
from testbed.images import Image
from testbed.network import Host
from testbed.processes import wait_until
from tests.clients.attacks.attackers import (
    MEBIBYTE,
    Answer,
    Asked,
    Web,
    ask_locally,
    blob_path,
    harmless,
    is_wrong,
    manifest_path,
    missing,
    pull_blob,
    registry_of,
    reply,
    request,
    until_right,
)
from tests.clients.attacks.conftest import Site

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def evil(site: Site) -> Web:
    """The upstream of all agents here; each test says what it answers."""
    return site.stack.enter_context(Web(site.host("evil"), 80, missing))


@pytest.fixture(scope="module")
def agents(site: Site, evil: Web) -> list[Agent]:
    """Three members, settled at once, so that each has a place on the rings."""
    agents: list[Agent] = []
    for name in "abc":
        agents.append(site.agent(name, join=agents[:1], upstream=f"http://{evil.address.host}", odd="settled"))
    for agent in agents:
        wait_until(lambda agent=agent: agent.homes() == set("abc"), "all to be homes")  # type: ignore[misc]
    return agents


def wrong_once(image: Image, digest: str) -> Answer:
    """A registry that has one wrong byte in its first answer with some bytes of a digest."""
    lock, left = threading.Lock(), [1]

    def alter(asked: Asked, body: bytes) -> bytes:
        with lock:
            if asked.method == "GET" and digest in asked.path and left[0]:
                left[0] -= 1
                return body[:-1] + bytes([body[-1] ^ 1])
        return body

    return registry_of(image, "1", alter=alter)


def test_one_wrong_manifest_holds_nobody_up(site: Site, evil: Web, agents: list[Agent]) -> None:
    """It sends a manifest with one wrong byte, once, while three clients ask."""
    image = site.unpublished("1", 100_000)
    evil.answer = wrong_once(image, image.manifest)

    def get(agent: Agent) -> bool:
        got = ask_locally(agent, request(manifest_path(image.manifest)))
        assert not is_wrong(got, image.read(image.manifest))
        return got.status == 200 or ask_locally(agent, request(manifest_path(image.manifest))).status == 200

    with ThreadPoolExecutor(3) as threads:
        assert all(threads.map(get, agents, timeout=25))
    wait_until(lambda: all(agent.fetch(image.manifest).get("outcome") != "running" for agent in agents), "all to end")


@pytest.mark.parametrize("size", [500_000, 7 * MEBIBYTE])
def test_one_wrong_blob_blames_nobody(size: int, site: Site, evil: Web, agents: list[Agent]) -> None:
    """It sends a blob with one wrong byte, once, to a home: nobody is shunned for it, and all get the right bytes."""
    image = site.unpublished("1", size)
    layer = image.layers[0]
    evil.answer = wrong_once(image, layer)
    with ThreadPoolExecutor(3) as threads:
        for got in threads.map(pull_blob, agents, [layer] * 3, timeout=60):
            assert not is_wrong(got, image.read(layer))
    for agent in agents:
        until_right(agent, layer)
        assert "sent corrupt bytes" not in agent.output, "an honest member is blamed"


def test_an_upstream_that_is_always_wrong_ends_in_an_error(site: Site, evil: Web, agents: list[Agent]) -> None:
    """It always sends wrong bytes: every request ends, none is complete and wrong, and no fetch goes on."""
    image = site.unpublished("1", 300_000)
    right = registry_of(image, "1", alter=lambda asked, body: body[:-1] + bytes([body[-1] ^ 1]))
    evil.answer = right
    with ThreadPoolExecutor(2) as threads:
        blob = threads.submit(pull_blob, agents[0], image.layers[0])
        manifest = threads.submit(ask_locally, agents[0], request(manifest_path(image.manifest)))
        assert not is_wrong(blob.result(60), image.read(image.layers[0]))
        assert manifest.result(60).status != 200
    for digest in (image.layers[0], image.manifest):
        wait_until(lambda digest=digest: agents[0].fetch(digest).get("outcome") != "running", "the fetch to end", 60)  # type: ignore[misc]


# Where requests go

INSIDE = [
    "127.0.0.1",
    "2130706433",
    "127.1",
    "0177.0.0.1",
    "0x7f000001",
    "0x7f.1",
    "127.0.0.1.",
    "localhost",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "0.0.0.0",
    "0",
    "\uff11\uff12\uff17.0.0.1",
    "127\u30020\u30020\u30021",
]


@pytest.fixture(scope="module")
def trap(site: Site, agents: list[Agent]) -> Web:
    """A service on the agent's own loopback, which only processes of its host may reach."""
    host = site.host("a")
    inside = Host(host.name, host.netns, "0.0.0.0", host.switch, host.port)
    return site.stack.enter_context(Web(inside, 7777, lambda asked: reply(asked, b"a secret inside")))


@pytest.mark.parametrize("inside", INSIDE)
def test_a_redirect_leads_nowhere_inside(inside: str, site: Site, evil: Web, agents: list[Agent], trap: Web) -> None:
    """It redirects a blob, and names as its token service, an address that only the node itself reaches."""
    before = len(trap.asked)
    url = f"http://{inside}:7777/secret"
    digest = f"sha256:{hashlib.sha256(inside.encode()).hexdigest()}"

    def redirect(asked: Asked) -> bytes:
        return reply(asked, b"", {"Location": url}, status="307 Temporary Redirect")

    def challenge(asked: Asked) -> bytes:
        realm = f'Bearer realm="{url}",service="s",scope="repository:library/app:pull"'
        return reply(asked, b"", {"WWW-Authenticate": realm}, status="401 Unauthorized")

    for answer in (redirect, challenge):
        evil.answer = answer
        for path in (blob_path(digest), manifest_path(f"t{len(inside)}")):
            got = ask_locally(agents[0], request(path))
            assert b"secret inside" not in got.body
            assert got.status in (401, 403, 404, 502, 503), got.status
    assert len(trap.asked) == before, trap.asked[before:]


# How much it sends

HUGE: dict[str, Callable[[], Iterable[bytes]]] = {
    "headers": lambda: [b"HTTP/1.1 200 OK\r\n", *[b"X-%d: " % n + b"y" * 8000 + b"\r\n" for n in range(10_000)]],
    "header": lambda: [b"HTTP/1.1 200 OK\r\nX: ", *[b"y" * MEBIBYTE] * 100],
    "manifest": lambda: [b"HTTP/1.1 200 OK\r\nContent-Length: 209715200\r\n\r\n", *[b" " * MEBIBYTE] * 200],
    "challenge": lambda: [
        b"HTTP/1.1 401 U\r\nWWW-Authenticate: Bearer " + b'a="b",' * 4000 + b"\r\nContent-Length: 0\r\n\r\n"
    ],
    "interim": lambda: [b"HTTP/1.1 103 Early Hints\r\n\r\n" * 10_000] * 100,
    "chunks": lambda: [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"1\r\nx\r\n" * 50_000] * 100],
}


@pytest.mark.parametrize("answer", HUGE)
def test_a_huge_answer_makes_no_node_large(answer: str, site: Site, evil: Web, agents: list[Agent]) -> None:
    """It answers a tag and a manifest with a hundred megabytes of something."""
    parts = list(HUGE[answer]())
    evil.answer = lambda asked: parts
    digest = f"sha256:{hashlib.sha256(answer.encode()).hexdigest()}"
    with harmless(agents[0], agents[1]):
        for path in (manifest_path(f"huge-{answer}"), manifest_path(digest)):
            got = ask_locally(agents[0], request(path))
            assert got.status in (404, 502, 503), got.status
