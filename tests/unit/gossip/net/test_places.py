"""Whose streams are served."""

import pytest

from gossip.net.places import Places

MEMBER = "10.0.0.1"


def places(count: int = 16) -> Places:
    return Places(count, lambda host: host == MEMBER)


def test_one_stranger_has_few_places_and_all_strangers_leave_some_to_members() -> None:
    served = places()
    assert [served.take("192.0.2.1") is not None for _ in range(6)] == [True] * 4 + [False] * 2
    many = [served.take(f"192.0.2.{number}") for number in range(2, 200)]
    assert sum(place is not None for place in many) == 8
    assert [served.take(MEMBER) is not None for _ in range(5)] == [True] * 4 + [False]
    assert served.taken == 16


def test_place_given_back_is_free_for_whom_it_was_for() -> None:
    served = places()
    taken = [served.take("192.0.2.1") for _ in range(4)]
    assert served.take("192.0.2.1") is None
    for leave in taken:
        assert leave is not None
        leave()
    assert served.taken == 0
    assert served.take("192.0.2.1") is not None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.7", "::1"])
def test_this_machine_has_as_many_as_there_are(host: str) -> None:
    served = places()
    assert sum(served.take(host) is not None for _ in range(20)) == 16


def test_network_of_ipv6_addresses_is_one_stranger() -> None:
    served = places()
    assert sum(served.take(f"2001:db8::{number:x}") is not None for number in range(1, 50)) == 4
    assert served.take("2001:db8:0:1::1") is not None


def test_few_places_are_still_some() -> None:
    served = places(1)
    assert served.take("192.0.2.1") is not None
    assert served.take("192.0.2.2") is None
