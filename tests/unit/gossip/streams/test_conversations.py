"""Which conversations a node opens."""

from gossip.core.errors import Rejection
from gossip.core.events import Rejected
from tests.unit.gossip.conversing import NOW, address, converse, dial, node, of_kind
from tests.unit.gossip.streams.hand import refused


def test_same_place_is_not_dialled_twice_at_once_and_again_later() -> None:
    one = node(0)
    one.join([address(1)], NOW)
    (first,) = one.dials()
    one.join([address(1)], NOW)
    assert one.dials() == []
    one.hang_up(first, NOW)
    one.join([address(1)], NOW)
    assert len(one.dials()) == 1


def test_streams_that_a_node_opens_at_once_are_bounded() -> None:
    one = node(0, streams_max=3)
    one.join([address(number) for number in range(1, 9)], NOW)
    assert len(one.dials()) == 3


def test_error_of_a_conversation_is_reported_and_oneself_is_recognised() -> None:
    one = node(0)
    exchange = dial(one, node(1))
    with refused("self") as ended:
        converse(exchange, one.answer(address(0)))
    one.hang_up(exchange, NOW, ended.value)
    assert of_kind(one, Rejected) == [Rejected(Rejection.SELF, address(1))]
