"""Who gets in, and who goes for whom: strangers never at a member's cost, idle connections at nobody's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.app.places import Kind, Place, Places, origin_of
from mirror.metrics import Metrics
from mirror.settings import ServerSettings

SETTINGS = ServerSettings(
    local_max=3, members_max=4, strangers_max=5, from_member_max=3, from_stranger_max=2, descriptors_kept=10
)
PLENTY = 1000


class Door:
    """Places, and the connections that have come and gone."""

    def __init__(self, descriptors: int = PLENTY) -> None:
        self.metrics = Metrics()
        self.members = ["10.0.0.2"]
        self.places = Places(lambda: self.members, descriptors, SETTINGS, self.metrics)
        self.closed: list[str] = []

    def come(self, kind: Kind, host: str, name: str = "") -> Place | None:
        return self.places.take(kind, host, lambda: self.closed.append(name or host), 0.0)

    def work(self, kind: Kind, host: str) -> Place:
        place = self.come(kind, host)
        assert place is not None
        self.places.work(place)
        return place

    def counted(self, name: str, kind: Kind) -> float:
        return self.metrics.registry.get_sample_value(name, {"kind": kind}) or 0.0


def test_whose_a_connection_is() -> None:
    door = Door()
    for host, own, kind in (
        ("127.0.0.1", "127.0.0.1", Kind.LOCAL),
        ("127.8.8.8", "127.0.0.1", Kind.LOCAL),
        ("::1", "::1", Kind.LOCAL),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1", Kind.LOCAL),
        ("10.0.0.1", "10.0.0.1", Kind.LOCAL),
        ("", "", Kind.LOCAL),
        ("10.0.0.2", "10.0.0.1", Kind.MEMBER),
        ("::ffff:10.0.0.2", "::ffff:10.0.0.1", Kind.MEMBER),
        ("10.0.0.3", "10.0.0.1", Kind.STRANGER),
        ("fd00::3", "fd00::1", Kind.STRANGER),
    ):
        assert door.places.kind(host, own, 0.0) is kind
    door.members.append("10.0.0.3")
    assert door.places.kind("10.0.0.3", "10.0.0.1", SETTINGS.members_known_s) is Kind.MEMBER


def test_an_idle_connection_goes_for_one_that_comes_the_longest_idle_first() -> None:
    door = Door()
    first, _ = door.come(Kind.STRANGER, "10.1.0.1", "first"), door.come(Kind.STRANGER, "10.1.0.2", "second")
    assert first is not None
    door.places.work(first)
    door.places.rest(first)  # it was used later than the second
    for number in range(3, 9):
        assert door.come(Kind.STRANGER, f"10.1.0.{number}") is not None
    assert door.closed == ["second", "first", "10.1.0.3"]
    assert door.places.count == SETTINGS.strangers_max
    assert door.counted("skvaller_connections_shed_total", Kind.STRANGER) == 3


def test_a_request_under_way_keeps_its_place(caplog: pytest.LogCaptureFixture) -> None:
    door = Door()
    working = [door.work(Kind.STRANGER, f"10.1.0.{number}") for number in range(SETTINGS.strangers_max)]
    assert door.come(Kind.STRANGER, "10.1.1.1") is None
    assert door.come(Kind.STRANGER, "10.1.1.2") is None
    assert door.closed == []
    assert door.counted("skvaller_connections_refused_total", Kind.STRANGER) == 2
    assert len(caplog.records) == 1, "who floods a listener must not flood the log"
    door.places.leave(working[0])
    assert door.come(Kind.STRANGER, "10.1.1.1") is not None


def test_one_address_has_only_so_many_and_gives_its_own_up() -> None:
    door = Door()
    door.come(Kind.STRANGER, "10.1.0.9", "another's")
    for number in range(20):
        assert door.come(Kind.STRANGER, "10.1.0.1", f"own {number}") is not None
    assert door.closed == [f"own {number}" for number in range(18)]
    for _ in range(SETTINGS.from_stranger_max):
        door.work(Kind.STRANGER, "10.1.0.2")
    assert door.come(Kind.STRANGER, "10.1.0.2") is None


def test_of_one_addresss_own_the_longest_idle_goes_first_not_the_longest_connected() -> None:
    door = Door()
    first, _ = door.come(Kind.STRANGER, "10.1.0.1", "first"), door.come(Kind.STRANGER, "10.1.0.1", "second")
    assert first is not None
    door.places.work(first)
    door.places.rest(first)
    for number in range(3, 5):
        assert door.come(Kind.STRANGER, "10.1.0.1", f"{number}") is not None
    assert door.closed == ["second", "first"]


def test_no_kind_takes_anothers_places() -> None:
    door = Door()
    for number in range(100):
        door.come(Kind.STRANGER, f"10.1.0.{number}")
    for number in range(SETTINGS.strangers_max):
        door.work(Kind.STRANGER, f"10.2.0.{number}")
    for kind, host in ((Kind.MEMBER, "10.0.0.2"), (Kind.LOCAL, "127.0.0.1")):
        for _ in range(3):
            door.work(kind, host)


def test_ipv6_networks_count_as_one_address() -> None:
    assert origin_of("2001:db8::1") == origin_of("2001:db8::ffff") != origin_of("2001:db8:0:1::1")
    assert origin_of("::ffff:10.0.0.1") == origin_of("10.0.0.1")
    assert origin_of("fe80::1%eth0") == origin_of("fe80::2%eth0")
    door = Door()
    for number in range(1, 10):
        door.come(Kind.STRANGER, f"2001:db8::{number}")
    assert door.places.count == SETTINGS.from_stranger_max


def test_few_descriptors_make_few_places() -> None:
    assert sum((SETTINGS.local_max, SETTINGS.members_max, SETTINGS.strangers_max)) == 12
    door = Door(descriptors=12)
    for number in range(100):
        for kind in Kind:
            door.come(kind, f"10.1.0.{number}")
    assert 3 <= door.places.count <= 12 // 2


def test_while_descriptors_are_scarce_idle_connections_are_closed_strangers_first(
    caplog: pytest.LogCaptureFixture,
) -> None:
    door = Door(descriptors=100)
    for kind, host in ((Kind.LOCAL, "127.0.0.1"), (Kind.MEMBER, "10.0.0.2"), (Kind.STRANGER, "10.1.0.1")):
        door.come(kind, host, f"idle {kind}")
        door.work(kind, host)
    assert door.places.relieve(89, 0.0, 10)
    assert door.closed == []
    assert door.places.relieve(90, 0.0, 10)
    assert door.closed == ["idle stranger"]
    assert not door.places.relieve(95, 0.0, 1), "too few are left to wait for the one that is closed"
    assert door.closed == ["idle stranger", "idle member"]
    assert not door.places.relieve(91, 0.0, 10)
    assert door.closed == ["idle stranger", "idle member", "idle local"]
    assert "LimitNOFILE" in caplog.text


def test_when_no_descriptor_is_left_idle_connections_are_closed_as_well(caplog: pytest.LogCaptureFixture) -> None:
    door = Door(descriptors=100)
    for host in ("10.1.0.1", "10.1.0.2", "10.1.0.3"):
        door.come(Kind.STRANGER, host)
    assert not door.places.relieve(None, 0.0, 2)
    assert door.closed == ["10.1.0.1", "10.1.0.2"]
    assert not door.places.relieve(None, 0.0, 2)
    assert "100 are open" in caplog.text


STEPS = st.lists(
    st.tuples(st.sampled_from(["come", "work", "rest", "leave"]), st.sampled_from(Kind), st.integers(0, 7)),
    max_size=200,
)


@given(STEPS)
def test_the_bounds_hold_and_nothing_is_kept_of_those_that_left(steps: list[tuple[str, Kind, int]]) -> None:
    door = Door()
    known: list[Place] = []
    for what, kind, number in steps:
        if what == "come":
            place = door.come(kind, f"10.0.0.{number % 4}")
            known += [place] if place is not None else []
        elif known:
            getattr(door.places, what)(known[number % len(known)])
        bound = {
            Kind.LOCAL: SETTINGS.local_max, Kind.MEMBER: SETTINGS.members_max, Kind.STRANGER: SETTINGS.strangers_max
        }  # fmt: skip
        assert all(door.counted("skvaller_connections", one) <= most for one, most in bound.items())
    for place in known:
        door.places.leave(place)
    assert door.places.count == 0
    assert all(door.counted("skvaller_connections", kind) == 0 for kind in Kind)
