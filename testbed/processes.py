"""Processes in the background: started, waited for until they are ready, measured, and stopped by their id.

The kernel stops each of them when the thread that started it ends, for example because this process was killed.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from .errors import RunError

WAIT_S: Final = 20.0
"""How long anything is waited for by default, seconds: enough for a start on a machine whose cores are all busy."""

_STOP_S: Final = 20.0
"""How long a process may take to stop when it is asked to, seconds; then it is killed."""

_POLL_S: Final = 0.02
"""Pause between two looks at something that gives no signal of its own, seconds."""

_OUTPUT_SHOWN: Final = 2000
"""How much of a process's output an error shows, characters from its end: enough for a Python traceback."""

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and its descendants have used.

    Args:
        cpu_s: seconds of CPU time, user and system, since the start.
        rss_bytes: resident memory now; a page that several processes share counts for each.
        peak_bytes: sum of the highest resident memory of each process.
    """

    cpu_s: float
    rss_bytes: int
    peak_bytes: int


class Process:
    """A program in the background, with its output in a file.

    As a context manager it starts on entry and stops on exit.

    Args:
        name: for messages and tables.
        command: runs it in the foreground.
        log: file to which its output is appended.
        netns: network namespace that it runs in; None for the machine's own.
        orphan_signal: what it gets when its owner is killed. A program with workers that outlive a killed parent, such
            as nginx, needs `TERM`.
    """

    def __init__(
        self, name: str, command: Sequence[str], log: Path, *, netns: str | None = None, orphan_signal: str = "KILL"
    ) -> None:
        self.name = name
        self.log = log
        self.netns = netns
        self._command = command
        self._orphan_signal = orphan_signal
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def launch(self) -> None:
        """Start it, or start it again, and return at once."""
        assert not self.running, f"{self.name} is running already"
        with self.log.open("ab") as log:
            self._process = spawn(
                self._command, netns=self.netns, orphan_signal=self._orphan_signal, stdout=log, stderr=log
            )

    def start(self) -> None:
        """Start it, or start it again, and return when it is ready.

        Raises:
            RunError: it stopped before that, or is not ready in time; the message shows the end of its output.
        """
        self.launch()
        try:
            self.until(self.is_ready, "ready")
        except BaseException:
            self.kill()
            raise

    def is_ready(self) -> bool:
        """Whether it does what it was started for; subclasses ask it."""
        return True

    @property
    def command(self) -> Sequence[str]:
        """What is run."""
        return self._command

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The id of the process that runs now."""
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    @property
    def output(self) -> str:
        """All that it has printed, in all its runs."""
        return self.log.read_text(errors="replace")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, within_s: float = WAIT_S) -> int:
        """Wait until it has ended by itself; return its exit status."""
        assert self._process is not None
        return self._process.wait(within_s)

    def stop(self) -> int | None:
        """Stop it as an operator would, also if it is suspended; return its exit status, None if it does not run."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            return process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            kill(process)
            return process.returncode

    def kill(self) -> None:
        """Kill it and its descendants, as a crash would."""
        process, self._process = self._process, None
        if process is not None:
            kill(process)

    def usage(self) -> Usage:
        """What it and its descendants have used so far.

        Raises:
            RunError: it has ended.
        """
        used = usage(self._process.pid) if self._process is not None else None
        if used is None:
            raise self._ended()
        return used

    def until(self, condition: Callable[[], bool], what: str, within_s: float = WAIT_S) -> None:
        """Wait until a condition holds that it gives no signal of.

        Args:
            condition: is asked again and again.
            what: completes "NAME is not …" in the error.
            within_s: limit, seconds.

        Raises:
            RunError: it has ended, or the condition does not hold in time; the message shows the end of its output.
        """
        deadline = time.monotonic() + within_s
        while not condition():
            if not self.running:
                raise self._ended()
            if time.monotonic() > deadline:
                raise RunError(f"{self.name} is not {what} after {within_s:g} s; its output: {self._shown()}")
            time.sleep(_POLL_S)

    def _ended(self) -> RunError:
        return RunError(f"{self.name} has ended; its output: {self._shown()}")

    def _shown(self) -> str:
        return self.output.strip()[-_OUTPUT_SHOWN:] or "none"


def spawn(
    command: Sequence[str],
    *,
    netns: str | None = None,
    orphan_signal: str = "KILL",
    stdin: int = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.PIPE,
    stderr: int | IO[bytes] = subprocess.STDOUT,
) -> "subprocess.Popen[bytes]":
    """Start a command in a session of its own, so that Ctrl-C reaches its owner alone, which stops it in order.

    `setpriv` and `ip netns exec` keep the pid. The variables of the project's own settings are left out.
    """
    full = ["setpriv", "--pdeathsig", orphan_signal, *in_namespace(netns, command)]
    environment = clean_environment()
    return subprocess.Popen(full, stdin=stdin, stdout=stdout, stderr=stderr, env=environment, start_new_session=True)


def kill(process: "subprocess.Popen[bytes]") -> None:
    """End a spawned process and its descendants, unless it has ended, and wait for it."""
    if process.poll() is None:  # not waited for yet, so that its group's id is still its own
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run(command: Sequence[str], *, netns: str | None = None, timeout_s: float = 120) -> str:
    """Run a tool, and return what it printed.

    Raises:
        RunError: its exit status is not 0; the message shows what it printed to standard error.
    """
    full = in_namespace(netns, command)
    done = subprocess.run(full, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False)
    if done.returncode:
        complaint = done.stderr.decode(errors="replace").strip()[-_OUTPUT_SHOWN:]
        raise RunError(f"{' '.join(command)}: status {done.returncode}: {complaint}")
    return done.stdout.decode()


def wait_until(condition: Callable[[], bool], what: str, within_s: float = WAIT_S) -> None:
    """Wait for something outside this process that gives no signal of its own.

    Raises:
        RunError: the condition does not hold in time.
    """
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise RunError(f"waited {within_s:g} s for {what}, without success")
        time.sleep(_POLL_S)


def in_namespace(netns: str | None, command: Sequence[str]) -> list[str]:
    """The same command, run inside a named network namespace."""
    return [*(["ip", "netns", "exec", netns] if netns else []), *command]


def clean_environment() -> Mapping[str, str]:
    """The variables of this process without `SKVALLER_…`, which are settings of an agent."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SKVALLER_")}


