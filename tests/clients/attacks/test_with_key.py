"""A cluster with a key, and somebody without it who hears the wire, or sits on it, or replays what he heard.

What must hold: he learns nothing that members say to each other (with TLS), makes no member believe what another did
not say, and gets nothing by sending again what he heard. The same holds with `--peer-tls off`, beside the hearing.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count

import pytest

from testbed.agents import GOSSIP_PORT, PEER_PORT, Agent
from testbed.images import Image
from testbed.network import Address, Host
from testbed.processes import wait_until
from tests.clients.attacks.attackers import (
    MEBIBYTE,
    ManOnPath,
    Overhearer,
    Web,
    ask_locally,
    exchange,
    harmless,
    is_right,
    manifest_path,
    pull_blob,
    registry_of,
    request,
)
from tests.clients.attacks.conftest import KEY, Site

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]


@dataclass(frozen=True)
class Trio:
    """Three members with a key; the first two are attacked."""

    a: Agent
    b: Agent
    c: Agent
    tls: bool


@pytest.fixture(scope="module", params=["on", "off"], ids=["tls", "signed"])
def trio(site: Site, request: pytest.FixtureRequest) -> Iterator[Trio]:
    """With TLS between members, and with signatures alone."""
    agents: list[Agent] = []
    for name in "abc":
        flags = ["--key-file", str(site.key_file(f"{name}-{request.param}", KEY)), "--peer-tls", request.param]
        if name != "a":  # what these have, they have for their own clients, from whom the test names
            flags += ["--home", "never"]
        agents.append(site.agent(f"{name}-{request.param}", *flags, join=agents[:1]))
    agents[1].until_state(agents[2].name, "alive")
    a, b, c = agents
    yield Trio(a, b, c, tls=request.param == "on")
    for agent in agents:
        agent.stop()


def held_by(site: Site, holder: Agent, asker: Agent, tag: str, size: int = 2 * MEBIBYTE) -> Image:
    """An image whose layer and tag one member holds, and another knows that."""
    image = site.image(f"{tag}-{holder.name}", size)
    for path in (manifest_path(f"{tag}-{holder.name}"), manifest_path(image.manifest)):
        assert ask_locally(holder, request(path)).status == 200
    assert is_right(pull_blob(holder, image.layers[0]), image.layers[0])
    asker.until_found(image.layers[0], holder.name)
    return image


def until_served_by(site: Site, holder: Agent, asker: Agent) -> None:
    """Wait until one member takes what it needs from another again, after an attack that broke connections."""
    tries = (held_by(site, holder, asker, f"again-{number}", 1000).layers[0] for number in count())

    def is_served() -> bool:
        layer = next(tries)
        return is_right(pull_blob(asker, layer), layer) and holder.name in asker.sources(layer)

    wait_until(is_served, f"{asker.name} to take from {holder.name}")


def host_of(site: Site, agent: Agent) -> Host:
    return site.host(agent.name)


def door_of(agent: Agent) -> Address:
    return Address(agent.host, PEER_PORT)


@dataclass(frozen=True)
class Heard:
    """What an overhearer has of one pull from member to member."""

    image: Image
    requests: list[bytes]
    datagrams: list[bytes]
    everything: bytes


@pytest.fixture(scope="module")
def heard(site: Site, trio: Trio) -> Heard:
    """He heard b pull from a."""
    image = held_by(site, trio.a, trio.b, "heard")
    with Overhearer(host_of(site, trio.b)) as ear:
        assert is_right(pull_blob(trio.b, image.layers[0]), image.layers[0])
        assert trio.b.sources(image.layers[0]) == {trio.a.name: image.size(image.layers[0])}
        wait_until(lambda: len(ear.datagrams) > 5, "some gossip")
        wait_until(lambda: any(ear.streams(trio.b.host, PEER_PORT)), "the request")
    return Heard(
        image, ear.streams(trio.b.host, PEER_PORT), ear.datagrams, ear.everything(beside=site.upstream.address.port)
    )


def test_who_hears_the_wire_learns_nothing_of_images(trio: Trio, heard: Heard) -> None:
    """He wants the bytes of a private image, or its name."""
    layer = heard.image.read(heard.image.layers[0])
    assert heard.requests, "nothing was heard at all"
    if not trio.tls:
        assert layer[MEBIBYTE : MEBIBYTE + 64] in heard.everything  # as documented: the wire is trusted
        return
    for place in range(1000, len(layer), MEBIBYTE // 4):
        assert layer[place : place + 64] not in heard.everything
    for word in (heard.image.layers[0].encode(), heard.image.layers[0][7:23].encode(), b"library/app", b"Skvaller-"):
        assert word not in heard.everything, word
    assert not any(b"HTTP/1.1" in it for it in heard.requests)


def test_what_was_heard_gets_nothing_when_it_is_sent_again(site: Site, trio: Trio, heard: Heard) -> None:
    """He sends again what b sent to a, as it was, and with one header more or another role."""
    stranger, layer = site.stranger(), heard.image.read(heard.image.layers[0])
    for spoken in heard.requests:
        changed = [
            spoken,
            spoken.replace(b"GET ", b"HEAD ", 1),
            spoken.replace(b"\r\n", b"\r\nSkvaller-Relative-Rate: 0.001\r\n", 1),
            spoken.replace(b"\r\n", b"\r\nSkvaller-Role: bring\r\n", 1),
            spoken.replace(b"Range: bytes=0-", b"Range: bytes=1-", 1),
        ]
        for payload in changed:
            with stranger.connect(door_of(trio.a)) as sock:
                sock.settimeout(5)
                got = exchange(sock, payload, is_head=payload.startswith(b"HEAD"))
            assert got.status not in (200, 206), got.status
            assert not got.body or layer[1000:1064] not in got.body
            with stranger.connect(door_of(trio.c)) as sock:
                sock.settimeout(5)
                said = exchange(sock, payload, is_head=payload.startswith(b"HEAD"))
                assert said.status not in (200, 206, 404), "another member takes it for its own"


def test_a_stranger_without_the_key_gets_nothing(site: Site, trio: Trio, heard: Heard) -> None:
    """He asks as a member would, without any proof."""
    layer = heard.image.layers[0]
    for headers in (
        {},
        {"Skvaller-Hop": "1", "Skvaller-Node": trio.b.name},
        {"Skvaller-Auth": hashlib.sha256(b"").hexdigest()},
        {"Skvaller-Auth": ""},
    ):
        got = site.stranger().ask(door_of(trio.a), request(f"/v2/library/app/blobs/{layer}", **headers))
        assert got.status in (0, 400, 401, 403), got.status
        assert len(got.body) < 1000


def test_gossip_that_was_heard_changes_nothing_when_it_is_sent_again(site: Site, trio: Trio, heard: Heard) -> None:
    """He sends b's datagrams again, to all, from his own address, many times and with a changed bit."""
    with harmless(trio.a, trio.b):
        for agent in (trio.a, trio.b, trio.c):
            door = Address(agent.host, GOSSIP_PORT)
            site.stranger().send(door, *heard.datagrams * 3)
            site.stranger().send(door, *(it[:-1] + bytes([it[-1] ^ 1]) for it in heard.datagrams if it))
        assert trio.a.alive() == {trio.a.name, trio.b.name, trio.c.name}
    for agent in (trio.a, trio.b, trio.c):
        assert not any(site.stranger().host.address in row["peer"] for row in agent.members())


