"""Which members keep an image: all agree, and copies end at the number that is wanted, whoever comes and goes."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from mirror.oci.digest import Digest
from mirror.oci.names import parse_name
from mirror.pins.goals import goals_of
from mirror.pins.placement import Settled, keepers
from mirror.pins.records import ALL, Record
from mirror.routers import Peer, RingSeat, Serves
from mirror.settings import PinSettings

NAMES = [f"n{number}" for number in range(8)]
KEYS = st.binary(min_size=32, max_size=32)
GROUPS = st.sets(st.sampled_from(NAMES), min_size=1)
QUICK = PinSettings(gone_s=20, calm_s=5, declined_s=900)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def seats(names: Sequence[str], serves: Serves = Serves.YES) -> list[RingSeat]:
    return [RingSeat(Peer(name, "127.0.0.1", 1), serves) for name in names]


@given(KEYS, GROUPS, st.integers(1, 5), st.sampled_from(NAMES))
def test_who_goes_hands_its_place_on_and_all_others_keep_theirs(
    key: bytes, members: set[str], copies: int, gone: str
) -> None:
    before = keepers(key, members, copies)
    assert len(before) == min(copies, len(members))
    rest = members - {gone}
    if not rest:
        return
    after = keepers(key, rest, copies)
    assert set(before) - {gone} <= set(after)
    assert len(set(after) - set(before)) <= (gone in before)


@given(KEYS, GROUPS)
def test_all_is_every_member(key: bytes, members: set[str]) -> None:
    assert set(keepers(key, members, ALL)) == members


@given(st.lists(st.tuples(GROUPS, st.integers(1, 30)), max_size=8), GROUPS, KEYS, st.integers(1, 4))
def test_after_any_churn_all_agree_and_the_copies_are_there(
    churn: list[tuple[set[str], int]], last: set[str], key: bytes, copies: int
) -> None:
    """Each member sees who is up, at other times than the others; in the end they have the same keepers.

    Who is to keep the image fetches it, and who is not lets it go once the keepers hold it.
    """
    clock = Clock()
    views = {name: Settled(name, QUICK, clock) for name in NAMES}
    holding: set[str] = set()

    def look(up: set[str]) -> None:
        for name in sorted(up):
            chosen = keepers(key, views[name].look(seats(sorted(up)), up - {name}), copies)
            if not views[name].is_calm:
                continue
            if name in chosen:
                holding.add(name)
            elif set(chosen) <= holding & up:
                holding.discard(name)

    for up, seconds in [*churn, (last, 0)]:
        look(up)
        clock.now += seconds
    for _ in range(30):
        look(last)
        clock.now += 2
    assert holding & last == set(keepers(key, last, copies))


def test_a_member_that_restarts_keeps_its_places_and_one_that_is_gone_for_long_does_not() -> None:
    clock = Clock()
    settled = Settled("n0", QUICK, clock)
    assert settled.look(seats(["n0", "n1"]), ["n1"]) == {"n0", "n1"}
    clock.now += 15
    assert settled.look(seats(["n0"]), []) == {"n0", "n1"}
    assert settled.look(seats(["n0", "n1"]), ["n1"]) == {"n0", "n1"}
    clock.now += 21
    assert settled.look(seats(["n0"]), []) == {"n0"}
    assert not settled.is_calm
    clock.now += 5
    settled.look(seats(["n0"]), [])
    assert settled.is_calm


def test_a_new_member_is_asked_once_it_has_settled_and_one_that_never_serves_is_not() -> None:
    clock = Clock()
    settled = Settled("n0", QUICK, clock)
    both = [*seats(["n0"]), *seats(["n1"], Serves.NEW), *seats(["n2"], Serves.NO)]
    assert settled.look(both, ["n1", "n2"]) == {"n0"}
    assert settled.everyone == {"n0", "n1", "n2"}
    settled.look([*seats(["n0", "n1"]), *seats(["n2"], Serves.NO)], ["n1", "n2"])
    assert settled.names == {"n0", "n1"}
    clock.now += 300  # n1 is found slow for a while
    assert settled.look([*seats(["n0"]), *seats(["n1", "n2"], Serves.NO)], ["n1", "n2"]) == {"n0", "n1"}
    clock.now += 901
    assert settled.look([*seats(["n0"]), *seats(["n1", "n2"], Serves.NO)], ["n1", "n2"]) == {"n0"}


def pin(name: str, version: int, copies: int, digest: Digest | None = None) -> Record:
    return Record(name=parse_name(name).text, version=version, author="n0", copies=copies, digest=digest)


def test_of_several_pins_that_cover_an_image_the_most_copies_count() -> None:
    one, other = Digest.of(b"1"), Digest.of(b"2")
    pins = [pin("a:1", 1, 2, one), pin("b:1", 2, 3, one), pin("a:2", 3, 1, other), pin("a:*", 4, ALL), pin("c:1", 5, 2)]
    goals = {goal.digest: goal for goal in goals_of(pins, NAMES)}
    assert goals[one].copies == ALL
    assert set(goals[other].keepers) == set(NAMES)
    assert set(goals_of(pins, NAMES, [*NAMES, "never a home"])[0].keepers) == {*NAMES, "never a home"}
    assert len(goals) == 2  # nobody knows yet what c:1 means
    goals = {goal.digest: goal for goal in goals_of([it for it in pins if "*" not in it.name], NAMES)}
    assert (goals[one].copies, goals[other].copies) == (3, 1)
