"""Fingerprints of views, and what is said about differences."""

import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.core.directory.reconcile import Versions, bucket_of
from gossip.core.directory.replicas import Applied
from gossip.core.membership.member import PROTOCOL
from gossip.core.messages import (
    BUCKETS,
    KEY_BYTES,
    Alive,
    Buckets,
    Chunk,
    Dead,
    Entries,
    Entry,
    Left,
    Message,
    Offer,
    Ops,
    Suspect,
)
from gossip.core.packets.codec import CHUNK_MAX_BYTES, encode_message
from tests.unit.gossip.conftest import Peer
from tests.unit.gossip.directory.sharing import introduce, keys, share

ROOM_BYTES = 1300


entries = st.builds(
    Entry, st.sampled_from([f"n{i}" for i in range(50)]), *[st.integers(0, 2**32 - 1) for _ in range(4)]
)


@given(st.lists(entries, max_size=40), st.randoms(use_true_random=False))
def test_fingerprint_depends_on_what_is_known_not_on_how_it_came(said: list[Entry], chance: random.Random) -> None:
    latest = {entry.name: entry for entry in said}
    one, other = Versions(), Versions()
    for entry in said:
        one.set(entry)
    shuffled = list(latest.values())
    chance.shuffle(shuffled)
    for entry in [Entry("gone", 1, 1, 1, 1), *shuffled]:
        other.set(entry)
    other.drop("gone")
    assert one.fingerprint == other.fingerprint
    assert one.differing(other.buckets()) == 0
    assert {entry.name: entry for entry in one} == latest


@pytest.mark.parametrize("field", ["epoch", "incarnation", "generation", "sequence"])
def test_every_part_of_a_version_shows_in_its_bucket_only(field: str) -> None:
    one, other = Versions(), Versions()
    for number in range(60):
        entry = Entry(f"n{number}", 1, 2, 3, 4)
        one.set(entry)
        changes: dict[str, Any] = {field: 9} if number == 7 else {}
        other.set(replace(entry, **changes))
    assert one.fingerprint != other.fingerprint
    assert one.differing(other.buckets()) == 1 << bucket_of("n7")
    assert "n7" in {entry.name for entry in other.within(1 << bucket_of("n7"))}


def test_small_view_is_compared_at_once_and_a_large_one_by_buckets(peer: Callable[..., Peer]) -> None:
    small, large = peer(), peer()
    introduce(small, "n1", "n2")
    introduce(large, *[f"n{i}" for i in range(1, 120)])
    opening = small.node.dissemination.reconciler.opening()
    assert isinstance(opening, Entries)
    assert {entry.name for entry in opening.entries} == {"n0", "n1", "n2"}
    assert isinstance(large.node.dissemination.reconciler.opening(), Buckets)


def test_buckets_are_answered_with_what_differs(peer: Callable[..., Peer]) -> None:
    one, other = peer(), peer()
    names = [f"n{i}" for i in range(1, 120)]
    introduce(one, *names)
    introduce(other, *names)
    introduce(other, "n50", incarnation=3)
    theirs = one.node.dissemination.reconciler.opening()
    assert isinstance(theirs, Buckets)
    answer = other.node.dissemination.reconciler.answer_buckets(theirs)
    assert isinstance(answer, Entries)
    assert answer.complete == 1 << bucket_of("n50")
    listed = {entry.name for entry in answer.entries}
    assert listed == {name for name in ["n0", *names] if bucket_of(name) == bucket_of("n50")}
    assert one.node.dissemination.reconciler.lacking(answer) == [Entry("n50", 1, 0, 0, 0)]
    assert one.node.dissemination.reconciler.surplus(answer) == []
    introduce(one, "n50", incarnation=3)
    theirs = one.node.dissemination.reconciler.opening()
    assert isinstance(theirs, Buckets)
    assert other.node.dissemination.reconciler.answer_buckets(theirs) is None


def test_answers_to_buckets_fit_a_datagram_however_much_differs(peer: Callable[..., Peer]) -> None:
    one, other = peer(), peer()
    introduce(other, *[f"n{i}" for i in range(1, 250)])
    answer = other.node.dissemination.reconciler.answer_buckets(Buckets(bytes(8 * BUCKETS)))
    assert isinstance(answer, Entries)
    assert len(encode_message(answer)) <= ROOM_BYTES
    assert answer.complete
    lacking = one.node.dissemination.reconciler.lacking(answer)
    assert len(lacking) == len([e for e in answer.entries if e.name != "n0"]) > 10
    assert len(encode_message(one.node.dissemination.reconciler.pull(lacking))) <= ROOM_BYTES


