"""A stranger: somebody who reaches the listeners of a node, and has no key. He wants to make it slow, blind or large.

He may open connections, send what he likes, and stop in the middle. What must hold: the node grows by no more than
50 MiB, its gossip stays in time, its clients and members are served meanwhile, and nothing that it keeps is lost.
"""

import hashlib
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from testbed.agents import GOSSIP_PORT, PEER_PORT, Agent
from testbed.images import Image
from testbed.network import Address, inside
from tests.clients.attacks.attackers import (
    MEBIBYTE,
    Stranger,
    ask_locally,
    blob_path,
    closes,
    closing_all,
    harmless,
    is_right,
    pull_blob,
    request,
)
from tests.clients.attacks.conftest import Site

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

PROBE = request("/v2/")


@pytest.fixture(scope="module")
def stranger(site: Site) -> Stranger:
    return site.stranger()


@pytest.fixture(scope="module")
def agent(site: Site) -> Agent:
    """The victim. Few descriptors are left to it, as on many systems: a limit of 1,024, hard and soft."""
    return site.agent("a", before=["prlimit", "--nofile=1024:1024"])


@pytest.fixture(scope="module")
def image(site: Site, agent: Agent) -> Image:
    """What the victim holds, and nobody else: forty layers."""
    image = site.image("1", *(100_000 + number for number in range(40)))
    for digest in (image.config, *image.layers):
        assert is_right(pull_blob(agent, digest), digest)
    return image


@pytest.fixture(scope="module")
def other(site: Site, agent: Agent, image: Image) -> Agent:
    """A member that came later."""
    other = site.agent("b", join=[agent])
    other.until_found(image.layers[-1], agent.name)
    return other


@pytest.fixture(params=[PEER_PORT, GOSSIP_PORT], ids=["peer", "gossip"])
def door(request: pytest.FixtureRequest, agent: Agent) -> Address:
    """Each listener that others can reach."""
    return Address(agent.host, request.param)


def pour(stranger: Stranger, door: Address, parts: Iterator[bytes]) -> int:
    """Send until nobody takes it any more; return how much was taken."""
    sent = 0
    with stranger.connect(door) as sock, suppress(OSError):
        sock.settimeout(5)
        for part in parts:
            sock.sendall(part)
            sent += len(part)
    return sent


# Heads


