"""Lets the faults of the schedule happen: each lane in a thread of its own, so that no lane waits for another one."""

import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from testbed.errors import RunError

from .acts import ACTS, Stage
from .ledger import Error, Ledger
from .schedule import Fault
from .settings import LATE_MAX_S


class Director:
    """Everything happens inside of `with`.

    The kernel ends a process with the thread that started it. So the threads stay until the end of `with`, which has to
    come after the last process is done with.

    Args:
        schedule: the faults by lane.
        stage: what they happen to.
        ledger: is told what was done.
    """

    def __init__(self, schedule: Mapping[str, Sequence[Fault]], stage: Stage, ledger: Ledger) -> None:
        self._stage = stage
        self._ledger = ledger
        self._broken_off = threading.Event()
        self._released = threading.Event()
        self._through = [threading.Event() for _ in schedule]
        self._threads = [
            threading.Thread(target=self._follow, args=(faults, through))
            for faults, through in zip(schedule.values(), self._through, strict=True)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._broken_off.set()
        self._released.set()
        for thread in self._threads:
            thread.join()

    def until_over(self) -> None:
        """Wait until everything has happened and is over."""
        for through in self._through:
            through.wait()

    def _follow(self, faults: Sequence[Fault], through: threading.Event) -> None:
        try:
            for fault in faults:
                late_s = self._stage.timeline.now() - fault.at_s
                if self._broken_off.wait(max(0.0, -late_s)):
                    break
                if late_s > LATE_MAX_S:  # the one before it took long
                    continue
                self._let_happen(fault)
        finally:
            through.set()
            self._released.wait()

    def _let_happen(self, fault: Fault) -> None:
        timeline = self._stage.timeline
        began_s = timeline.now()
        try:
            with ACTS[fault.kind](self._stage, fault) as what:
                self._ledger.fault(fault.kind, fault.lane, timeline.now(), what)
                self._broken_off.wait(fault.seconds)
        except (RunError, OSError) as error:
            took_s = round(timeline.now() - began_s, 2)
            self._ledger.error(
                Error(timeline.now(), fault.target, f"after {fault.kind}", fault.lane, str(error)[-1500:], took_s, None)
            )