N1 = Entry("n1", 1, 2, 0, 3)  # what the node knows of n1 in the tests below


@pytest.mark.parametrize(
    ("theirs", "lacking", "surplus"),
    [
        pytest.param(N1, False, False, id="the same"),
        pytest.param(replace(N1, incarnation=3), True, False, id="their record is newer"),
        pytest.param(replace(N1, incarnation=1), False, True, id="our record is newer"),
        pytest.param(replace(N1, sequence=4), True, False, id="they have more keys"),
        pytest.param(replace(N1, sequence=2), False, True, id="we have more keys"),
        pytest.param(replace(N1, generation=1, sequence=0), True, False, id="a later filter"),
        pytest.param(replace(N1, epoch=2, incarnation=0, sequence=0), True, False, id="a later run"),
        pytest.param(replace(N1, epoch=0, incarnation=9, sequence=9), False, True, id="an earlier run"),
        pytest.param(replace(N1, incarnation=3, sequence=1), True, True, id="each has something"),
        pytest.param(None, False, True, id="they do not know it"),
    ],
)
def test_who_lacks_what(peer: Callable[..., Peer], theirs: Entry | None, lacking: bool, surplus: bool) -> None:
    node = peer()
    introduce(node, "n1", incarnation=2)
    share(node, "n1", keys(1, 3))
    ours = node.node.dissemination.reconciler.entry("n0")
    assert ours is not None
    view = Entries(2**32 - 1, (ours,) if theirs is None else (theirs, ours))
    assert node.node.dissemination.reconciler.lacking(view) == ([N1] if lacking else [])
    unknown = Entry("n1", 0, 0, 0, 0)
    assert node.node.dissemination.reconciler.surplus(view) == ([theirs or unknown] if surplus else [])


def test_view_that_is_incomplete_is_no_reason_to_give_the_rest(peer: Callable[..., Peer]) -> None:
    node = peer()
    introduce(node, "n1", "n2")
    assert node.node.dissemination.reconciler.surplus(Entries(0, ())) == []
    assert len(node.node.dissemination.reconciler.surplus(Entries(1 << bucket_of("n1"), ()))) == 1


def test_of_itself_a_node_lacks_nothing(peer: Callable[..., Peer]) -> None:
    node = peer()
    assert node.node.dissemination.reconciler.lacking(Entries(0, (Entry("n0", 99, 9, 9, 9),))) == []


UNKNOWN = Entry("n1", 0, 0, 0, 0)


def given_to(peer: Peer, theirs: Entry) -> list[Message]:
    return list(peer.node.dissemination.reconciler.give(theirs))


def test_stranger_to_them_is_given_with_record_and_keys(peer: Callable[..., Peer]) -> None:
    node, added = peer(), keys(1, 3)
    introduce(node, "n1")
    share(node, "n1", added)
    alive = Alive("n1", 1, 0, node.address("n1"), b"", PROTOCOL)
    assert given_to(node, UNKNOWN) == [alive, Ops("n1", 1, 0, 14, 0, added)]
    assert given_to(node, Entry("n9", 0, 0, 0, 0)) == []


@pytest.mark.parametrize(("has", "start"), [(0, 0), (1, 1), (299, 299)])
def test_missing_keys_are_given_one_by_one_within_the_log(peer: Callable[..., Peer], has: int, start: int) -> None:
    node, added = peer(log_keys=1000), keys(1, 300)
    introduce(node, "n1")
    share(node, "n1", added)
    given = given_to(node, Entry("n1", 1, 0, 0, has))
    assert b"".join(ops.keys for ops in given if isinstance(ops, Ops)) == added[start * KEY_BYTES :]
    assert next(ops.start for ops in given if isinstance(ops, Ops)) == start
    assert all(isinstance(ops, Ops) and len(encode_message(ops)) <= ROOM_BYTES for ops in given)


@pytest.mark.parametrize(("has", "offered"), [(199, True), (200, False), (300, False)])
def test_beyond_the_log_the_filter_is_offered(peer: Callable[..., Peer], has: int, offered: bool) -> None:
    node = peer(log_keys=100)
    introduce(node, "n1")
    share(node, "n1", keys(1, 300))
    given = given_to(node, Entry("n1", 1, 0, 0, has))
    assert given == [Offer(Entry("n1", 1, 0, 0, 300))] if offered else not any(isinstance(it, Offer) for it in given)


