"""What two nodes give each other over a stream."""

import random
from collections.abc import Callable, Sequence

import pytest

from gossip.core.errors import WireError
from gossip.core.membership.member import PROTOCOL, State
from gossip.core.messages import Entries, Entry, Message, Offer, Pull, Record
from gossip.core.packets.codec import CHUNK_MAX_BYTES
from gossip.core.streams.purpose import Purpose
from tests.unit.gossip.conftest import Peer
from tests.unit.gossip.conversing import KEYRINGS, NOW, acquainted, address, converse, node
from tests.unit.gossip.handmade import ELSEWHERE
from tests.unit.gossip.streams.hand import answering, frame


@KEYRINGS
def test_filter_of_several_chunks_is_fetched(keys: Sequence[bytes]) -> None:
    one, other = node(0, keys, filter_bits_per_key=64), node(1, keys)
    held = [random.Random(number).randbytes(8) for number in range(10_000)]
    acquainted(one, other)
    one.advertise(held, NOW)
    while one.view.unpublished:
        one.tick(NOW)
    assert len(one.view.published.filter.packed()) > CHUNK_MAX_BYTES
    other.dissemination.hear_offer(Offer(one.view.published.entry("n0", 0)), address(0), NOW)
    other.tick(NOW + 0.4)
    (fetch,) = [exchange for exchange in other.dials() if exchange.purpose is Purpose.FETCH]
    carried = converse(fetch, one.answer(address(1)))
    copy = other.view.replica("n0")
    assert copy is not None
    assert (copy.version, copy.filter.packed()) == (one.view.published.version, one.view.published.filter.packed())
    assert all(other.view.holders(key) for key in held[:100])
    assert carried < 2 * len(one.view.published.filter.packed())


@pytest.mark.parametrize("kind", ["pull", "entries", "records"])
def test_no_more_members_are_spoken_of_than_a_cluster_has(peer: Callable[..., Peer], kind: str) -> None:
    """Repeated entries compress: without a bound a short stream could fill the memory."""
    node = peer(members_max=10)
    half = answering(node)
    repeated: dict[str, Message] = {
        "pull": Pull((Entry("x", 0, 0, 0, 0),)),
        "entries": Entries(0, (Entry("x", 1, 0, 0, 0),)),
        "records": Record("x", 1, 0, State.ALIVE, ELSEWHERE, b"", PROTOCOL),
    }
    half.feed(frame(*[repeated[kind]] * 11), node.now)
    with pytest.raises(WireError) as refused:
        half.feed(frame(repeated[kind]), node.now)
    assert refused.value.reason == "size"
