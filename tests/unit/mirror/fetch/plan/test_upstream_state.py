"""Whether upstream may still be asked."""

import pytest

from mirror.errors import Reason
from mirror.fetch.plan.upstream_state import Denial, UpstreamState
from mirror.sources.failures import CONSEQUENCES

FRESH = UpstreamState(3, 3)


def failed(state: UpstreamState, reason: Reason = Reason.BROKEN, *, progressed: bool = False) -> UpstreamState:
    return state.failed(reason, progressed=progressed)


def test_it_has_some_tries_without_a_byte_between_them() -> None:
    once = failed(FRESH)
    twice = failed(once)
    assert twice.may_be_asked
    assert not failed(twice).may_be_asked
    assert failed(twice, progressed=True).tries_left == 2, "bytes came: the count begins anew"
    assert twice.landed().tries_left == 3


def test_an_answer_that_would_be_the_same_again_ends_it() -> None:
    for reason in (reason for reason in Reason if not CONSEQUENCES[reason].retried):
        assert not failed(FRESH, reason).may_be_asked
        assert not failed(FRESH, reason, progressed=True).may_be_asked


def test_a_rest_ends_and_costs_no_try() -> None:
    resting = FRESH.resting(5.0)
    assert not resting.at(4.9).may_be_asked
    assert resting.at(5.0).may_be_asked
    assert resting.at(5.0).tries_left == 3
    assert resting.renewed().may_be_asked


def test_it_can_be_tried_once_more_but_never_where_it_may_not_be_asked_at_all() -> None:
    assert failed(FRESH, Reason.AUTH).tried_once_more().tries_left == 1
    assert FRESH.tried_once_more().tries_left == 3
    never = UpstreamState(0, 0)
    assert not never.tried_once_more().may_be_asked
    assert not never.renewed().may_be_asked
    assert not failed(never, Reason.BROKEN, progressed=True).may_be_asked


@pytest.mark.parametrize(("by", "after_landing"), [(Denial.A_HOME, Denial.NOBODY), (Denial.UPSTREAM, Denial.UPSTREAM)])
def test_what_it_delivers_refutes_a_home_that_denied_it(by: Denial, after_landing: Denial) -> None:
    assert FRESH.denied(by).landed().denial is after_landing


def test_another_repository_begins_anew_but_for_ranges() -> None:
    worn = failed(FRESH.denied(Denial.UPSTREAM).without_ranges(), Reason.AUTH)
    assert worn.renewed() == FRESH.without_ranges()
