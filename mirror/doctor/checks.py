"""The checks: a table, and how it is worked through.

Facts come from sources. Sources are asked side by side, each within a bound, and each once, however many checks judge
what it gave. A source that fails, or a check that does, is a finding of its own, and keeps none of the others.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from . import Finding, warning

BOUND_S: Final = 45.0
"""Bounds the gathering of each source's facts, s: probes of three runtimes that do not answer, one after the other."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Args:
        name: of its findings; those that it makes under another name belong to it as well.
        asks: the question, for people.
        source: whose facts it judges.
        judge: gives its findings. Pure.
    """

    name: str
    asks: str
    source: str
    judge: Callable[[Any], Sequence[Finding]]


def examine(
    checks: Sequence[Check], sources: Mapping[str, Callable[[], Any]], bound_s: float = BOUND_S
) -> Iterator[tuple[Check, list[Finding]]]:
    """Work through checks; give the findings of each as they come.

    Args:
        checks: in any order.
        sources: gather facts, by name; they may block, and raise.
        bound_s: for each source.
    """
    wanted = {check.source for check in checks}
    came: queue.Queue[tuple[str, Any, Exception | None]] = queue.Queue()

    def gather(name: str) -> None:
        try:
            came.put((name, sources[name](), None))
        except Exception as error:  # noqa: BLE001 - whatever it is, the others are to be told
            came.put((name, None, error))

    for name in wanted:
        # Daemons: a lookup of a name cannot be ended, and must not keep the program.
        threading.Thread(target=gather, args=(name,), daemon=True, name=f"facts of {name}").start()
    until = time.monotonic() + bound_s
    while wanted:
        try:
            name, facts, error = came.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            break
        wanted.discard(name)
        for check in (it for it in checks if it.source == name):
            yield check, _judged(check, facts, error)
    for check in (it for it in checks if it.source in wanted):
        yield check, [_failed(check, f"nothing came of it within {bound_s:g} s")]


def _judged(check: Check, facts: Any, error: Exception | None) -> list[Finding]:
    if error is not None:
        return [_failed(check, str(error) or type(error).__name__)]
    try:
        return list(check.judge(facts))
    except Exception as failure:  # noqa: BLE001 - one check that fails keeps none of the others
        return [_failed(check, f"{type(failure).__name__}: {failure}")]


def _failed(check: Check, why: str) -> Finding:
    return warning(
        check.name, f"not found out: {why}", f"The question is: {check.asks}?", "skvaller doctor    # once more"
    )