def test_who_sits_on_the_path_cannot_say_what_a_tag_means(site: Site, trio: Trio) -> None:
    """He changes the digest in what a answers to b about a tag, while upstream is away."""
    image = held_by(site, trio.a, trio.b, "on-path")
    evil = site.unpublished("evil", 50_000)
    digests = (image.manifest.encode(), evil.manifest.encode())

    def change(part: bytes) -> bytes:
        return part.replace(*digests)

    site.upstream.stop()
    try:
        for member in (trio.a, trio.c):
            path = ManOnPath(site.host("path"), host_of(site, trio.b), door_of(member), downward=change)
            with path:
                got = ask_locally(trio.b, request(manifest_path(f"on-path-{trio.a.name}"), method="HEAD"))
                assert got.headers.get("docker-content-digest") != evil.manifest
    finally:
        site.upstream.start()
    wait_until(lambda: trio.b.get("/readyz") == b"ready\n", "b to be ready")


def test_who_answers_in_a_members_place_is_not_believed(site: Site, trio: Trio) -> None:
    """He takes b's connections to a, and answers himself, with an image of his own under a's tag."""
    image = held_by(site, trio.a, trio.b, "in-place")
    evil = site.unpublished("evil", 60_000)
    tag = f"in-place-{trio.a.name}"
    more = {"Skvaller-Tag-Age": "0", "Skvaller-Tag-Authority": "upstream"}
    host = site.host("path")
    honest = registry_of(evil, tag)
    with (
        Web(host, 7001, lambda asked: honest(asked).replace(b"\r\n", b"\r\n" + _lines(more), 1)) as web,
        ManOnPath(host, host_of(site, trio.b), door_of(trio.a), instead=web.address) as path,
    ):
        site.upstream.stop()
        try:
            got = ask_locally(trio.b, request(manifest_path(tag), method="HEAD"))
        finally:
            site.upstream.start()
        assert path.connections
        assert got.headers.get("docker-content-digest") in (None, image.manifest)
        assert is_right(pull_blob(trio.b, image.layers[0]), image.layers[0])
    assert trio.a.name not in trio.b.sources(image.layers[0])
    if trio.tls:
        assert not any(asked.method in ("GET", "HEAD") for asked in web.asked), "b asked before it knew whom"


