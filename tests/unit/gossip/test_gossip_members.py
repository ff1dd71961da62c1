import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.core.errors import ConfigError
from gossip.core.membership.member import Address, Member, State, check_name, pack_address, unpack_address
from gossip.core.membership.table import MemberTable


def member(name: str, state: State = State.ALIVE, *, epoch: int = 1, incarnation: int = 0) -> Member:
    return Member(name, Address("10.0.0.1", 7946), epoch, incarnation, state, b"", changed_at=0.0)


def test_later_run_wins_over_everything_said_about_the_run_before() -> None:
    assert member("a", epoch=2).precedence > member("a", State.LEFT, epoch=1, incarnation=9).precedence


def test_goodbye_is_final_within_a_run() -> None:
    assert member("a", State.LEFT).precedence > member("a", State.DEAD, incarnation=9).precedence
    assert member("a", State.LEFT).precedence > member("a", State.ALIVE, incarnation=9).precedence


def test_at_equal_incarnation_the_worse_state_wins_and_a_higher_one_refutes() -> None:
    alive, suspect, dead = (member("a", state).precedence for state in (State.ALIVE, State.SUSPECT, State.DEAD))
    assert alive < suspect < dead < member("a", incarnation=1).precedence


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from(State)), min_size=1))
def test_believing_the_greatest_statement_does_not_depend_on_order(said: list[tuple[int, int, State]]) -> None:
    statements = [member("a", state, epoch=epoch, incarnation=number).precedence for epoch, number, state in said]
    believed = statements[0]
    for statement in statements[1:] + statements:
        believed = max(believed, statement)
    assert believed == max(reversed(statements))


@pytest.mark.parametrize("address", [Address("10.1.2.3", 1), Address("fe80::1", 65535), Address("::1", 7946)])
def test_address_survives_packing(address: Address) -> None:
    assert unpack_address(pack_address(address)) == address


@pytest.mark.parametrize("name", ["", "a" * 129, "ä" * 65, "a\nb", "a\0"])
def test_impossible_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="name"):
        check_name(name)


def test_everyone_is_probed_once_per_round_and_the_dead_never() -> None:
    members = MemberTable(random.Random(3))
    for i in range(7):
        members.put(member(f"n{i}"))
    members.put(member("n3", State.DEAD))
    for _ in range(20):
        members.next_to_probe()
    while members._next < len(members._ring):
        members.next_to_probe()
    seen = [probed.name for _ in range(6) if (probed := members.next_to_probe()) is not None]
    assert sorted(seen) == ["n0", "n1", "n2", "n4", "n5", "n6"]


def test_nobody_to_probe() -> None:
    members = MemberTable(random.Random(3))
    members.put(member("a", State.LEFT))
    assert members.next_to_probe() is None


def test_new_member_is_probed_within_two_rounds_wherever_the_round_stands() -> None:
    for seed in range(30):
        members = MemberTable(random.Random(seed))
        for i in range(5):
            members.put(member(f"n{i}"))
        for _ in range(seed % 5):
            members.next_to_probe()
        members.put(member("new"))
        assert "new" in {probed.name for _ in range(11) if (probed := members.next_to_probe())}


def test_live_count_follows_states() -> None:
    members = MemberTable(random.Random(0))
    members.put(member("a"))
    members.put(member("b", State.SUSPECT))
    members.put(member("b", State.DEAD))
    members.put(member("c", State.LEFT))
    assert members.live_count == 1
    members.drop("a")
    members.drop("c")
    assert (members.live_count, len(members)) == (0, 1)


def test_sample_is_distinct_filtered_and_exhaustive() -> None:
    members = MemberTable(random.Random(0))
    for i in range(4):
        members.put(member(f"n{i}", State.DEAD if i == 0 else State.ALIVE))
    picked = members.sample(10, lambda candidate: candidate.live)
    assert sorted(one.name for one in picked) == ["n1", "n2", "n3"]


def test_a_sample_of_a_large_table_is_as_even_as_chance_allows() -> None:
    members = MemberTable(random.Random(0))
    for i in range(40):
        members.put(member(f"n{i}", State.DEAD if i % 2 else State.ALIVE))
    picked = Counter(one.name for _ in range(2000) for one in members.sample(3, lambda candidate: candidate.live))
    assert set(picked) == {f"n{i}" for i in range(0, 40, 2)}
    assert sum(picked.values()) == 6000
    assert all(230 <= times <= 370 for times in picked.values())  # 300 and four standard deviations


def test_a_sample_finds_the_few_that_fit_in_a_large_table() -> None:
    members = MemberTable(random.Random(0))
    for i in range(200):
        members.put(member(f"n{i}", State.ALIVE if i in (7, 99) else State.DEAD))
    for _ in range(20):
        assert sorted(one.name for one in members.sample(3, lambda candidate: candidate.live)) == ["n7", "n99"]
