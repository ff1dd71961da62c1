"""Values: addresses, names, and which of two statements holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.core.errors import ConfigError
from gossip.core.membership.member import Address, Member, State, check_name, pack_address, unpack_address


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
