"""What follows from failures."""

from mirror.errors import Reason
from mirror.sources.failures import CONSEQUENCES


def test_something_follows_from_every_reason() -> None:
    assert set(CONSEQUENCES) == set(Reason)


def test_who_gives_no_sign_of_life_is_probed_and_not_banned_besides() -> None:
    assert all(not follows.node_rest_s for follows in CONSEQUENCES.values() if follows.out_of_reach)


def test_answers_that_the_protocol_provides_for_are_no_failures_and_ban_nobody() -> None:
    answers = {reason for reason, follows in CONSEQUENCES.items() if not follows.is_failure}
    assert answers == {Reason.BUSY, Reason.WHOLE}
    assert all(not CONSEQUENCES[reason].node_rest_s for reason in answers)


def test_what_upstream_would_answer_again_is_not_asked_again() -> None:
    final = {Reason.UNKNOWN, Reason.FORBIDDEN, Reason.AUTH, Reason.RATE_LIMITED, Reason.RANGE, Reason.LENGTH}
    assert not any(CONSEQUENCES[reason].retried for reason in final)
