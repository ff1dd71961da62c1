import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.core.rumours import Rumours, Topic, retransmit_limit

NEWS, KEYS = Topic.MEMBERSHIP, Topic.DIRECTORY


def test_told_as_often_as_the_limit_then_gone() -> None:
    rumours = Rumours(100, 1000)
    rumours.add(NEWS, "a", b"x")
    assert [rumours.take(10, 3) for _ in range(4)] == [[b"x"], [b"x"], [b"x"], []]
    assert not rumours


def test_newer_rumour_of_a_slot_replaces_the_older() -> None:
    rumours = Rumours(100, 1000)
    rumours.add(NEWS, "a", b"old")
    rumours.add(NEWS, "a", b"new")
    assert rumours.take(100, 3) == [b"new"]


def test_least_told_first_then_newest() -> None:
    rumours = Rumours(100, 1000)
    for slot in ("a", "b"):
        rumours.add(NEWS, slot, slot.encode())
    rumours.take(1, 9)  # tells b, the newest
    rumours.add(NEWS, "c", b"c")
    assert rumours.take(3, 9) == [b"c", b"a", b"b"]


def test_rumour_that_does_not_fit_leaves_room_for_smaller_ones() -> None:
    rumours = Rumours(100, 1000)
    rumours.add(NEWS, "small", b"s")
    rumours.add(NEWS, "large", b"l" * 50)
    assert rumours.take(10, 3) == [b"s"]


def test_storm_of_one_topic_leaves_half_of_the_packet_to_the_other() -> None:
    rumours = Rumours(1000, 1000)
    for i in range(100):
        rumours.add(NEWS, i, b"m" * 10)
    rumours.add(KEYS, "k", b"k" * 40)
    assert b"k" * 40 in rumours.take(100, 3)
    for i in range(100):
        rumours.add(KEYS, i, b"d" * 10)
    packet = rumours.take(100, 3)
    assert (packet.count(b"m" * 10), packet.count(b"d" * 10)) == (5, 5)


def test_rumour_too_long_for_any_packet_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Rumours(10, 20).add(NEWS, "a", b"x" * 21)


def test_bound_drops_what_was_told_most() -> None:
    rumours = Rumours(2, 1000)
    rumours.add(NEWS, "a", b"a")
    rumours.take(10, 9)
    rumours.add(NEWS, "b", b"b")
    rumours.add(NEWS, "c", b"c")
    assert sorted(rumours.take(10, 9)) == [b"b", b"c"]


@given(
    st.lists(st.tuples(st.sampled_from([NEWS, KEYS]), st.integers(0, 20), st.integers(2, 60)), max_size=40),
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
    for _ in range(limit * queued):
        packet = rumours.take(budget, limit)
        assert sum(map(len, packet)) <= budget
        assert len(set(packet)) == len(packet)
        told += packet
    assert all(told.count(rumour) == limit for rumour in told if len(rumour) <= budget // 2)


@pytest.mark.parametrize(("members", "limit"), [(1, 4), (9, 4), (10, 8), (99, 8), (100, 12), (1000, 16)])
def test_limit_grows_with_the_logarithm(members: int, limit: int) -> None:
    assert retransmit_limit(4, members) == limit