def missing(*tools: str) -> list[str]:
    """Those of some commands that are not installed."""
    return [tool for tool in tools if shutil.which(tool) is None]


def remove_folder(folder: Path) -> None:
    """Remove a daemon's folder, with what the daemon left mounted inside."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in reversed([mount for mount in mounts if mount.startswith(f"{folder}/")]):
        subprocess.run(["umount", "--lazy", mount], check=False)
    shutil.rmtree(folder, ignore_errors=True)


def usage(pid: int) -> Usage | None:
    """What a process and its descendants have used so far; None if they have ended."""
    uses = [use for each in _tree(pid) if (use := _usage(each)) is not None]
    if not uses:
        return None
    return Usage(sum(u.cpu_s for u in uses), sum(u.rss_bytes for u in uses), sum(u.peak_bytes for u in uses))


def proportional_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants, bytes, each shared page divided among those that share it.

    It reads all their page tables, which takes milliseconds. One that has ended counts as nothing. Source: proc(5).
    """
    total = 0
    for each in _tree(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            rows = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
            total += sum(int(row.split()[1]) * 1024 for row in rows if row.startswith("Pss:"))
    return total


def _tree(pid: int) -> Iterator[int]:
    """A process and all its descendants."""
    yield pid
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _tree(int(child))


def _usage(pid: int) -> Usage | None:
    """What one process has used; None if it has ended meanwhile. Source: proc(5)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    sizes = dict(line.split(":", 1) for line in status.splitlines() if line.startswith(("VmRSS", "VmHWM")))
    if len(sizes) < 2:  # it has ended, and nobody has waited for it yet
        return None
    rss, peak = (int(sizes[key].split()[0]) * 1024 for key in ("VmRSS", "VmHWM"))
    return Usage((int(stat[11]) + int(stat[12])) / _TICKS_PER_S, rss, peak)
