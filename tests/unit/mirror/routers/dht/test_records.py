"""Provider records: they expire after minutes, and there is a bound on them; and what a peer says of itself."""

import json
from typing import Any, cast

import pytest

from mirror.routers import Peer

pytest.importorskip("libp2p")

from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo

from mirror.oci.digest import Digest
from mirror.routers.dht.network import endpoint_line, read_endpoint, tcp_address
from mirror.routers.dht.records import PROVIDERS_MAX, Records, multihash


def provider(number: int) -> PeerInfo:
    identity = ID.from_pubkey(create_new_key_pair(number.to_bytes(32, "big")).public_key)
    return PeerInfo(identity, [tcp_address("10.0.0.1", 4001)])


class Host:
    """What the library's store asks its host."""

    def get_id(self) -> ID:
        return provider(99).peer_id


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


KEY, A, B = multihash(bytes(32)), provider(1), provider(2)


def records(clock: Clock, most: int = 100) -> Records:
    return Records(cast("Any", Host()), 60.0, most, clock)


def names(kept: Records, key: bytes = KEY) -> list[ID]:
    return [info.peer_id for info in kept.get_providers(key)]


def test_a_record_counts_until_it_expires_and_anew_when_it_is_told_again() -> None:
    clock = Clock()
    kept = records(clock)
    kept.add_provider(KEY, A)
    clock.now = 1030.0
    kept.add_provider(KEY, B)
    clock.now = 1059.0
    assert names(kept) == [A.peer_id, B.peer_id]
    clock.now = 1060.0
    assert names(kept) == [B.peer_id]
    kept.add_provider(KEY, B)
    clock.now = 1119.0
    assert names(kept) == [B.peer_id]
    kept.cleanup_expired()
    assert kept.size() == 1
    clock.now = 1120.0
    kept.cleanup_expired()
    assert kept.size() == 0
    assert not kept.providers


def test_records_are_bounded_and_what_is_dropped_makes_room() -> None:
    kept = records(Clock(), most=2)
    for number in range(3):
        kept.add_provider(multihash(bytes([number] * 32)), A)
    assert kept.size() == 2
    assert not names(kept, multihash(bytes([2] * 32)))
    kept.drop(KEY, A.peer_id)
    kept.drop(KEY, A.peer_id)
    kept.add_provider(multihash(bytes([2] * 32)), A)
    assert names(kept, multihash(bytes([2] * 32))) == [A.peer_id]


def test_one_key_has_k_providers_at_most() -> None:
    kept = records(Clock())
    for number in range(PROVIDERS_MAX + 1):
        kept.add_provider(KEY, provider(number + 1))
    assert len(names(kept)) == PROVIDERS_MAX


def test_the_key_of_a_digest_is_the_multihash_of_its_content() -> None:
    digest = Digest.of(b"content")
    assert multihash(digest.key).hex() == "1220" + digest.hex


@pytest.mark.parametrize("tls", [False, True])
def test_what_a_node_says_of_itself_is_read_with_the_address_from_which_it_does(tls: bool) -> None:
    line = endpoint_line(Peer("node-1", "10.9.9.9", 5001, tls), 4001)
    assert read_endpoint(line, "fd00::1") == (Peer("node-1", "fd00::1", 5001, tls), 4001)
    assert len(line) < 200


@pytest.mark.parametrize(
    "change",
    [
        {"name": "up, down"}, {"name": 7}, {"name": ""}, {"port": 0}, {"port": 65536}, {"port": "5001"}, {"port": True},
        {"dht": None}, {"dht": -1},
    ],
)  # fmt: skip
def test_a_peer_that_says_nonsense_of_itself_is_none(change: dict[str, object]) -> None:
    said = {"name": "node-1", "port": 5001, "dht": 4001}
    assert read_endpoint(json.dumps(said).encode(), "10.0.0.1") is not None
    assert read_endpoint(json.dumps(said | change).encode(), "10.0.0.1") is None


@pytest.mark.parametrize("line", [b"", b"[]", b"{", b"\xff", b"[" * 512, b"null"])
def test_what_is_no_object_is_none(line: bytes) -> None:
    assert read_endpoint(line, "10.0.0.1") is None
