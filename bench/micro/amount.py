"""How much of everything is measured, and how."""

import time
from collections.abc import Callable
from dataclasses import dataclass

MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Amount:
    """How much is measured.

    Args:
        rounds: of each measurement; what is compared takes turns in them.
        shapes: directories, as numbers of members and of keys of each.
        key_counts: of the filters that are built and sent.
        calls: of what takes microseconds, in each round.
        file_bytes: size of the file that is hashed.
    """

    rounds: int = 15
    shapes: tuple[tuple[int, int], ...] = ((20, 1_000), (20, 10_000), (100, 1_000), (100, 10_000), (1_000, 1_000))
    key_counts: tuple[int, ...] = (10, 1_000, 10_000, 100_000)
    calls: int = 2_000
    file_bytes: int = 256 * MIB


QUICK = Amount(
    rounds=5,
    shapes=((20, 1_000), (100, 1_000)),
    key_counts=(10, 1_000, 10_000),
    calls=500,
    file_bytes=64 * MIB,
)
"""Some 20 s."""


def cpu_us(work: Callable[[], object]) -> float:
    """The CPU time that this thread spends on some work, us: it does not depend on what else the machine does."""
    started_at = time.thread_time_ns()
    work()
    return (time.thread_time_ns() - started_at) / 1e3
