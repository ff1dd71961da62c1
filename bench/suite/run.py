"""Runs the steps, one after the other, each as a process of its own."""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console

from testbed.processes import kill, spawn

from ..machine import need_root
from ..page.results import read
from ..report import BenchError
from ..versions import code
from .done import digests, is_done
from .progress import Estimate, duration
from .steps import Step

_LOOK_S: Final = 1.0
"""Time between two updates of the progress, seconds."""

_STOP_S: Final = 90.0
"""How long a bench may take to stop and remove what it made, seconds: its processes have 20 s each, most at once."""

_COMPLAINT_CHARACTERS: Final = 2000
"""How much of the output of a step that failed its file keeps, from the end."""


def run_all(console: Console, steps: Sequence[Step], folder: Path) -> bool:
    """Run what is not there yet; return whether all steps have succeeded.

    A step that fails leaves a file that says why, and is run again the next time. The file of a step appears when it is
    complete. Ctrl-C and SIGTERM stop the step that runs, which removes what it made.

    Raises:
        BenchError: another suite uses the folder, or a step that is to be run needs root: nothing has been run then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _alone_in(folder):
        return _run_all(console, steps, folder)


def _run_all(console: Console, steps: Sequence[Step], folder: Path) -> bool:
    for part in folder.glob("*.part"):
        part.unlink()
    waiting = _waiting(steps, folder)
    if any(needs_root(step) for step in waiting):
        need_root("all")
    estimate = Estimate([step.usual_s for step in waiting])
    console.print(
        f"{len(waiting)} of {len(steps)} steps to run, about {duration(estimate.left_s(0.0))}; results in {folder}"
    )
    failed = 0
    for number, step in enumerate(waiting, start=1):
        began_at = time.monotonic()
        with console.status("") as status:

            def tell(number: int = number, step: Step = step, began_at: float = began_at) -> None:
                left = duration(estimate.left_s(time.monotonic() - began_at))
                status.update(f"{number} of {len(waiting)}: {step.name}; about {left} left")

            error = run_step(step, folder, tell)
        took_s = time.monotonic() - began_at
        estimate.add(took_s)
        failed += error is not None
        said = "[red]failed[/red]" if error is not None else "done"
        left = duration(estimate.left_s(0.0))
        console.print(f"{number} of {len(waiting)}: {step.name}: {said} after {duration(took_s)}; about {left} left")
        if error is not None:
            console.print(error.splitlines()[-1] if error else "", style="dim", markup=False)
    return not failed


def _waiting(steps: Sequence[Step], folder: Path) -> Sequence[Step]:
    """The steps that are to be run: what is not done, and what is compared with a step that is run again."""
    waiting: dict[str, Step] = {}
    for step in steps:
        if not is_done(folder / f"{step.name}.json", step) or not waiting.keys().isdisjoint(step.checks):
            waiting[step.name] = step
    return list(waiting.values())


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other suites out of a folder; the kernel lets them in again when this process ends, however it does."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BenchError(f"another suite uses {folder}: wait for its end, or name another --folder") from None
        yield
    finally:
        os.close(descriptor)


def needs_root(step: Step) -> bool:
    """Whether a step makes network namespaces: the lab's, and gossip between real processes."""
    return step.arguments[0] == "lab" or (step.arguments[0] == "gossip" and "--sim" not in step.arguments)


def run_step(step: Step, folder: Path, tell: Callable[[], None]) -> str | None:
    """Run one step, and write its file; return why it failed, if it did."""
    part, log, target = (folder / f"{step.name}.{suffix}" for suffix in ("part", "log", "json"))
    checks = digests(step, folder)
    compared = [word for name in checks for word in ("--lab", str(folder / f"{name}.json"))]
    command = [sys.executable, "-m", "bench", *step.arguments, *compared, "--json", str(part)]
    began_at = time.monotonic()
    try:
        with log.open("wb") as output:
            status = _wait(spawn(command, orphan_signal="TERM", stdout=output, stderr=output), tell)
        error = _complaint(status, log)
        found: dict[str, Any] = {"bench": " ".join(step.arguments)}
        try:
            read(part)
            found = msgspec.json.decode(part.read_bytes())
        except (BenchError, OSError) as unreadable:
            error = error or str(unreadable)
        took_s = time.monotonic() - began_at
        about = {
            "name": step.name,
            "arguments": step.arguments,
            "checks": checks,
            "code": code(),
            "took_s": took_s,
            "error": error,
        }
        part.write_bytes(msgspec.json.encode({**found, "step": about}))
        part.replace(target)
        return error
    finally:
        part.unlink(missing_ok=True)


def _wait(process: "subprocess.Popen[bytes]", tell: Callable[[], None]) -> int:
    """Wait for the end of a process; whatever ends this, ends that."""
    try:
        while True:
            tell()
            try:
                return process.wait(_LOOK_S)
            except subprocess.TimeoutExpired:
                continue
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                kill(process)


def _complaint(status: int, log: Path) -> str | None:
    if not status:
        return None
    said = log.read_text(errors="replace").strip()[-_COMPLAINT_CHARACTERS:]
    return f"exit status {status}\n{said or 'without a word'}"
