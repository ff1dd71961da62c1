"""A member that lies. It gossips as all do, and answers the others what it likes.

It wants to give clients wrong bytes or another image, to push others' content out, to make nodes large or late, to
aim their requests elsewhere, or to have honest members blamed. Upstream is up, unless a test says otherwise.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from gossip.core.messages import Ops
from mirror.cluster.homes import Ring
from mirror.oci.reference import Reference
from testbed.agents import GOSSIP_PORT, PEER_PORT, Agent
from testbed.containerd import Containerd, write_hosts
from testbed.images import Image
from testbed.network import Address
from testbed.nodes import Node
from testbed.processes import remove_folder, wait_until
from tests.clients.attacks.attackers import (
    MEBIBYTE,
    Answer,
    Asked,
    RogueMember,
    Stranger,
    Web,
    Whole,
    ask_locally,
    harmless,
    is_right,
    is_wrong,
    manifest_path,
    missing,
    packet,
    pull_blob,
    registry_of,
    reply,
    request,
    until_claimed,
    until_right,
)
from tests.clients.attacks.conftest import Site
from tests.clients.pulling import at_once

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

Start = Callable[..., RogueMember]
Says = Mapping[str, object] | None


@pytest.fixture(scope="module")
def agent(site: Site) -> Agent:
    return site.agent("a", "--cache-size", "64MiB")


@pytest.fixture(scope="module")
def other(site: Site, agent: Agent) -> Agent:
    return site.agent("b", "--home", "never", join=[agent])


@pytest.fixture
def rogue(site: Site, agent: Agent) -> Iterator[Start]:
    """Start a member that lies: `rogue(name, answer, metadata=…)`; it leaves at the end."""
    with ExitStack() as stack:

        def start(
            name: str = "rogue", answer: Answer = missing, *, host: str = "rogue", metadata: Says = None
        ) -> RogueMember:
            return stack.enter_context(RogueMember(site.host(host), name, agent, answer, metadata=metadata))

        yield start


def content(image: Image, change: Callable[[bytes], bytes] = bytes) -> Whole:
    """What a holder answers that has an image, with its blobs changed."""
    whole = registry_of(image, "none")

    def answer(asked: Asked) -> bytes:
        digest = asked.path.rpartition("/")[2]
        if digest not in image.digests or "/blobs/" not in asked.path:
            return whole(asked)
        return reply(asked, change(image.read(digest)), {"Docker-Content-Digest": digest})

    return answer


def flipped(body: bytes) -> bytes:
    """With a wrong bit in every tenth of a mebibyte."""
    changed = bytearray(body)
    for place in range(7, len(changed), MEBIBYTE // 10):
        changed[place] ^= 1
    return bytes(changed)


# Bytes


def test_a_lying_holder_gives_no_client_a_wrong_byte(site: Site, agent: Agent, other: Agent, rogue: Start) -> None:
    """It holds what upstream has, and sends wrong bytes of it: whole reads and ranges are right, or end short."""
    image = site.image("lied-about", 6 * MEBIBYTE)
    layer = image.layers[0]
    liar = rogue(f"liar-{os.urandom(3).hex()}", content(image, flipped))
    liar.claim(*image.digests)
    until_claimed(agent, liar.name)
    body = image.read(layer)
    for start, stop in ((0, 99), (100, 199), (MEBIBYTE, 3 * MEBIBYTE), (len(body) - 10, len(body) - 1)):
        got = pull_blob(agent, layer, wanted=f"bytes={start}-{stop}")
        assert not is_wrong(got, body[start : stop + 1]), (start, stop)
        assert got.complete, (start, stop)
    until_right(agent, layer)
    until_right(other, layer)


def test_a_lying_holder_with_nobody_beside_it_gives_nothing(
    site: Site, agent: Agent, other: Agent, rogue: Start
) -> None:
    """It alone claims an image that upstream has not: no range of it is complete and wrong."""
    image = site.unpublished("alone", 6 * MEBIBYTE)
    layer = image.layers[0]
    liar = rogue(f"liar-{os.urandom(3).hex()}", content(image, flipped))
    liar.claim(layer)
    until_claimed(agent, liar.name)
    body = image.read(layer)

    def read(start: int, stop: int) -> None:
        assert not is_wrong(pull_blob(agent, layer, wanted=f"bytes={start}-{stop}"), body[start : stop + 1])

    at_once(*(partial(read, start, start + 1000) for start in (0, 100, MEBIBYTE, 5 * MEBIBYTE)))
    assert not is_wrong(pull_blob(agent, layer), body)


def test_real_containerd_gets_the_right_image_after_a_lie(site: Site, agent: Agent, rogue: Start) -> None:
    """It sends wrong bytes to a node whose containerd resumes by range: the pull is right, at the latest the second."""
    image = site.image("for-containerd", 8 * MEBIBYTE)
    liar = rogue(f"liar-{os.urandom(3).hex()}", content(image, flipped))
    liar.claim(*image.digests)
    victim = site.agent("victim", join=[agent])
    until_claimed(victim, liar.name)
    folder = Path("/tmp") / f"attacks-{os.getpid()}"
    host = site.host("victim")
    site.stack.callback(remove_folder, folder)
    containerd = site.stack.enter_context(Containerd(folder, host.netns))
    node = Node(host, containerd, victim, write_hosts(site.folder / "hosts", victim.url, f"http://{host.address}:9"))
    name = "docker.io/library/app:for-containerd"
    try:
        node.pull(name)
    except Exception:  # noqa: BLE001 - how it fails is containerd's; that it must not fail twice is ours
        node.pull(name)
    assert node.has(image)
    victim.stop()


@pytest.mark.parametrize("way", ["holders", "homes"])
def test_two_liars_cannot_have_a_third_member_shunned(
    way: str, site: Site, agent: Agent, other: Agent, rogue: Start
) -> None:
    """Two send wrong bytes and say that they have them from an honest one: that one is still asked afterwards."""
    image = site.image(f"framed-{way}", 6 * MEBIBYTE)
    layer = image.layers[0]
    honest = content(image, flipped)

    def blame(asked: Asked) -> bytes:
        answer = honest(asked)
        return answer.replace(b"\r\n\r\n", b"\r\nSkvaller-Origin: b\r\n\r\n", 1)

    liars = [rogue(f"{name}-{way}", blame, host=name) for name in ("rogue", "rogue-2")]
    if way == "holders":
        for liar in liars:
            liar.claim(layer)
            until_claimed(agent, liar.name)
    until_right(agent, layer)
    until_right(other, layer)
    assert f"member {other.name} sent corrupt" not in agent.output
    assert f"member {agent.name} sent corrupt" not in other.output


def said(first: str, *lines: str, body: bytes = b"") -> bytes:
    """An answer, written as it comes."""
    return "\r\n".join([f"HTTP/1.1 {first}", *lines, "", ""]).encode() + body


ODD: dict[str, Callable[[bytes], bytes]] = {
    "no length": lambda body: said("200 OK", body=body),
    "chunks": lambda body: said(
        "200 OK", "Transfer-Encoding: chunked", body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    ),
    "gzip": lambda body: said("200 OK", "Content-Encoding: gzip", f"Content-Length: {len(body)}", body=body),
    "two lengths": lambda body: said("200 OK", "Content-Length: 5", f"Content-Length: {len(body)}", body=body),
    "too long": lambda body: said("200 OK", "Content-Length: 9999999999999999999", body=body),
    "negative": lambda body: said("206 P", "Content-Range: bytes 0--5/-1", "Content-Length: -5", body=body),
    "elsewhere": lambda body: said("206 P", f"Content-Range: bytes 9-{len(body) + 8}/9999999", body=body),
    "endless": lambda body: said("200 OK", *["X: y"] * 1_000_000),
    "interim for ever": lambda body: said("100 Continue") * 100_000,
    "redirect": lambda body: said("307 R", "Location: http://10.78.0.1:5000/", "Content-Length: 0"),
    "other digest": lambda body: said("200 OK", f"Docker-Content-Digest: sha256:{'0' * 64}", body=body),
    "escapes": lambda body: said("503 \x1b[2J", "Skvaller-Reason: \x1b[31m", "Content-Length: 0"),
    "silence": lambda body: b"",
    "junk": lambda body: os.urandom(70_000),
}


@pytest.fixture(scope="module")
def image(site: Site) -> Image:
    """One of as many layers as there are odd answers."""
    return site.image("odd", *(200_000 + number for number in range(len(ODD))))


@pytest.mark.parametrize("head", ODD)
def test_odd_answers_of_a_member_are_stood(head: str, image: Image, agent: Agent, other: Agent, rogue: Start) -> None:
    """It answers with what is hardly HTTP: the client gets the right bytes from upstream, and the node stays small."""
    layer = image.layers[list(ODD).index(head)]
    odd = rogue(f"odd-{layer[7:15]}", lambda asked: ODD[head](image.read(layer)))
    odd.claim(layer)
    until_claimed(agent, odd.name)
    before = len(agent.output)
    with harmless(agent, other):
        assert is_right(pull_blob(agent, layer), layer)
    assert "\x1b" not in agent.output[before:]


# Room


@pytest.mark.parametrize("size", [8 * MEBIBYTE, 64 * MEBIBYTE - 1, 2**40])
def test_an_invented_size_pushes_nothing_out(size: int, site: Site, agent: Agent, other: Agent, rogue: Start) -> None:
    """It says that something which a client asks for is huge: what the cache holds stays, and what is small comes."""
    kept = site.image(f"kept-{size % 1000}", *(200_000 + number for number in range(5)))
    for digest in (kept.config, *kept.layers):
        assert is_right(pull_blob(agent, digest), digest)
    wanted = site.image(f"wanted-{size % 1000}", 300_000)
    layer = wanted.layers[0]

    def invent(asked: Asked) -> bytes:
        if layer not in asked.path:
            return missing(asked)
        start = int(asked.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        stop = min(start + MEBIBYTE, size)
        place = f"Content-Range: bytes {start}-{stop - 1}/{size}"
        return said("206 P", place, f"Content-Length: {stop - start}", body=bytes(1000))

    liar = rogue(f"liar-{os.urandom(3).hex()}", invent)
    liar.claim(layer)
    until_claimed(agent, liar.name)
    wait_until(lambda: is_right(pull_blob(agent, layer), layer), "the small blob", 40)
    assert all(agent.has_cached(digest) for digest in (kept.config, *kept.layers)), "what was kept is gone"


def test_what_members_ask_a_home_for_does_not_push_out_what_clients_use(
    site: Site, agent: Agent, other: Agent, rogue: Start
) -> None:
    """It asks a node, as its home, for more of upstream's content than the node's cache holds."""
    kept = site.image("clients-own", *(300_000 + number for number in range(5)))
    for digest in (kept.config, *kept.layers):
        assert is_right(pull_blob(agent, digest), digest)
    greedy = rogue("greedy")
    many = site.image("greedily", *(4 * MEBIBYTE - 4096 - number for number in range(20)))
    door, there = Address(agent.host, PEER_PORT), Stranger(greedy.host)
    for digest in many.layers:
        headers = {"Skvaller-Hop": "1", "Skvaller-Node": "greedy", "Skvaller-Role": "home", "X_Registry": "docker.io"}
        there.ask(door, request(f"/v2/library/app/blobs/{digest}?ns=docker.io", **headers))
    assert all(agent.has_cached(digest) for digest in (kept.config, *kept.layers)), "what clients use is gone"


def test_a_huge_filter_makes_no_node_large(agent: Agent, other: Agent, rogue: Start) -> None:
    """It says in one packet that its filter has 2^26 bits, and in others that it has fewer, or as many again."""
    greedy = rogue("greedy")
    door, epoch = Address(agent.host, GOSSIP_PORT), greedy.call(lambda: greedy.gossip.view.me.epoch)
    claims = [
        packet("greedy", Ops("greedy", epoch, generation, bits, 0, os.urandom(800)), epoch=epoch)
        for generation, bits in enumerate((26, 25, 24, 26), 900)
    ]
    with harmless(agent, other):
        Stranger(greedy.host).send(door, *claims)
        greedy.claim_keys([hashlib.sha256(b"something").digest()])
        assert ask_locally(agent, request("/metrics")).status == 200


def test_members_with_large_filters_together_stay_small(site: Site, agent: Agent, other: Agent, rogue: Start) -> None:
    """Two of them each claim tens of thousands of keys: more than a cluster's caches hold."""
    greedy = [rogue(f"greedy-{number}", host=f"rogue-{number}") for number in range(2)]
    with harmless(agent):
        for member in greedy:
            member.claim_keys([os.urandom(32) for _ in range(30_000)])
        wait_until(
            lambda: (
                sum(row["keys"] for row in agent.members() if row["name"].startswith("greedy")) > 0
                or all(row["name"] != "greedy-0" for row in agent.members())
            ),
            "the filters to arrive",
        )


