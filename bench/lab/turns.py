"""Watching for the moment at which an answer turns, on several nodes at once; and what many times amount to."""

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from .finding import Look

_PAUSE_S: Final = 0.005
"""Between an answer and the next question, seconds: what the times are exact to, without asking all the time."""

_LOOK_S: Final = 0.02
"""Between two looks at what gives no answer with a time, seconds."""

AT_LEAST: Final = "_at_least"
"""Ends the name of the figure that says that another one was still growing when nobody looked any more."""


def turns(
    looks: Mapping[str, Callable[[], Look]],
    turned: Callable[[Look], bool],
    within_s: float,
    begin: Callable[[], float] = time.monotonic,
) -> tuple[float, Mapping[str, Look]]:
    """Ask some nodes again and again until each answer has turned.

    Args:
        looks: questions by node; each is asked in a thread of its own.
        turned: whether an answer is the one that is waited for.
        within_s: time after which no question is asked any more, seconds.
        begin: what is done first, when all threads are there; gives the monotonic time from which `within_s` counts.

    Returns:
        That time, and the first answer that has turned, by node; those that have not in time are missing.
    """
    began = threading.Event()
    deadline = math.inf

    def watch(look: Callable[[], Look]) -> Look | None:
        began.wait()
        while time.monotonic() < deadline:
            seen = look()
            if turned(seen):
                return seen
            time.sleep(_PAUSE_S)
        return None

    with ThreadPoolExecutor(max(1, len(looks))) as threads:
        seen = {name: threads.submit(watch, look) for name, look in looks.items()}
        try:
            began_at = begin()
            deadline = began_at + within_s
        except BaseException:
            deadline = -math.inf
            raise
        finally:
            began.set()
        found = {name: future.result() for name, future in seen.items()}
    return began_at, {name: look for name, look in found.items() if look is not None}


def last_named(
    looks: Mapping[str, Callable[[], Look]], quiet_s: float, within_s: float, begin: Callable[[], float]
) -> tuple[float, float | None]:
    """Ask some nodes for the content of a holder that goes, until none of them names it any more.

    A question without an answer counts as one that names it: somebody is still being asked.

    Args:
        looks: questions by node; each is asked in a thread of its own.
        quiet_s: for how long a node has to name nobody, seconds: longer than it keeps what it has just looked up.
        within_s: time after which no question is asked any more, seconds.
        begin: lets the holder go; gives the monotonic time from which `within_s` counts.

    Returns:
        That time, and the monotonic time of the last answer that named it; None if that may not be the last one.
    """

    def watch(look: Callable[[], Look]) -> float | None:
        went.wait()
        last_at = began_at
        while (now := time.monotonic()) < began_at + within_s:
            if now - last_at >= quiet_s:
                return last_at
            seen = look()
            if seen.offered or not seen.answered:
                last_at = seen.answer.answered_at
            time.sleep(_LOOK_S)
        return None

    went = threading.Event()
    began_at = -math.inf
    with ThreadPoolExecutor(max(1, len(looks))) as threads:
        watches = [threads.submit(watch, look) for look in looks.values()]
        try:
            began_at = begin()
        finally:
            went.set()
        ends = [each.result() for each in watches]
    return began_at, None if None in ends else max((end for end in ends if end is not None), default=began_at)


def bounded(name: str, seconds: float, within_s: float, *, reached: bool) -> Mapping[str, float]:
    """A time as a figure; where its end was not seen, the time for which it was watched, marked as such."""
    return {name: seconds} if reached else {name: within_s, f"{name}{AT_LEAST}": 1.0}


def until(condition: Callable[[], bool], within_s: float) -> bool:
    """Wait until a condition holds, but not longer than this; return whether it does."""
    deadline = time.monotonic() + within_s
    while not (held := condition()) and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
    return held


def percentile(values: Sequence[float], percent: float) -> float:
    """The least of some values that as many percent of them do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def spread(name: str, seconds: Sequence[float]) -> Mapping[str, float]:
    """Median, 99th percentile and most of some times, as figures in milliseconds; none of no times."""
    if not seconds:
        return {}
    marks = {"p50": percentile(seconds, 50), "p99": percentile(seconds, 99), "max": max(seconds)}
    return {f"{name}_{mark}_ms": 1000 * value for mark, value in marks.items()}