@pytest.mark.parametrize(
    ("first", "again", "count"),
    [
        (b"GET /v2/ HTTP/1.1\r\n", b"a: b\r\n" * 10_000, 900),
        (b"GET /v2/ HTTP/1.1\r\nx: ", b"y" * 65536, 3200),
        (b"GET /", b"z" * 65536, 800),
        (b"", b"\r\n" * 32768, 800),
        (b"GET /v2/ HTTP/1.1\r\n", b"a" * 4000 + b": b\r\n", 10_000),
        (b"GET /v2/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;" + b"e" * 65533 + b"\r\n", 800),
        (b"GET /v2/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"t: u\r\n" * 10_000, 800),
    ],
    ids=["short lines", "long header", "long target", "empty lines", "long names", "chunk extensions", "trailers"],
)
def test_endless_heads_make_the_node_neither_large_nor_late(
    first: bytes, again: bytes, count: int, stranger: Stranger, agent: Agent, other: Agent
) -> None:
    """He sends a head of 50 to 200 MiB, which a server that keeps it all pays for."""
    with harmless(agent, other):
        sent = pour(stranger, Address(agent.host, PEER_PORT), (first if n == 0 else again for n in range(count)))
    assert sent <= 8 * MEBIBYTE, f"the node has taken {sent / MEBIBYTE:.0f} MiB"


def test_many_heads_at_once_together_stay_small(stranger: Stranger, agent: Agent, other: Agent) -> None:
    """He opens hundreds of connections, and leaves a head of 30 KiB half sent on each."""
    door = Address(agent.host, PEER_PORT)
    with harmless(agent, other):
        sockets = stranger.connect_many(door, 600)
        with closing_all(sockets):
            for sock in sockets:
                with suppress(OSError):
                    sock.setblocking(False)
                    sock.send(b"GET /v2/ HTTP/1.1\r\n" + b"x: " + b"y" * 30_000)
            assert ask_locally(agent, request("/healthz")).status == 200


def test_who_trickles_or_idles_loses_the_connection(site: Site, stranger: Stranger) -> None:
    """He sends a byte now and then, so that no read ever times out, or nothing, before a request and after one."""
    hasty = site.agent("hasty", odd="hasty")
    door = Address(hasty.host, PEER_PORT)
    with closing_all([stranger.connect(door) for _ in range(3)]) as (silent, idle, trickling):
        idle.sendall(PROBE)
        trickling.settimeout(0.3)
        with suppress(ConnectionError):
            for byte in b"GET /v2/ HTTP/1.1\r\nx: " + b"y" * 60:
                trickling.sendall(bytes([byte]))
                with suppress(TimeoutError):
                    if not trickling.recv(65536):
                        break
            else:
                pytest.fail("a head that trickles is still waited for")
        assert closes(silent)
        assert closes(idle)
    hasty.stop()


def test_a_body_that_nobody_asked_for_is_not_read(stranger: Stranger, agent: Agent, other: Agent) -> None:
    """He announces 10 GiB with a GET, and sends them."""
    first = request("/v2/", Content_Length=str(10 * 1024 * MEBIBYTE))
    with harmless(agent, other):
        sent = pour(
            stranger, Address(agent.host, PEER_PORT), (first if n == 0 else bytes(MEBIBYTE) for n in range(300))
        )
    assert sent <= 16 * MEBIBYTE, f"the node has taken {sent / MEBIBYTE:.0f} MiB"


def test_what_follows_an_announced_body_is_no_request(stranger: Stranger, agent: Agent) -> None:
    """He hides a second request in the body of a first one, or behind two lengths that differ: one answer at most."""
    hidden = request("/v2/hidden/blobs/none")
    for framing in (
        [("Content-Length", str(len(hidden)))],
        [("Content-Length", "0"), ("Content-Length", str(len(hidden)))],
        [("Content-Length", str(len(hidden))), ("Transfer-Encoding", "chunked")],
        [("Content-Length", f"+{len(hidden)}")],
        [("Transfer-Encoding", "xchunked")],
        [("Transfer-Encoding", "\x0bchunked")],
    ):
        lines = ["GET /v2/ HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in framing)]
        with stranger.connect(Address(agent.host, PEER_PORT)) as sock:
            sock.settimeout(3)
            sock.sendall("\r\n".join([*lines, "", ""]).encode() + hidden)
            answered = b""
            with suppress(OSError):
                while part := sock.recv(65536):
                    answered += part
        assert answered.count(b"HTTP/1.1 ") <= 1, (framing, answered)


def test_garbage_is_no_stack_trace(door: Address, stranger: Stranger, agent: Agent, other: Agent) -> None:
    """He sends what is no request, alone and behind a request that is one."""
    before = len(agent.output)
    with harmless(agent, other):
        for junk in (
            os.urandom(3000),
            b"\x16\x03\x01\x02\x00" + os.urandom(500),
            b"GET / HTTP/9.9\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET /v2/ HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n" + os.urandom(200),
            b"GET http://[::1 HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET //[ HTTP/1.1\r\nHost: [\r\n\r\n",
            b"GET /v2/\xff\xfe/blobs/%00%0a HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /v2/a\x1b[2Jb/blobs/x HTTP/1.1\r\nHost: a\r\n\r\n",
            b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        ):
            for behind in (b"", PROBE):
                with stranger.connect(door) as sock:
                    sock.settimeout(1)
                    with suppress(OSError):
                        sock.sendall(behind + junk)
                        sock.shutdown(socket.SHUT_WR)
                        while sock.recv(65536):
                            pass
    written = agent.output[before:]
    assert "\x1b" not in written
    assert len(written.splitlines()) <= 40, written[-2000:]


def test_thousands_of_requests_in_one_go_are_answered_in_turn(stranger: Stranger, agent: Agent, other: Agent) -> None:
    """He pipelines requests without reading an answer."""
    with harmless(agent, other), stranger.connect(Address(agent.host, PEER_PORT)) as sock:
        sock.settimeout(5)
        with suppress(OSError):
            for _ in range(200):
                sock.sendall(request(f"/v2/{'a/' * 100}b/blobs/sha256:{'0' * 64}") * 100)
        assert ask_locally(agent, request("/readyz")).status == 200


def test_a_range_of_thousands_of_parts_costs_nothing(agent: Agent, image: Image, stranger: Stranger) -> None:
    """He asks for thousands of overlapping parts of a blob, or for ones that are no numbers."""
    layer = image.layers[0]
    for wanted in (
        "bytes=" + ",".join(f"{n}-{n + 1}" for n in range(3000)),
        "bytes=0-,0-,0-,0-",
        f"bytes={'9' * 5000}-",
        "bytes=-0",
        "bytes=5-2",
        "bytes=٣-٤".encode().decode("latin-1"),
    ):
        for address in (None, Address(agent.host, PEER_PORT)):
            got = (
                pull_blob(agent, layer, wanted=wanted)
                if address is None
                else stranger.ask(address, request(blob_path(layer), Range=wanted))
            )
            assert got.status in (0, 200, 400, 416, 431), (wanted[:40], got.status)
            assert len(got.body) <= image.size(layer)


# Connections and descriptors


def test_idle_connections_cost_clients_and_members_nothing(
    door: Address, stranger: Stranger, agent: Agent, other: Agent, image: Image
) -> None:
    """He opens 1,100 connections and leaves them idle: more than the node has descriptors."""
    with harmless(agent, other):
        sockets = stranger.connect_many(door, 1100)
        with closing_all(sockets):
            for digest in image.layers:
                assert is_right(pull_blob(agent, digest), digest)
            served = image.layers[:5] if door.port == PEER_PORT else image.layers[5:10]
            for digest in served:
                assert is_right(pull_blob(other, digest), digest)
                assert other.sources(digest) == {agent.name: image.size(digest)}, "a member is not served"
            assert ask_locally(agent, request("/healthz")).status == 200
            assert ask_locally(agent, request("/metrics")).status == 200
    assert all(agent.has_cached(digest) for digest in image.layers)


def test_idle_connections_from_many_addresses_leave_places_for_members(
    site: Site, agent: Agent, other: Agent, image: Image
) -> None:
    """He has 16 addresses, and takes from each what one address may have."""
    host = site.host("crowd")
    for number in range(2, 18):
        host.run("ip", "address", "add", f"10.78.1.{number}/16", "dev", "eth0")
    agent_host = site.host(agent.name)
    agent_host.run("ip", "route", "add", "10.78.1.0/24", "dev", "eth0")
    crowd, door, sockets = Stranger(host), Address(agent.host, PEER_PORT), []

    def connect(source: str) -> list[socket.socket]:
        opened = []
        for _ in range(70):
            with suppress(OSError):
                opened.append(socket.create_connection(door, 0.5, source_address=(source, 0)))
        return opened

    with harmless(agent, other):
        for number in range(2, 18):
            sockets += inside(crowd.host.netns, lambda number=number: connect(f"10.78.1.{number}"))  # type: ignore[misc]
        assert len({sock.getsockname()[0] for sock in sockets}) > 8
        with closing_all(sockets):
            for digest in image.layers[10:15]:
                assert is_right(pull_blob(other, digest), digest)
                assert other.sources(digest) == {agent.name: image.size(digest)}, "a member is not served"
                assert is_right(pull_blob(agent, digest), digest)


def test_a_client_that_reads_nothing_holds_nothing_up(agent: Agent, other: Agent, stranger: Stranger) -> None:
    """He asks for much, and reads not a byte of it."""
    with harmless(agent, other):
        sockets = stranger.connect_many(Address(agent.host, PEER_PORT), 40)
        with closing_all(sockets):
            for sock in sockets:
                with suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                    sock.sendall(request(f"/v2/{'x' * 3000}") * 10)
            assert ask_locally(agent, request("/readyz")).status == 200


# Questions


def test_unknown_digests_are_not_asked_for_again_and_again(site: Site, agent: Agent, other: Agent) -> None:
    """He asks for digests that nobody has, several times each: upstream hears of each from each member once at most."""
    site.upstream.forget_accesses()
    digests = [f"sha256:{hashlib.sha256(b'%d' % number).hexdigest()}" for number in range(60)]

    def ask(digest: str) -> set[int]:
        return {pull_blob(agent, digest).status for _ in range(3)}

    with harmless(agent, other), ThreadPoolExecutor(8) as threads:
        assert set().union(*threads.map(ask, digests)) <= {404, 503}
    asked = [access for digest in digests for access in site.upstream.accesses("GET", digest)]
    assert len(asked) <= 2 * len(digests), f"{len(asked)} questions for {len(digests)} digests"


@pytest.mark.parametrize("query", ["a" * 20_000, "%00" * 5000, "a/" * 9000, "sha256:" + "0" * 20_000, "%F0%9F" * 4000])
def test_long_questions_get_short_answers(agent: Agent, query: str) -> None:
    """He asks the status endpoints with names of kilobytes."""
    got = ask_locally(agent, request(f"/api/v1/find?q={query}"))
    assert got.status in (400, 404, 414, 431), got.status
    assert len(got.body) < 2000


def test_bodies_of_orders_about_keys_are_short(agent: Agent, other: Agent) -> None:
    """He sends a body of 200 MiB, in one chunk or a million, to the one endpoint that reads bodies."""
    head = request("/api/v1/keys/install", method="POST", Transfer_Encoding="chunked")
    long = request("/api/v1/keys/install", method="POST", Content_Length=str(200 * MEBIBYTE))
    tries = [(head, b"1\r\nx\r\n" * 50_000), (head, b"100000\r\n" + bytes(MEBIBYTE)), (long, bytes(MEBIBYTE))]

    def pour_locally() -> None:
        for first, part in tries:
            with socket.create_connection(agent.address, 5) as sock, suppress(OSError):
                sock.sendall(first)
                for _ in range(100):
                    sock.sendall(part)

    with harmless(agent, other):
        inside(agent.netns, pour_locally)


# Datagrams


def test_floods_of_junk_keep_gossip_in_time(stranger: Stranger, agent: Agent, other: Agent) -> None:
    """He sends tens of thousands of datagrams that are nothing."""
    with harmless(agent, other):
        stranger.send(Address(agent.host, GOSSIP_PORT), *(os.urandom(1 + number % 1400) for number in range(20_000)))
        other.until_state(agent.name, "alive")


def test_streams_of_gossip_that_say_nothing_end(stranger: Stranger, agent: Agent, other: Agent, site: Site) -> None:
    """He opens more streams than gossip serves, and says nothing: members can still join and compare."""
    door = Address(agent.host, GOSSIP_PORT)
    with harmless(agent, other):
        sockets = stranger.connect_many(door, 200)
        with closing_all(sockets):
            for sock in sockets[:100]:
                with suppress(OSError):
                    sock.sendall(b"\x11" + os.urandom(16) + b"\x00\x40\x00\x00")
            late = site.agent("late", join=[agent])
            late.until_state(other.name, "alive")
            late.stop()


def test_answers_name_no_secret_and_no_folder(stranger: Stranger, agent: Agent) -> None:
    """He reads what refusals say."""
    for payload in (PROBE, request("/"), request("/metrics"), request("/api/v1/members"), request("/v2/a/blobs/x")):
        got = stranger.ask(Address(agent.host, PEER_PORT), payload)
        assert str(agent.folder).encode() not in got.body
        assert "server" not in got.headers