# Where requests go


@pytest.mark.parametrize("host", ["127.0.0.1", "bystander", "0.0.0.0", "::ffff:127.0.0.1"])
def test_metadata_aims_no_request_elsewhere(host: str, site: Site, agent: Agent, rogue: Start) -> None:
    """It says that its peer endpoint is at another address: nobody is asked there in its name."""
    image = site.image(f"aimed-{host.strip(':').replace(':', '-')}", 100_000)
    bystander = site.host("bystander")
    there = bystander.address if host == "bystander" else host
    trap = site.stack.enter_context(Web(bystander, 7777, missing))
    aimed = rogue("aimed", missing, metadata={"port": 7777, "host": there, "home": "yes"})
    aimed.claim(*image.digests)
    assert is_right(pull_blob(agent, image.layers[0]), image.layers[0])
    trap.close()
    assert not trap.asked
    shown = [row["peer"] for row in agent.members() if row["name"] == "aimed"]
    assert not any(there in url and there != "0.0.0.0" for url in shown), shown


# Tags


@pytest.fixture
def first_on_ring(rogue: Start, agent: Agent, other: Agent) -> Callable[[str, Answer], RogueMember]:
    """Start a member whose name comes first on the ring of a tag of `library/app`, as far as names decide that."""

    def start(tag: str, answer: Answer) -> RogueMember:
        key = Reference.parse(f"docker.io/library/app:{tag}").key
        names = (f"first-{number}" for number in range(10_000))
        name = next(it for it in names if Ring.of(key, [it, agent.name, other.name]).members[0] == it)
        return rogue(name, answer)

    return start


