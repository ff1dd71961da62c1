"""Seals of datagrams and streams."""

import random

import pytest

from gossip.core.errors import WireError
from gossip.core.membership.member import PROTOCOL, Span
from gossip.core.messages import FilterKind, KeyAction
from gossip.core.packets.keyring import Keyring, key_id
from gossip.core.packets.seal import Channel, Seal, Sealing

ONE, TWO = bytes(range(32)), bytes(range(1, 33))


LONG = b"a packet that is long enough for any header"


def seal(
    label: str = "",
    *keys: bytes,
    sealing: Sealing = Sealing.REQUIRE,
    protocol: Span = PROTOCOL,
    seed: int = 0,
    filters: FilterKind = FilterKind.BLOOM,
) -> Seal:
    return Seal(label, Keyring(keys), protocol, random.Random(seed).randbytes, sealing, filters)


def stream(dialler: Seal, acceptor: Seal) -> tuple[Channel, Channel]:
    """The two ends of one stream, past their greetings."""
    ours, theirs = dialler.channel(dialled=True), acceptor.channel(dialled=False)
    ours.greet(theirs.greeting)
    theirs.greet(ours.greeting)
    return ours, theirs


@pytest.mark.parametrize("keys", [(), (ONE,)])
def test_what_is_wrapped_unwraps(keys: tuple[bytes, ...]) -> None:
    wrapped = seal("c", *keys).wrap(b"packet")
    assert seal("c", *keys, seed=1).unwrap(wrapped).packet == b"packet"
    assert len(wrapped) == len(b"packet") + seal("c", *keys).overhead


def test_packets_of_one_run_bear_its_name_and_count_up() -> None:
    sender, receiver = seal("c", ONE, seed=1), seal("c", ONE, seed=2)
    opened = [receiver.unwrap(sender.wrap(b"same")) for _ in range(3)]
    assert [packet.counter for packet in opened] == [0, 1, 2]
    assert len({packet.run for packet in opened}) == 1
    assert receiver.unwrap(seal("c", ONE, seed=3).wrap(b"same")).run != opened[0].run


def test_sealed_packet_shows_nothing_of_its_content_and_never_looks_the_same() -> None:
    sender = seal("c", ONE)
    wrapped = {sender.wrap(b"packet")[-22:] for _ in range(10)}
    assert len(wrapped) == 10
    assert not any(b"packet" in one for one in wrapped)


def test_any_key_of_the_ring_opens_and_the_primary_seals() -> None:
    assert seal("c", ONE, TWO).unwrap(seal("c", TWO).wrap(b"packet")).packet == b"packet"
    assert key_id(ONE) in seal("c", ONE, TWO).wrap(b"packet")


def test_keys_change_step_by_step_without_a_packet_lost() -> None:
    nodes = [seal("c", ONE, seed=i) for i in range(3)]

    def all_hear_each_other() -> None:
        for sender in nodes:
            packet = sender.wrap(b"packet")
            assert all(receiver.unwrap(packet).packet == b"packet" for receiver in nodes)

    for change in (
        (KeyAction.INSTALL, TWO),
        (KeyAction.USE, key_id(TWO)),
        (KeyAction.REMOVE, key_id(ONE)),
    ):
        for node in nodes:
            node.change_keys(*change)
            all_hear_each_other()
    with pytest.raises(WireError, match="does not have"):
        nodes[0].unwrap(seal("c", ONE, seed=9).wrap(b"packet"))


@pytest.mark.parametrize(
    ("sender", "receiver", "reason"),
    [
        (seal("c"), seal("d"), "cluster"),
        (seal("c", ONE), seal("d", ONE), "seal"),
        (seal("c", ONE), seal("c", TWO), "key"),
        (seal("c", ONE), seal("c"), "seal"),
        (seal("c"), seal("c", ONE), "seal"),
        (seal("c", ONE, sealing=Sealing.ALLOW), seal("c", ONE), "seal"),
        (seal("c", protocol=Span(2, 3)), seal("c"), "version"),
        (seal("c", filters=FilterKind.EXACT), seal("c"), "kind"),
        (seal("c"), seal("c", filters=FilterKind.EXACT), "kind"),
        (seal("c", ONE, filters=FilterKind.EXACT), seal("c", ONE), "kind"),
    ],
)
def test_other_clusters_are_kept_out(sender: Seal, receiver: Seal, reason: str) -> None:
    with pytest.raises(WireError) as refused:
        receiver.unwrap(sender.wrap(LONG))
    assert refused.value.reason == reason