def _lines(headers: dict[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()


def test_one_member_is_not_taken_for_another(site: Site, trio: Trio) -> None:
    """He leads b's connections to a to the member c, which has the key as well: c's bytes do not count as a's."""
    image = held_by(site, trio.a, trio.b, "misled")
    assert is_right(pull_blob(trio.c, image.layers[0]), image.layers[0])
    trio.b.until_found(image.layers[0], trio.c.name)
    with ManOnPath(site.host("path"), host_of(site, trio.b), door_of(trio.a), instead=door_of(trio.c)):
        assert is_right(pull_blob(trio.b, image.layers[0]), image.layers[0])
    assert trio.a.name not in trio.b.sources(image.layers[0])


@pytest.mark.parametrize(
    ("was", "is_now"),
    [
        (b"\r\nRange: bytes=", b"\r\nSkvaller-Relative-Rate: 0.001\r\nRange: bytes="),
        (b"\r\nSkvaller-Node: b", b"\r\nSkvaller-Node: c"),
    ],
    ids=["rate", "name"],
)
def test_a_request_that_was_changed_on_its_way_is_refused(was: bytes, is_now: bytes, site: Site, trio: Trio) -> None:
    """He changes a header of b's own, fresh requests to a."""
    image = held_by(site, trio.a, trio.b, f"changed-{len(is_now)}")
    changed = 0

    def change(part: bytes) -> bytes:
        nonlocal changed
        changed += was in part
        return part.replace(was, is_now)

    if trio.tls:
        was = is_now = b"\x17\x03\x03"  # he cannot tell the headers: each record gets a wrong bit

        def change(part: bytes) -> bytes:
            return part[:-1] + bytes([part[-1] ^ 1]) if was in part else part

    with ManOnPath(site.host("path"), host_of(site, trio.b), door_of(trio.a), upward=change):
        assert is_right(pull_blob(trio.b, image.layers[0]), image.layers[0])
    if trio.tls or changed:
        assert trio.a.name not in trio.b.sources(image.layers[0])


@pytest.mark.parametrize(
    ("was", "is_now"),
    [
        (b"content-range: bytes 0-", b"content-range: bytes 1-"),
        (b"\r\n\r\n", b"\r\nSkvaller-Origin: c-off\r\n\r\n"),
    ],
    ids=["range", "origin"],
)
def test_an_answer_that_was_changed_on_its_way_misleads_nobody(
    was: bytes, is_now: bytes, site: Site, trio: Trio
) -> None:
    """He changes status or headers of a's answers to b: b gets the right bytes, and blames nobody for long."""
    if trio.tls:
        pytest.skip("with TLS he cannot tell the headers; what a changed record does is tested above")
    image = held_by(
        site, trio.a, trio.b, f"answer-{was[:12].strip().decode().replace(' ', '-').replace('/', '').strip(':-')}x"
    )
    layer = image.layers[0]
    with ManOnPath(
        site.host("path"), host_of(site, trio.b), door_of(trio.a), downward=lambda it: it.replace(was, is_now)
    ):
        assert is_right(pull_blob(trio.b, layer), layer)
    after = held_by(site, trio.c, trio.b, f"after-{image.layers[0][7:15]}")
    assert is_right(pull_blob(trio.b, after.layers[0]), after.layers[0])
    assert trio.c.name in trio.b.sources(after.layers[0]), "c is blamed for what it did not do"


def test_a_hello_that_goes_nowhere_costs_nothing(site: Site, trio: Trio) -> None:
    """He opens hundreds of connections that begin TLS, or seem to, and go no further."""
    stranger = site.stranger()
    until_served_by(site, trio.a, trio.b)
    with harmless(trio.a, trio.b):
        sockets = stranger.connect_many(door_of(trio.a), 200)
        for sock in sockets:
            with suppress(OSError):
                sock.sendall(b"\x16\x03\x01\x3f\xff\x01\x00\x3f\xfb\x03\x03" + os.urandom(8000))
        image = held_by(site, trio.a, trio.b, "during-hello", 100_000)
        assert is_right(pull_blob(trio.b, image.layers[0]), image.layers[0])
        assert "upstream" not in trio.b.sources(image.layers[0])
        for sock in sockets:
            sock.close()
