"""Members as messages, and back."""

import pytest

from gossip.core.membership.member import PROTOCOL, Address, Member, State
from gossip.core.membership.statements import alive_message, member_of, record_message, spread, statement
from gossip.core.messages import Alive, Dead, Left, Suspect
from gossip.core.packets.codec import encode_message
from gossip.core.packets.rumours import Rumours

HERE = Address("10.0.0.1", 7946)


def member(state: State, *, recorded: int = 2) -> Member:
    return Member("n1", HERE, 5, 3, state, b"metadata", changed_at=7.0, recorded=recorded, protocol=PROTOCOL)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (State.ALIVE, Alive("n1", 5, 2, HERE, b"metadata", PROTOCOL)),
        (State.SUSPECT, Suspect("n1", 5, 3, "n0")),
        (State.DEAD, Dead("n1", 5, 3, "n0")),
        (State.LEFT, Left("n1", 5, 3)),
    ],
)
def test_each_state_has_its_statement(state: State, said: Alive | Suspect | Dead | Left) -> None:
    assert statement(member(state), "n0") == said


@pytest.mark.parametrize("state", State)
def test_record_is_read_as_it_was_meant(state: State) -> None:
    before = member(state, recorded=3)
    assert member_of(record_message(before), state, 7.0) == before


def test_record_states_the_incarnation_in_which_it_was_made() -> None:
    assert record_message(member(State.SUSPECT)).incarnation == alive_message(member(State.ALIVE)).incarnation == 2


def test_newer_statement_of_a_member_replaces_the_older_in_the_queue() -> None:
    rumours = Rumours(8, 1000)
    spread(rumours, Suspect("n1", 5, 3, "n0"))
    spread(rumours, Left("n1", 5, 3))
    assert rumours.take(1000, 4) == [encode_message(Left("n1", 5, 3))]
