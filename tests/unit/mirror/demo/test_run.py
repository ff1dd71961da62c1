"""What the demo says when something fails."""

from mirror.demo.run import DemoError, first_failure


def test_of_pulls_that_fail_side_by_side_the_first_failure_is_shown() -> None:
    first = DemoError("a broke off")
    pulls = ExceptionGroup("pulls", [ExceptionGroup("blobs", [first, DemoError("b broke off")]), DemoError("c")])
    assert first_failure(pulls) is first
    assert first_failure(first) is first
