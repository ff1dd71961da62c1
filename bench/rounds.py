"""Rounds of measuring, in which everything that is compared takes its turn."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Budget:
    """How many rounds are run.

    Args:
        seconds: after which no round starts.
        least: rounds that are run however long they take.
        most: rounds that are run at most.
    """

    seconds: float
    least: int
    most: int


QUICK: Final = Budget(10.0, 2, 3)
"""For a quick look."""


def rounds(budget: Budget) -> Iterator[int]:
    """Number rounds of measuring, starting no more of them once the time is used up."""
    started_at = time.monotonic()
    for number in range(budget.most):
        if number >= budget.least and time.monotonic() - started_at > budget.seconds:
            return
        yield number


def turned(items: Sequence[_Item], number: int) -> list[_Item]:
    """The items of a round, with another one first each time, so that none profits from its place."""
    first = number % len(items)
    return [*items[first:], *items[:first]]
