"""A node's own keys, and what its filter shows of them."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.core.config import GossipConfig
from gossip.core.directory.kinds import rules_of
from gossip.core.directory.published import PublishedFilter


def keys(first: int, count: int) -> list[bytes]:
    return [random.Random(number).randbytes(32) for number in range(first, first + count)]


def published(**settings: float) -> PublishedFilter:
    config = GossipConfig(**settings)  # type: ignore[arg-type]
    return PublishedFilter(config, rules_of(config), 7)


def build(own: PublishedFilter, now: float) -> bytes | None:
    """Publish until no step of a rebuild is left. Returns what the last step said."""
    said: bytes | None = b""
    while own.unpublished:
        said = own.publish(now)
    return said


def test_first_addition_is_due_at_once_and_the_next_after_the_batch() -> None:
    own = published(batch_s=0.5)
    assert own.due_at() is None
    own.advertise(keys(0, 1))
    assert own.due_at() == float("-inf")
    assert own.publish(10.0) == keys(0, 1)[0][:8]
    own.advertise(keys(1, 1))
    assert own.due_at() == 10.5


def test_key_that_is_shown_already_is_not_told_again() -> None:
    own = published()
    own.advertise(keys(0, 2))
    own.publish(0.0)
    own.advertise(keys(0, 2))
    assert (own.due_at(), own.unpublished, len(own)) == (None, 0, 2)


def test_key_withdrawn_before_it_was_told_was_never_there() -> None:
    own = published()
    own.advertise(keys(0, 1))
    own.withdraw(keys(0, 1), 1.0)
    assert (own.due_at(), len(own), keys(0, 1)[0] in own) == (None, 0, False)


def test_key_that_returns_before_the_rebuild_needs_none() -> None:
    own = published()
    own.advertise(keys(0, 1))
    own.publish(0.0)
    own.withdraw(keys(0, 1), 1.0)
    own.advertise(keys(0, 1))
    assert own.due_at() is None


@pytest.mark.parametrize(("gone", "due_at"), [(1, 1.0 + 60.0), (5, 1.0)])
def test_rebuild_is_due_when_much_has_gone_or_after_a_quiet_time(gone: int, due_at: float) -> None:
    own = published(rebuild_share=0.05, rebuild_quiet_s=60.0)
    own.advertise(keys(0, 100))
    own.publish(0.0)
    own.withdraw(keys(0, gone), 1.0)
    assert own.due_at() == due_at
    assert own.publish(due_at) is None
    assert (own.replica.generation, own.replica.sequence) == (1, 100 - gone)
    assert not any(key[:8] in own.replica.filter for key in keys(0, gone))


def test_rebuilds_for_withdrawals_keep_their_distance() -> None:
    own = published(rebuild_pause_s=5.0)
    own.advertise(keys(0, 10))
    own.publish(0.0)
    own.withdraw(keys(0, 1), 1.0)
    assert own.publish(1.0) is None
    own.withdraw(keys(1, 1), 2.0)
    assert own.due_at() == 6.0


def test_growth_and_many_additions_are_a_new_generation() -> None:
    own = published(snapshot_over_keys=100)
    own.advertise(keys(0, 101))
    assert build(own, 0.0) is None
    assert (own.replica.generation, own.replica.filter.bits_log2) == (1, 14)
    for first in range(101, 1101, 100):
        own.advertise(keys(first, 100))
        build(own, 1.0)
    assert own.replica.generation == 2
    assert own.replica.filter.bits_log2 > 14


def test_rebuild_is_cut_into_steps_and_shows_the_old_filter_meanwhile() -> None:
    own = published(snapshot_over_keys=1000)
    own.advertise(keys(0, 2500))
    assert own.publish(0.0) == own.publish(0.0) == b""
    assert (own.replica.generation, own.unpublished) == (0, 2500)
    assert own.due_at() == 0.0
    assert own.publish(0.0) is None
    assert (own.replica.generation, own.unpublished) == (1, 0)


def test_another_epoch_keeps_the_filter_also_within_a_rebuild() -> None:
    own = published(snapshot_over_keys=1000)
    own.advertise(keys(0, 1100))
    own.publish(0.0)
    own.renew(9)
    assert own.replica.epoch == 9
    own.publish(0.0)
    assert own.replica.version == (9, 1, 1100)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=60))
def test_once_all_is_published_the_filter_shows_every_key_held(steps: list[tuple[bool, int]]) -> None:
    own, model = published(), dict[bytes, None]()
    for now, (adds, number) in enumerate(steps):
        if adds:
            own.advertise(keys(number, 1))
            model[keys(number, 1)[0]] = None
        else:
            own.withdraw(keys(number, 1), now)
            model.pop(keys(number, 1)[0], None)
        if number % 3 == 0:
            own.publish(now)
    while own.due_at() is not None:
        own.publish(1e6)
    assert len(own) == len(model)
    assert all(key in own and key[:8] in own.replica.filter for key in model)
