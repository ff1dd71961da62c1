"""The queue of rumours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.core.packets.rumours import Rumours, Topic, retransmit_limit

NEWS, KEYS = Topic.MEMBERSHIP, Topic.DIRECTORY


def named(letter: str) -> bytes:
    """A rumour of 20 bytes."""
    return letter.encode() * 20


def test_told_as_often_as_the_limit_then_gone() -> None:
    rumours = Rumours(100, 1000)
    rumours.add(NEWS, "a", named("a"))
    assert [rumours.take(100, 3) for _ in range(4)] == [[named("a")]] * 3 + [[]]
    assert len(rumours) == 0


def test_newer_rumour_of_a_slot_replaces_the_older() -> None:
    rumours = Rumours(100, 1000)
    rumours.add(NEWS, "slot", named("a"))
    rumours.take(100, 3)
    rumours.add(NEWS, "slot", named("b"))
    assert [rumours.take(100, 3) for _ in range(4)] == [[named("b")]] * 3 + [[]]


def test_least_told_first_then_newest() -> None:
    rumours = Rumours(100, 1000)
    for slot in ("a", "b"):
        rumours.add(NEWS, slot, named(slot))
    rumours.take(20, 9)  # tells b, the newest
    rumours.add(NEWS, "c", named("c"))
    assert rumours.take(60, 9) == [named("c"), named("a"), named("b")]


def test_rumour_that_does_not_fit_leaves_room_for_smaller_ones() -> None:
    rumours = Rumours(100, 1000)
    rumours.add(NEWS, "small", named("s"))
    rumours.add(NEWS, "large", b"l" * 50)
    assert rumours.take(40, 3) == [named("s")]


def test_classes_lead_in_turn_so_that_no_storm_starves_another() -> None:
    rumours = Rumours(1000, 1000)
    for i in range(500):
        rumours.add(NEWS, i, named("m"))
        rumours.add(KEYS, i, named("d"))
    rumours.add(Topic.USER, "long", b"u" * 200)
    packets = [rumours.take(200, 3) for _ in range(3)]
    assert sorted(packets) == [[named("d")] * 10, [named("m")] * 10, [b"u" * 200]]


def test_what_the_leader_leaves_is_for_the_others() -> None:
    rumours = Rumours(1000, 1000)
    for topic, letter in ((NEWS, "m"), (KEYS, "d"), (Topic.USER, "u")):
        rumours.add(topic, letter, named(letter))
    assert sorted(rumours.take(60, 9)) == [named("d"), named("m"), named("u")]


def test_rumour_too_long_for_any_packet_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Rumours(10, 20).add(NEWS, "a", b"x" * 21)


def test_bound_drops_what_was_told_most() -> None:
    rumours = Rumours(2, 1000)
    rumours.add(NEWS, "a", named("a"))
    rumours.take(100, 9)
    rumours.add(NEWS, "b", named("b"))
    rumours.add(NEWS, "c", named("c"))
    assert sorted(rumours.take(100, 9)) == [named("b"), named("c")]


@given(
    st.lists(st.tuples(st.sampled_from(list(Topic)), st.integers(0, 20), st.integers(16, 60)), max_size=40),
    st.integers(0, 200),
    st.integers(1, 5),
)
def test_never_over_budget_never_over_the_limit_and_always_done(
    added: list[tuple[Topic, int, int]], budget: int, limit: int
) -> None:
    rumours = Rumours(1000, 60)
    for order, (topic, slot, size) in enumerate(added):
        rumours.add(topic, slot, order.to_bytes(2, "big") + bytes(size - 2))
    queued = len(rumours)
    told: list[bytes] = []
    for _ in range(len(Topic) * limit * queued):
        packet = rumours.take(budget, limit)
        assert sum(map(len, packet)) <= budget
        assert len(set(packet)) == len(packet)
        told += packet
    assert all(told.count(rumour) == limit for rumour in told)
    assert budget < 60 or len(rumours) == 0


@pytest.mark.parametrize(("members", "limit"), [(1, 4), (9, 4), (10, 8), (99, 8), (100, 12), (1000, 16)])
def test_limit_grows_with_the_logarithm(members: int, limit: int) -> None:
    assert retransmit_limit(4, members) == limit