def test_kind_of_filters_is_sealed_and_one_that_nobody_knows_is_of_another_version() -> None:
    exact = seal("c", ONE, filters=FilterKind.EXACT).wrap(LONG)
    assert seal("c", ONE, filters=FilterKind.EXACT, seed=1).unwrap(exact).packet == LONG
    for first, reason in ((exact[0] & ~2, "seal"), (exact[0] | 4, "version")):
        with pytest.raises(WireError) as refused:
            seal("c", ONE, seed=1).unwrap(bytes((first,)) + exact[1:])
        assert refused.value.reason == reason


STEPS = [
    ((), Sealing.REQUIRE),
    ((ONE,), Sealing.ALLOW),
    ((ONE,), Sealing.PREFER),
    ((ONE,), Sealing.REQUIRE),
]


@pytest.mark.parametrize("step", range(len(STEPS) - 1))
def test_each_step_from_plain_to_sealed_understands_the_one_before(step: int) -> None:
    (old_keys, old), (new_keys, new) = STEPS[step], STEPS[step + 1]
    before, after = seal("c", *old_keys, sealing=old), seal("c", *new_keys, sealing=new, seed=1)
    assert after.unwrap(before.wrap(LONG)).packet == LONG
    assert before.unwrap(after.wrap(LONG)).packet == LONG
    for dialler, acceptor in ((before, after), (after, before)):
        ours, theirs = stream(dialler, acceptor)
        assert theirs.unwrap(ours.wrap(b"question")) == b"question"
        assert ours.unwrap(theirs.wrap(b"answer")) == b"answer"


def test_every_changed_byte_breaks_the_seal() -> None:
    wrapped = seal("c", ONE).wrap(b"packet")
    for place in range(len(wrapped)):
        damaged = bytearray(wrapped)
        damaged[place] ^= 1
        with pytest.raises(WireError):
            seal("c", ONE).unwrap(bytes(damaged))


@pytest.mark.parametrize("size", range(0, 48, 3))
@pytest.mark.parametrize("keys", [(), (ONE,)])
def test_fragment_is_refused(size: int, keys: tuple[bytes, ...]) -> None:
    wrapped = seal("c", *keys).wrap(b"")
    ours, theirs = stream(seal("c", *keys), seal("c", *keys, seed=1))
    with pytest.raises(WireError):
        seal("c", *keys).unwrap(wrapped[:size])
    with pytest.raises(WireError):
        theirs.unwrap(ours.wrap(b"")[: min(size, len(ours.wrap(b"")) - 1)])


def test_frames_belong_to_one_place_in_one_direction_of_one_stream() -> None:
    dialler, acceptor = seal("c", ONE), seal("c", ONE, seed=1)
    ours, theirs = stream(dialler, acceptor)
    first, second = ours.wrap(b"first"), ours.wrap(b"second")
    other = stream(dialler, acceptor)[1]
    for place, frame, reason in ((theirs, second, "place"), (other, first, "stream"), (ours, first, "direction")):
        with pytest.raises(WireError) as refused:
            place.unwrap(frame)
        assert refused.value.reason == "seal", reason


def test_datagram_is_not_taken_from_a_stream_nor_the_other_way_round() -> None:
    dialler, acceptor = seal("c", ONE), seal("c", ONE, seed=1)
    ours, theirs = stream(dialler, acceptor)
    with pytest.raises(WireError):
        theirs.unwrap(dialler.wrap(LONG))
    with pytest.raises(WireError):
        acceptor.unwrap(ours.wrap(LONG))


def test_acceptor_answers_with_the_key_it_was_asked_with() -> None:
    ours, theirs = stream(seal("c", TWO), seal("c", ONE, TWO, seed=1))
    theirs.unwrap(ours.wrap(b"question"))
    assert ours.unwrap(theirs.wrap(b"answer")) == b"answer"


def test_sealed_question_takes_no_plain_answer() -> None:
    ours, _ = stream(seal("c", ONE, sealing=Sealing.PREFER), seal("c"))
    with pytest.raises(WireError, match="not sealed as"):
        ours.unwrap(seal("c").channel(dialled=False).wrap(b"answer"))


@pytest.mark.parametrize(
    ("one", "other", "spoken"),
    [
        (Span(1, 1), Span(1, 2), 1),
        (Span(1, 2), Span(1, 1), 1),
        (Span(1, 3), Span(2, 4), 3),
        (Span(1, 2), Span(3, 4), None),
    ],
)
def test_streams_speak_the_highest_version_that_both_ends_understand(
    one: Span, other: Span, spoken: int | None
) -> None:
    if spoken is None:
        with pytest.raises(WireError) as refused:
            stream(seal(protocol=one), seal(protocol=other))
        assert refused.value.reason == "version"
        return
    ours, theirs = stream(seal(protocol=one), seal(protocol=other))
    frame = ours.wrap(LONG)
    assert frame[0] >> 4 == spoken
    assert theirs.unwrap(frame) == LONG
