"""Rounds of measuring, in which everything that is compared takes its turn."""

import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

_Item = TypeVar("_Item")


def rounds(budget_s: float, least: int, most: int) -> Iterator[int]:
    """Number rounds of measuring, starting no more of them once the time is used up.

    Args:
        budget_s: time after which no round starts, seconds.
        least: rounds that are run however long they take.
        most: rounds that are run at most.
    """
    started_at = time.monotonic()
    for number in range(most):
        if number >= least and time.monotonic() - started_at > budget_s:
            return
        yield number


def turned(items: Sequence[_Item], number: int) -> list[_Item]:
    """The items of a round, with another one first each time, so that none profits from its place."""
    first = number % len(items)
    return [*items[first:], *items[:first]]
