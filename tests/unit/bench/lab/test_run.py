"""A run whose processes do not find each other is begun again once, and says so."""

import pytest

from bench.lab.modes import ApartError
from bench.lab.results import Found
from bench.lab.run import or_again


def _run(name: str, *, apart: set[str]) -> Found:
    if name in apart:
        raise ApartError(name)
    return Found("spegel", 0, {"ratio": 2.0}, {}, [])


def test_a_run_that_is_together_is_not_begun_again() -> None:
    assert or_again(lambda name: _run(name, apart=set()), "spegel-1").figures == {"ratio": 2.0}


def test_a_run_that_is_begun_again_says_so() -> None:
    found = or_again(lambda name: _run(name, apart={"spegel-1"}), "spegel-1")
    assert found.figures == {"ratio": 2.0, "begun_again": 1}


def test_the_second_time_is_the_last() -> None:
    with pytest.raises(ApartError, match="again"):
        or_again(lambda name: _run(name, apart={"spegel-1", "spegel-1-again"}), "spegel-1")
