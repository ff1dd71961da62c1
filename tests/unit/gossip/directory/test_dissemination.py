"""Additions and filters that a node hears of, and fetches."""

import random
from collections.abc import Callable

import pytest

from gossip.core.errors import WireError
from gossip.core.events import Rejected
from gossip.core.messages import KEY_BYTES, Done, Entry, Offer, Ops, Pull
from gossip.core.packets.codec import U32_MAX, decode_packet
from tests.unit.gossip.conftest import Peer
from tests.unit.gossip.directory.sharing import introduce, keys, share


def test_offers_become_one_fetch_of_what_is_still_lacking(peer: Callable[..., Peer]) -> None:
    node = peer()
    introduce(node, "n1", "n2", "n3", "n4")
    node.node.dials()
    node.hear("n1", Offer(Entry("n2", 1, 0, 1, 500)), Offer(Entry("n3", 1, 0, 1, 500)))
    node.hear("n1", Offer(Entry("n4", 9, 0, 1, 500)), Offer(Entry("n9", 1, 0, 1, 500)))
    share(node, "n3", keys(1, 3))
    node.pass_time(node.now + 0.2)
    (dial,) = [dial for dial in node.node.dials() if dial.purpose is not None and dial.purpose.value == "fetch"]
    assert dial.remote == node.address("n1")
    dial.feed(b"\x11" + bytes(16), node.now)
    _, frame = dial.frames()
    said = decode_packet(frame[9:], 1 << 20).messages
    assert said == (Pull((Entry("n2", 1, 0, 0, 0), Entry("n3", 1, 0, 0, 3))), Done())


def test_additions_too_long_for_a_rumour_are_learned_and_not_passed_on(peer: Callable[..., Peer]) -> None:
    """Equal keys compress: 8,000 bytes of them come in a datagram of 60, and fit no rumour."""
    node = peer()
    node.hear("n1", node.alive("n1"))
    node.hear("n1", Ops("n1", 1, 1, 14, 0, bytes(1000 * KEY_BYTES)))
    assert [member.name for member in node.node.view.holders(bytes(8))] == ["n1"]
    node.pass_time(node.now + 1)
    assert not any(isinstance(message, Ops) for _, message in node.said())


@pytest.mark.parametrize("sequence", [0, 1000, 300_000])
def test_filter_far_too_large_for_its_keys_takes_no_memory(peer: Callable[..., Peer], sequence: int) -> None:
    """60 bytes in a datagram would have made this node keep 2**26 rows."""
    node = peer()
    node.hear("n1", node.alive("n1"))
    node.hear("n1", Ops("n1", 1, 1, 26, 0, b""))
    assert [event.reason for event in node.events(Rejected)] == ["size"]
    with pytest.raises(WireError):
        node.node.dissemination.install(Entry("n1", 1, 0, 1, sequence), 26, bytes(1 << 23), node.now)
    assert node.node.view.replica("n1").filter.bits_log2 == 14  # type: ignore[union-attr]


@pytest.mark.parametrize("bits_per_key", [8, 64])
@pytest.mark.parametrize("key_count", [0, 1, 150, 3000])
def test_filters_that_nodes_make_are_not_too_large(
    peer: Callable[..., Peer], bits_per_key: int, key_count: int
) -> None:
    owner, other = peer(filter_bits_per_key=bits_per_key), peer()
    owner.node.advertise((random.Random(i).randbytes(8) for i in range(key_count)), owner.now)
    owner.pass_time(owner.now + 1)
    own = owner.node.view.published
    other.hear("n1", other.alive("n1"))
    entry = Entry("n1", 1, 0, own.generation, own.sequence)
    other.node.dissemination.install(entry, own.filter.bits_log2, bytes(own.filter.bits), other.now)
    assert other.node.view.replica("n1").version == (1, own.generation, key_count)  # type: ignore[union-attr]


def test_count_of_keys_stays_within_what_can_be_said(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n1", node.alive("n1"))
    node.node.dissemination.install(Entry("n1", 1, 0, 1, U32_MAX), 14, bytes(2048), node.now)
    node.hear("n1", Ops("n1", 1, 1, 14, U32_MAX, bytes(8)))
    assert [event.reason for event in node.events(Rejected)] == ["size"]
    assert node.node.view.replica("n1").sequence == U32_MAX  # type: ignore[union-attr]
