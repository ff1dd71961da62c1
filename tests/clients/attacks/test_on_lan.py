"""A stranger on the network of a cluster without a key: by the documentation he may be a member.

One packet of his must still not redirect a member's traffic, end a running node, or fill the cluster with inventions.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from gossip.core.membership.member import PROTOCOL
from gossip.core.membership.member import Address as GossipAddress
from gossip.core.messages import Alive, Dead, Left, NameClaim, Ops, Ping, Suspect
from mirror.oci.digest import Digest
from testbed.agents import GOSSIP_PORT, PEER_PORT, Agent, Endpoints
from testbed.network import Address, Host
from testbed.processes import wait_until
from tests.clients.attacks.attackers import (
    MEBIBYTE,
    Stranger,
    Web,
    harmless,
    is_right,
    missing,
    packet,
    pull_blob,
)
from tests.clients.attacks.conftest import Site

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

FAR_EPOCH = 2**62
METADATA = b'{"port": 5001, "home": "yes"}'


@pytest.fixture(scope="module")
def a(site: Site) -> Agent:
    return site.agent("a")


@pytest.fixture(scope="module")
def b(site: Site, a: Agent) -> Agent:
    return site.agent("b", join=[a])


@pytest.fixture(scope="module")
def stranger(site: Site) -> Stranger:
    return site.stranger()


def alive(name: str, host: str, *, port: int = GOSSIP_PORT, epoch: int = FAR_EPOCH, incarnation: int = 1) -> Alive:
    return Alive(name, epoch, incarnation, GossipAddress(host, port), METADATA, PROTOCOL)


def gossip_of(agent: Agent) -> Address:
    return Address(agent.host, GOSSIP_PORT)


def peer_url(agent: Agent, member: str) -> set[str]:
    return {row["peer"] for row in agent.members() if row["name"] == member and row["state"] == "alive"}


def until_heard(agent: Agent, stranger: Stranger) -> None:
    """Wait until an agent has worked through all datagrams sent before."""
    received = 'skvaller_gossip_datagrams_total{direction="received"}'
    before = agent.metrics()[received]
    stranger.send(gossip_of(agent), packet("nobody", Ping(1, agent.name)))
    wait_until(
        lambda: agent.metrics()['skvaller_gossip_datagrams_total{direction="received"}'] > before,
        f"{agent.name} to hear",
    )


@pytest.mark.parametrize("epoch", ["far", "same"])
def test_one_packet_redirects_no_members_traffic(
    epoch: str, site: Site, a: Agent, b: Agent, stranger: Stranger
) -> None:
    """He says in one packet that b has moved to his own address, and waits for what a then asks him."""
    image = site.image(f"redirected-{epoch}", 2 * MEBIBYTE)
    layer = image.layers[0]
    assert is_right(pull_blob(b, layer), layer)
    a.until_found(layer, "b")
    with Web(stranger.host, PEER_PORT, missing) as trap:
        told = [alive("b", stranger.host.address)]
        if epoch == "same":
            told = [alive("b", stranger.host.address, epoch=1, incarnation=n) for n in (2**31, 2**32 - 1)]
        stranger.send(gossip_of(a), packet("b", *told), packet("stranger", *told))
        until_heard(a, stranger)
        assert is_right(pull_blob(a, layer), layer)
        assert not trap.asked, "b's traffic went to him"
    assert peer_url(a, "b") in (set(), {f"http://{b.host}:{PEER_PORT}"})
    wait_until(lambda: peer_url(a, "b") == {f"http://{b.host}:{PEER_PORT}"}, "a to see b where it is")


def test_a_namesake_ends_no_running_node(a: Agent, b: Agent, stranger: Stranger) -> None:
    """He says that another node, which began earlier, has a's name: a goes on, for nobody answers in that name."""
    for epoch in (1, FAR_EPOCH):
        stranger.send(
            gossip_of(a),
            packet("a", NameClaim(epoch, 1), epoch=epoch),
            packet("a", NameClaim(epoch, 2**63), epoch=epoch),
            packet("a", alive("a", stranger.host.address, epoch=epoch), epoch=epoch),
            packet("a", Ping(7, "a"), epoch=epoch),
        )
    for _ in range(3):
        until_heard(a, stranger)
    assert a.running
    assert "is also the name" not in a.output
    assert a.get("/readyz") == b"ready\n"
    wait_until(lambda: b.states().get("a") == "alive", "b to see a alive")
    wait_until(lambda: peer_url(b, "a") == {f"http://{a.host}:{PEER_PORT}"}, "b to see a where it is")


