"""The files of this host's runtimes, as commands change them: a change is shown, and made unless that is all."""

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from ..errors import ConfigError
from ..runtimes import Runtime, Wanted
from ..runtimes.configuring import Plan, carry_out, plan_adding, plan_removing, restarted
from ..runtimes.host import Host
from ..runtimes.records import Records
from ..runtimes.shown import diff

_COLOURS: Final = {"+": "green", "-": "red", "@": "cyan"}
"""Of the lines of a diff, by their first character."""
_DIFF_LINES_MAX: Final = 40
"""Of a file's diff, as many lines are shown: podman's new file has ten lines for each of a hundred registries."""
_ERROR_CHARACTERS: Final = 500
"""Of what a command says that fails, as much is shown."""


class RuntimeFiles:
    """Plans, shows and makes changes of runtimes' files, one runtime after the other.

    Args:
        root: stands for the host's `/`.
        data_dir: the agent's, which remembers what was written.
        dry_run: whether nothing is written.
        restart: whether what has to be restarted is, s at most; None if it is only named.
        is_quiet: whether nothing is shown, because all is told as JSON at the end.
    """

    def __init__(self, root: Path, data_dir: Path, *, dry_run: bool, restart: float | None, is_quiet: bool) -> None:
        self._host = Host(root)
        self.records = Records(data_dir)
        self._dry_run = dry_run
        self._restart_s = restart
        self._is_quiet = is_quiet

    def add(self, runtimes: Sequence[Runtime], wanted: Wanted, *, named: bool) -> list[dict[str, Any]]:
        """Make runtimes ask the agent; tells what became of each that is installed, or that was `named`."""
        return self._each(runtimes, lambda each: plan_adding(each, self._host, wanted, self.records), named)

    def remove(self, runtimes: Sequence[Runtime]) -> list[dict[str, Any]]:
        """Take back what was written; tells what became of each of which something was."""
        return self._each(runtimes, lambda each: plan_removing(each, self._host, self.records), False)

    def _each(
        self, runtimes: Sequence[Runtime], plan: Callable[[Runtime], Plan | None], named: bool
    ) -> list[dict[str, Any]]:
        told = []
        for runtime in runtimes:
            try:
                planned = self._planned(runtime, plan)
            except ConfigError as error:
                told.append(_told(runtime.name, problem=str(error)))
                self._say(f"{runtime.name}: {error}", is_problem=True)
                continue
            if planned is not None:
                told.append(planned)
            elif named:
                problem = f"{runtime.name} is not found below {self._host.root}"
                told.append(_told(runtime.name, problem=problem))
                self._say(problem, is_problem=True)
        self._sum_up(told)
        return told

    def _planned(self, runtime: Runtime, make: Callable[[Runtime], Plan | None]) -> dict[str, Any] | None:
        """Plan for one runtime, show and do it; what has nothing to be written for needs no right to write."""
        plan = make(runtime)
        if plan is None or self._dry_run:
            return None if plan is None else self._shown(plan, is_written=False)
        if not plan.is_done:
            with self.records.locked():
                plan = make(runtime) or plan  # by what is there now that nobody else writes
                carry_out(plan, self._host, self.records)
        told = self._shown(plan, is_written=True)
        if plan.restart and self._restart_s is not None:
            command = " ".join(plan.restart)
            self._say(f"running {command}")
            problem = self._run(plan.restart)
            told["restarted"] = problem is None
            if problem is None:
                restarted(runtime.name, self.records)
            else:
                back = f"; `skvaller unconfigure {runtime.name} --restart` puts them back" if plan.is_adding else ""
                told["problem"] = f"its files are written, but `{command}` failed: {problem}{back}"
                self._say(f"{runtime.name}: {told['problem']}", is_problem=True)
        return told

    def _shown(self, plan: Plan, *, is_written: bool) -> dict[str, Any]:
        """Show a plan, and what became of it."""
        title = click.style(" ".join(filter(None, (plan.runtime, plan.version))), bold=True)
        if not plan.steps:
            self._say(f"{title} {'asks the agent already' if plan.is_adding else 'has nothing left of what was added'}")
        else:
            self._say(f"{title}:")
        for step in plan.steps:
            lines = diff(step)
            for line in lines[:_DIFF_LINES_MAX]:
                self._say(click.style(line, fg=_COLOURS.get(line[0] if line else "")))
            if len(lines) > _DIFF_LINES_MAX:
                self._say(f"… and {len(lines) - _DIFF_LINES_MAX} more lines; --json has them all")
        for note in plan.notes:
            self._say(f"note: {note}")
        if plan.steps:
            self._say(self._end(plan, is_written))
        return _told(plan.runtime, plan)

    def _sum_up(self, told: Sequence[Mapping[str, Any]]) -> None:
        """Show the commands that are left to the operator."""
        left = [each for each in told if each["restart"] and not each["restarted"]]
        if not left:
            return
        todo = "this would have to be run" if self._dry_run else "run this"
        self._say(f"to have it read, {todo} (--restart does it):")
        for each in left:
            is_due = "" if each["files"] else "    # if that was not done since"
            self._say(f"  {' '.join(each['restart'])}{is_due}")

    def _end(self, plan: Plan, is_written: bool) -> str:
        """What became of the changes."""
        if not is_written:
            return "nothing is written, for this is only shown (--dry-run)"
        if not plan.is_adding:
            return "taken back"
        return f"written; what was there is in {self.records.folder / plan.runtime}" if plan.copies else "written"

    def _say(self, text: str, *, is_problem: bool = False) -> None:
        if not self._is_quiet:
            click.echo(f"Error: {text}" if is_problem else text, err=is_problem)

    def _run(self, command: Sequence[str]) -> str | None:
        """Run a command of the host; what went wrong, or None."""
        root = self._host.root
        is_here = root == Path("/")
        try:
            subprocess.run(
                command,
                check=True,
                capture_output=True,
                timeout=self._restart_s,
                env=os.environ | {"SYSTEMD_IGNORE_CHROOT": "1"},
                preexec_fn=None if is_here else lambda: os.chroot(root),
            )
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace").strip()
            return said[-_ERROR_CHARACTERS:] or f"it ended with status {error.returncode}"
        except (OSError, subprocess.SubprocessError) as error:
            return str(error)
        return None


def is_well(told: Sequence[Mapping[str, Any]]) -> bool:
    """Whether nothing stood in the way of any runtime."""
    return all(each["problem"] is None for each in told)


def _told(runtime: str, plan: Plan | None = None, *, problem: str | None = None) -> dict[str, Any]:
    """What became of a runtime, for JSON."""
    return {
        "runtime": runtime,
        "version": None if plan is None else plan.version,
        "files": [] if plan is None else [{"path": step.path, "diff": diff(step)} for step in plan.steps],
        "notes": [] if plan is None else list(plan.notes),
        "restart": [] if plan is None else list(plan.restart),
        "restarted": False,
        "problem": problem,
    }
