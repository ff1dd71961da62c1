"""Additions and filters that a node hears of, and fetches."""

import random
from collections.abc import Callable

import pytest

from gossip.core.errors import WireError
from gossip.core.events import FilterFull, Rejected
from gossip.core.messages import KEY_BYTES, Alive, Done, Entries, Entry, Message, Offer, Ops, Pull
from gossip.core.packets.codec import U32_MAX, decode_packet
from gossip.core.streams.purpose import Purpose
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
    assert [event.reason for event in node.events(Rejected)] == ["filter"]
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
    other.node.dissemination.install(entry, own.filter.bits_log2, own.filter.packed(), other.now)
    assert other.node.view.replica("n1").version == (1, own.generation, key_count)  # type: ignore[union-attr]


def test_count_of_keys_stays_within_what_can_be_said(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n1", node.alive("n1"))
    node.hear("n1", Ops("n1", 1, 1, 14, U32_MAX, bytes(8)))
    assert [event.reason for event in node.events(Rejected)] == ["filter"]
    assert node.node.view.replica("n1").sequence == 0  # type: ignore[union-attr]


def test_filter_beyond_the_setting_is_refused_but_its_version_known_so_that_nobody_asks_again(
    peer: Callable[..., Peer],
) -> None:
    node = peer(filter_bits_log2_max=16)
    node.hear("n1", node.alive("n1"))
    entry = Entry("n1", 1, 0, 3, 50_000)
    with pytest.raises(WireError, match=r"2\*\*16 are allowed"):
        node.node.dissemination.check_filter(entry, 20, node.now)
    replica = node.node.view.replica("n1")
    assert replica is not None
    assert (replica.version, replica.blank, replica.filter.packed()) == (entry.filter_version, True, b"")
    node.hear("n1", Offer(entry))
    node.pass_time(node.now + 2)
    assert not [exchange for exchange in node.node.dials() if exchange.purpose is Purpose.FETCH]
    node.hear("n1", Ops("n1", 1, 3, 20, 50_000, bytes(16)))
    assert node.node.view.replica("n1").version == (1, 3, 50_002)  # type: ignore[union-attr]
    assert node.node.view.holders(bytes(8)) == []


@pytest.mark.parametrize(
    ("bits_log2", "sequence", "ones"),
    [
        pytest.param(14, 1000, 8001, id="more bits than its keys have"),
        pytest.param(14, 4096, 15_000, id="as good as full"),
        pytest.param(14, 4097, 0, id="more keys than fit"),
    ],
)
def test_filter_that_says_yes_to_everything_is_refused(
    peer: Callable[..., Peer], bits_log2: int, sequence: int, ones: int
) -> None:
    node = peer()
    node.hear("n1", node.alive("n1"))
    bits = ((1 << ones) - 1).to_bytes(1 << (bits_log2 - 3), "little")
    with pytest.raises(WireError) as refused:
        node.node.dissemination.install(Entry("n1", 1, 0, 1, sequence), bits_log2, bits, node.now)
    assert refused.value.reason == "filter"
    assert node.node.view.holders(bytes(8)) == []


@pytest.mark.parametrize(
    "heard",
    [
        Ops("n0", 1, 7, 14, 0, bytes(8)),
        Offer(Entry("n0", 1, 0, 7, 5000)),
        Entries(0, (Entry("n1", 1, 0, 0, 0), Entry("n0", 1, 0, 7, 5000))),
    ],
    ids=["ops", "offer", "view"],
)
def test_invented_version_of_ones_own_filter_is_overtaken_by_a_new_run(
    peer: Callable[..., Peer], heard: Message
) -> None:
    """Who forged it would hide this node from all lookups, for its own versions are older."""
    node = peer()
    node.hear("n1", node.alive("n1"))
    node.node.advertise([b"mine" * 8], node.now)
    node.pass_time(node.now + 0.1)
    node.hear("n1", heard)
    renewed = node.node.view.me.epoch
    assert renewed > 1
    assert node.node.view.published.version == (renewed, 0, 1)
    node.pass_time(node.now + 0.1)
    assert renewed in [message.epoch for _, message in node.said() if isinstance(message, Alive)]
    node.hear("n1", heard)
    assert node.node.view.me.epoch == renewed


@pytest.mark.parametrize("generation", [3, 4])
def test_version_of_a_filter_that_is_too_large_is_noted_only_if_nothing_before_it_is_missing(
    peer: Callable[..., Peer], generation: int
) -> None:
    node = peer(filter_bits_log2_max=16)
    node.hear("n1", node.alive("n1"))
    with pytest.raises(WireError):
        node.node.dissemination.check_filter(Entry("n1", 1, 0, 3, 50_000), 20, node.now)
    node.hear("n1", Ops("n1", 1, generation, 20, 60_000, bytes(8)))
    assert node.node.view.replica("n1").version == (1, 3, 50_000)  # type: ignore[union-attr]


def test_news_of_ones_own_filter_that_come_back_change_nothing(peer: Callable[..., Peer]) -> None:
    node = peer()
    node.hear("n1", node.alive("n1"))
    node.node.advertise([b"mine" * 8], node.now)
    node.pass_time(node.now + 0.1)
    own = [message for _, message in node.said() if isinstance(message, Ops)]
    node.hear("n1", own[0])
    assert node.node.view.me.epoch == 1


def test_keys_beyond_the_largest_filter_are_told(peer: Callable[..., Peer]) -> None:
    node = peer(filter_bits_log2_max=14)
    room = (1 << 14) // 16
    held = [random.Random(i).randbytes(8) for i in range(room + 3)]
    node.node.advertise(held[:room], node.now)
    assert node.events(FilterFull) == []
    node.node.advertise(held, node.now)
    assert node.events(FilterFull) == [FilterFull(3, room)]
    assert node.node.view.key_count("n0") == room
