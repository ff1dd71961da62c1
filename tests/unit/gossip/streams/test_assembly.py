"""Filters from their chunks."""

import random

import pytest

from gossip.core.membership.member import PROTOCOL
from gossip.core.messages import Alive, Chunk, Entry
from tests.unit.gossip.conversing import NOW, address, node
from tests.unit.gossip.streams.hand import Hand, refused

ENTRY = Entry("x", 1, 0, 1, 2000)


def introduced() -> Hand:
    """A hand that a node knows as a member, so that a filter of it can arrive."""
    answering = node(0)
    hand = Hand(answering)
    answering.membership.believe(Alive("x", 1, 0, address(5), b"", PROTOCOL), NOW)
    assert answering.view.member("x") is not None
    return hand


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([Chunk(ENTRY, 14, 100, b"x")], id="not from the start"),
        pytest.param([Chunk(ENTRY, 14, 0, bytes(100)), Chunk(ENTRY, 14, 101, b"x")], id="a gap"),
        pytest.param([Chunk(ENTRY, 14, 0, bytes(100)), Chunk(ENTRY, 14, 99, b"x")], id="twice"),
        pytest.param([Chunk(ENTRY, 14, 0, bytes(2049))], id="longer than the filter"),
        pytest.param([Chunk(ENTRY, 14, 0, bytes(100)), Chunk(ENTRY, 15, 100, b"x")], id="another size"),
        pytest.param(
            [Chunk(ENTRY, 14, 0, bytes(100)), Chunk(Entry("x", 1, 0, 1, 1001), 14, 100, b"x")], id="another version"
        ),
    ],
)
def test_chunk_of_another_place_or_filter_ends_the_conversation(chunks: list[Chunk]) -> None:
    hand = introduced()
    for chunk in chunks[:-1]:
        hand.say(chunk)
    with refused("order"):
        hand.say(chunks[-1])


def test_half_a_filter_is_none_and_may_begin_anew() -> None:
    answering = node(0)
    hand, bits = Hand(answering), random.Random(1).randbytes(2048)
    hand.say(Alive("x", 1, 0, address(5), b"", PROTOCOL), Chunk(ENTRY, 14, 0, bytes(2000)))
    assert answering.view.replica("x") is None
    hand.say(Chunk(ENTRY, 14, 0, bits[:1000]), Chunk(ENTRY, 14, 1000, bits[1000:]))
    assert answering.view.replica("x").filter.packed() == bits  # type: ignore[union-attr]