def test_filter_of_another_generation_is_never_patched(peer: Callable[..., Peer]) -> None:
    node = peer()
    introduce(node, "n1")
    share(node, "n1", keys(1, 10))
    node.hear("n1", Ops("n1", 1, 1, 14, 0, keys(2, 5)))
    assert given_to(node, Entry("n1", 1, 0, 0, 10)) == [Ops("n1", 1, 1, 14, 0, keys(2, 5))]
    assert given_to(node, Entry("n1", 1, 0, 1, 5)) == []
    node.hear("n1", Ops("n1", 1, 2, 14, 0, b""))
    assert given_to(node, Entry("n1", 1, 0, 1, 5)) == [Ops("n1", 1, 2, 14, 0, b"")], "an empty filter is news, too"


@pytest.mark.parametrize(
    ("fate", "given"),
    [
        (Dead("n1", 1, 0, "n8"), Suspect("n1", 1, 0, "n0")),  # its death is hearsay: it shall have its chance
        (Left("n1", 1, 0), Left("n1", 1, 0)),
    ],
)
def test_what_became_of_the_gone_is_given_to_those_who_hold_them_for_alive(
    peer: Callable[..., Peer], fate: Message, given: Message
) -> None:
    node = peer()
    introduce(node, "n1")
    share(node, "n1", keys(1, 3))
    node.hear("n8", fate)
    assert node.node.dissemination.reconciler.surplus(Entries(2**32 - 1, (Entry("n1", 1, 0, 0, 3),)))[0].name == "n1"
    assert given_to(node, Entry("n1", 1, 0, 0, 0)) == [given]
    assert given_to(node, Entry("n1", 2, 0, 0, 0)) == [], "of a later run it knows nothing"


def test_filters_go_over_streams_in_chunks(peer: Callable[..., Peer]) -> None:
    node = peer()
    introduce(node, "n1")
    bits = random.Random(1).randbytes(1 << 17)
    node.node.dissemination.install(Entry("n1", 1, 0, 1, 70_000), 20, bits, node.now)
    chunks = [chunk for chunk in node.node.dissemination.reconciler.snapshots(UNKNOWN) if isinstance(chunk, Chunk)]
    assert [chunk.offset for chunk in chunks] == [0, CHUNK_MAX_BYTES]
    assert b"".join(chunk.bits for chunk in chunks) == bits
    assert {chunk.entry for chunk in chunks} == {Entry("n1", 1, 0, 1, 70_000)}


@pytest.mark.parametrize(
    ("meanwhile", "given"),
    [
        pytest.param([], [Entry("n1", 1, 0, 1, 2000)], id="nothing"),
        pytest.param([Ops("n1", 1, 1, 16, 2000, keys(3, 2))], [Entry("n1", 1, 0, 1, 2002)], id="it grew"),
        pytest.param(None, [], id="it was forgotten"),
    ],
)
def test_filter_goes_over_a_stream_as_it_is_when_its_turn_comes(
    peer: Callable[..., Peer], meanwhile: list[Ops] | None, given: list[Entry]
) -> None:
    """Between two messages of a stream, which is written as fast as the other end reads, anything can happen."""
    node = peer()
    introduce(node, "n1")
    node.node.dissemination.install(Entry("n1", 1, 0, 1, 2000), 16, bytes(1 << 13), node.now)
    messages = node.node.dissemination.reconciler.snapshots(UNKNOWN)
    assert isinstance(next(messages), Alive)
    if meanwhile is None:
        node.node.dissemination.directory.forget("n1")
    for ops in meanwhile or ():
        assert node.node.dissemination.directory.apply(ops) is Applied.NEW
    chunks = [message for message in messages if isinstance(message, Chunk)]
    assert [chunk.entry for chunk in chunks] == given
    assert all(any(chunk.bits) is bool(meanwhile) for chunk in chunks)


@pytest.mark.parametrize("crowded", [False, True], ids=["spread", "crowded in one bucket"])
def test_long_view_goes_over_a_stream_in_messages_that_one_packet_may_have(
    peer: Callable[..., Peer], crowded: bool
) -> None:
    dissemination = peer().node.dissemination
    names = (f"{number:0128}" for number in itertools.count())
    for name in itertools.islice((name for name in names if not crowded or bucket_of(name) == 3), 1000):
        dissemination.versions.set(Entry(name, 2**64 - 1, 2**32 - 1, 2**32 - 1, 2**32 - 1))
    said = list(dissemination.reconciler.everything())
    assert max(len(encode_message(part)) for part in said) <= 48 * 1024
    assert sorted(entry.name for part in said for entry in part.entries) == sorted(
        entry.name for entry in dissemination.versions
    )
    for part in said:
        for bucket in range(BUCKETS):
            if part.complete >> bucket & 1:
                assert set(dissemination.versions.within(1 << bucket)) <= set(part.entries)
    assert sum(part.complete for part in said) == (1 << BUCKETS) - 1 - crowded * (1 << 3)
