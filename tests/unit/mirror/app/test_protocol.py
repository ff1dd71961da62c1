"""Whatever a client sends, a connection keeps its rules."""

import random

import pytest

from tests.fuzz.requests import requests


@pytest.mark.parametrize("seed", range(8))
def test_random_requests_break_no_rule(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(40):
        requests(rng.randbytes(rng.choice((20, 60, 200, 600, 1500))))
