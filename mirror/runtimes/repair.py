"""The agent's own look after what was written: where somebody took it away, it is written again.

What a runtime should ask stands in its record, which `skvaller configure` makes and `skvaller unconfigure` removes.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ConfigError
from ..fileio import in_thread
from . import Runtime
from .configuring import Plan, carry_out, plan_adding
from .host import Host
from .records import Records

log = logging.getLogger(__name__)


class Repair:
    """Looks again and again at the files of runtimes that were configured.

    Args:
        named: gives a runtime by its name; it may take a while to load. None: it is not known.
        root: stands for the host's `/`.
        data_dir: has the records.
        look_s: time between two looks, s.
    """

    def __init__(self, named: Callable[[str], Runtime | None], root: Path, data_dir: Path, look_s: float) -> None:
        self._named = named
        self._host = Host(root)
        self._records = Records(data_dir)
        self._look_s = look_s
        self._problems: dict[str, str] = {}

    async def run(self) -> None:
        """Look, for ever."""
        while True:
            await in_thread(self.look)
            await asyncio.sleep(self._look_s)

    def look(self) -> None:
        """Write again what was taken away, and log that; what stands in the way is logged once. Blocks."""
        for name in self._names():
            if (runtime := self._named(name)) is not None:
                with self._told(name):
                    self._write_again(runtime)

    def _names(self) -> list[str]:
        with self._told("all"):
            return self._records.names()
        return []

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Log what stands in the way, if that is new."""
        try:
            yield
            self._problems.pop(name, None)
        except ConfigError as error:
            if self._problems.get(name) != str(error):
                log.warning("files of runtimes cannot be looked after: %s runtime=%s", error, name)
            self._problems[name] = str(error)

    def _write_again(self, runtime: Runtime) -> None:
        if not self._plan(runtime).steps:
            return
        with self._records.locked():
            plan = self._plan(runtime)  # by what is there now that nobody else writes
            carry_out(plan, self._host, self._records)
        advice = f"; now run: {' '.join(plan.restart)}" if plan.restart else ""
        for step in plan.steps:
            log.warning(
                "a runtime's file no longer named this agent, and was written again%s runtime=%s path=%s",
                advice, runtime.name, step.path,
            )  # fmt: skip

    def _plan(self, runtime: Runtime) -> Plan:
        """What is to be written; nothing if it is not to ask the agent, or is not here."""
        record = self._records.read(runtime.name)
        plan = None if record is None else plan_adding(runtime, self._host, record.wanted, self._records)
        return Plan(runtime.name, None, record=record) if plan is None else plan
