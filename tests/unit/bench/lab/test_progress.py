"""How long a bench may still take."""

from bench.lab.progress import Progress


def test_what_is_left_follows_from_the_runs_that_have_ended() -> None:
    now = 100.0
    progress = Progress(4, lambda: now)
    now = 110.0
    assert progress.left_s is None
    assert str(progress) == "run 1 of 4"
    now = 130.0
    progress.ended()
    assert str(progress) == "run 2 of 4, about 90 s left"
    now = 140.0
    assert progress.left_s == 80.0


def test_a_run_that_takes_longer_than_the_others_leaves_nothing_less_than_nothing() -> None:
    now = 0.0
    progress = Progress(2, lambda: now)
    now = 10.0
    progress.ended()
    now = 50.0
    assert progress.left_s == 0.0