def test_clone_of_a_running_node_ends_and_never_takes_its_place(site: Site, a: Agent, b: Agent) -> None:
    host = site.host("clone")
    endpoints = Endpoints.at(host.address, "127.0.0.1")
    for attempt, through in enumerate((a, b)):
        folder = site.folder / f"clone-{attempt}"
        clone = Agent(folder, "a", endpoints, ["--join", through.gossip], netns=host.netns)
        site.stack.callback(clone.kill)
        clone.launch()
        assert clone.wait() != 0
        assert "a is also the name of the node at" in clone.output
        assert peer_url(b, "a") == {f"http://{a.host}:{PEER_PORT}"}
    assert a.running


def test_rumours_of_death_end_no_member(a: Agent, b: Agent, stranger: Stranger) -> None:
    """He says that b is suspected, dead, and has left: b says that it lives, and a goes on asking it."""
    for word in (Suspect, Dead):
        stranger.send(gossip_of(a), packet("stranger", *(word("b", epoch, 2**31, "x") for epoch in (1, FAR_EPOCH))))
    stranger.send(gossip_of(a), packet("b", Left("b", FAR_EPOCH, 0), Left("b", 1, 0)))
    until_heard(a, stranger)
    wait_until(lambda: a.states().get("b") == "alive", "a to see b alive")


def test_invented_members_hold_no_pull_up(site: Site, a: Agent, b: Agent, stranger: Stranger) -> None:
    """He invents 2,000 members, at addresses where nobody is, who hold everything: a client waits for none of them."""
    image = site.image("invented", 3 * MEBIBYTE, 100_000)
    keys = b"".join(Digest.parse(digest).key[:8] for digest in image.digests)
    with harmless(a, b):
        for number in range(2000):
            name, nowhere = f"invented-{number}", f"10.78.0.{200 + number % 50}"
            ops = Ops(name, FAR_EPOCH, 1, 14, 0, keys)
            stranger.send(gossip_of(a), packet(name, alive(name, nowhere), ops, epoch=FAR_EPOCH))
        until_heard(a, stranger)
        with ThreadPoolExecutor(3) as threads:
            pulls = {digest: threads.submit(partial(pull_blob, a, digest)) for digest in (image.config, *image.layers)}
            for digest, pull in pulls.items():
                assert is_right(pull.result(20), digest), "not within 20 s"
    invented = sum(name.startswith("invented") for name in a.states())
    assert invented <= 1100, f"{invented} invented members are known"


def test_invented_members_do_not_stay(a: Agent, b: Agent, stranger: Stranger) -> None:
    """Nor do they keep a real member out: a third agent joins, and is seen."""
    wait_until(lambda: {"a", "b"} <= a.alive() & b.alive(), "a and b to see each other")
    assert not any(name.startswith("invented") for name in b.alive() & a.homes())


def test_a_filter_in_anothers_name_hides_nothing(site: Site, a: Agent, b: Agent, stranger: Stranger) -> None:
    """He says in b's name that b's filter is new, empty and huge: what b holds is found again."""
    image = site.image("hidden", 2 * MEBIBYTE)
    layer = image.layers[0]
    assert is_right(pull_blob(b, layer), layer)
    a.until_found(layer, "b")
    with harmless(a, b):
        for bits in (14, 20, 26):
            stranger.send(gossip_of(a), packet("b", Ops("b", FAR_EPOCH, 2**32 - 1, bits, 0, os.urandom(80))))
        until_heard(a, stranger)
    a.until_found(layer, "b")


def test_one_address_gets_no_more_than_it_sent(site: Site, a: Agent, b: Agent, stranger: Stranger) -> None:
    """He asks in the name of a bystander's address: the answers do not drown the bystander."""
    bystander: Host = site.host("bystander")
    before = site.network.traffic()["bystander"].received
    payloads = [
        packet("x", Ping(n, a.name), alive(f"forged-{n}", bystander.address, port=9), epoch=FAR_EPOCH)
        for n in range(300)
    ]
    stranger.send(gossip_of(a), *payloads)
    until_heard(a, stranger)
    got = site.network.traffic()["bystander"].received - before
    assert got <= 10 * sum(map(len, payloads)), f"{got} bytes for {sum(map(len, payloads))}"