def means(image: Image, *, age_s: float = 0) -> Whole:
    """Says of every tag that upstream says that it means this image, and serves it."""

    def answer(asked: Asked) -> bytes:
        what = asked.path.rpartition("/")[2]
        if "/manifests/" in asked.path and ":" not in what:
            said = {"Skvaller-Tag-Age": str(age_s), "Skvaller-Tag-Authority": "upstream"}
            return reply(asked, b"", {"Docker-Content-Digest": image.manifest, **said})
        return content(image)(asked)

    return answer


def test_one_member_cannot_say_what_a_tag_means(
    site: Site, agent: Agent, other: Agent, first_on_ring: Callable[[str, Answer], RogueMember]
) -> None:
    """It comes first on the tag's ring, and answers with an image of its own, while upstream is up."""
    right, evil = site.image("stable", 100_000), site.unpublished("stable", 110_000)
    first_on_ring("stable", means(evil))
    for node in (agent, other):
        for _ in range(2):
            got = ask_locally(node, request(manifest_path("stable"), method="HEAD"))
            assert got.headers.get("docker-content-digest") == right.manifest, f"{node.name} gives another image"


def test_one_member_cannot_keep_a_tag_as_it_was(
    site: Site, agent: Agent, other: Agent, first_on_ring: Callable[[str, Answer], RogueMember]
) -> None:
    """It comes first on the tag's ring, and says that an old image with a known hole is still the newest."""
    old, new = site.image("rolling", 100_000), site.unpublished("rolling", 120_000)
    first_on_ring("rolling", means(old))
    site.upstream.push(new, "library/app", "rolling")
    got = ask_locally(agent, request(manifest_path("rolling"), method="HEAD"))
    assert got.headers.get("docker-content-digest") == new.manifest


