"""What a request has to bring to count as progress."""

import pytest

from mirror.fetch.plan.flight import Flight
from mirror.sources import UPSTREAM, Role

UNIT = 64 * 1024


@pytest.mark.parametrize(
    ("asked", "got", "progressed"),
    [
        (1 << 20, UNIT, True),
        (1 << 20, UNIT - 1, False),
        (None, UNIT, True),
        (None, UNIT - 1, False),
        (3000, 1500, True),
        (3000, 1499, False),
        (3000, 3000, True),
        (1, 0, False),
        (0, 0, False),
    ],
)
def test_so_many_bytes_or_half_of_what_was_asked_for(asked: int | None, got: int, progressed: bool) -> None:
    flight = Flight(UPSTREAM, Role.UPSTREAM, 100, None if asked is None else 100 + asked, 0.0)
    flight.position = 100 + got
    assert flight.progressed(UNIT) is progressed
