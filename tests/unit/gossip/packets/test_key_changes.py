"""Orders about keys over streams."""

import pytest

from gossip.core.errors import ConfigError, WireError
from gossip.core.events import KeysChanged
from gossip.core.messages import KeyAction, KeyOrder, KeyReport
from gossip.core.packets.keyring import key_id
from tests.unit.gossip.conversing import KEY, NEW_KEY, acquainted, address, converse, node, of_kind
from tests.unit.gossip.streams.hand import Hand


def test_order_about_keys_is_carried_out_or_refused_with_a_reason() -> None:
    one, other = node(0, (KEY,)), node(1, (KEY,))
    acquainted(one, other)
    both = key_id(KEY) + key_id(NEW_KEY)
    for action, key, ids, refusal in (
        (KeyAction.USE, key_id(NEW_KEY), key_id(KEY), "not installed"),
        (KeyAction.INSTALL, NEW_KEY, both, ""),
        (KeyAction.REMOVE, key_id(KEY), both, "the one that seals"),
        (KeyAction.LIST, b"", both, ""),
    ):
        order = one.order_keys("n1", action, key)
        converse(order, other.answer(address(0)))
        (report,) = order.answers
        assert isinstance(report, KeyReport)
        assert report.ids == ids
        assert refusal in report.refusal
        assert bool(report.refusal) is bool(refusal)
    assert of_kind(other, KeysChanged) == [KeysChanged((key_id(KEY), key_id(NEW_KEY)))]


def test_nobody_speaks_of_keys_in_the_open() -> None:
    one, other = node(0), node(1)
    acquainted(one, other)
    with pytest.raises(ConfigError, match="sealed"):
        one.order_keys("n1", KeyAction.LIST)
    half = Hand(other)
    with pytest.raises(WireError) as refused:
        half.say(KeyOrder(KeyAction.INSTALL, NEW_KEY))
    assert refused.value.reason == "seal"