def test_a_contradiction_shows(
    site: Site, agent: Agent, other: Agent, first_on_ring: Callable[[str, Answer], RogueMember]
) -> None:
    """A member that lied about a tag is named in the log and on the status page, so that people learn of it."""
    site.image("shown", 100_000)
    liar = first_on_ring("shown", means(site.unpublished("shown", 130_000)))
    assert ask_locally(agent, request(manifest_path("shown"), method="HEAD")).status == 200
    if not any("/manifests/" in asked.path for asked in liar.web.asked if liar.web):  # type: ignore[union-attr]
        return  # it was never believed, or asked: its place on the ring was not its own to choose
    assert liar.name in agent.output


def test_odd_answers_about_tags_are_stood(
    site: Site, agent: Agent, other: Agent, first_on_ring: Callable[[str, Answer], RogueMember]
) -> None:
    """It answers about a tag with a huge body, an age of the future, and digests that are none."""
    image = site.image("odd-tag", 100_000)
    answers = iter(
        [
            b"HTTP/1.1 200 OK\r\nDocker-Content-Digest: sha256:x\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nDocker-Content-Digest: %s\r\nSkvaller-Tag-Age: -1e308\r\n"
            b"Skvaller-Tag-Authority: upstream\r\nContent-Length: 10000000000\r\n\r\n" % b"sha256:" + b"0" * 64,
            b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 50_000_000 + b"\r\n\r\n",
        ]
    )
    first_on_ring("odd-tag", lambda asked: next(answers, missing(asked)))
    with harmless(agent, other):
        for _ in range(3):
            got = ask_locally(agent, request(manifest_path("odd-tag"), method="HEAD"))
            assert got.headers.get("docker-content-digest") == image.manifest
