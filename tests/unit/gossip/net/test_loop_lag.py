"""How late the event loop runs; a loop that is blocked is among the tests over sockets."""

from gossip.net.loop_lag import LoopLag


def test_without_samples_there_is_no_lag() -> None:
    assert LoopLag(lambda lag_s: None).quantile_s(0.99) == 0.0


def test_one_that_was_never_started_can_be_stopped() -> None:
    LoopLag(lambda lag_s: None).stop()
