"""Servers under test, as processes of their own: started, asked what they use, and stopped whatever happens."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from .report import BenchError

START_S = 15.0
STOP_S = 25.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_SBIN = ":/usr/local/sbin:/usr/sbin:/sbin"


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and its children have used.

    Args:
        cpu_s: seconds of CPU time, user and system, since the start.
        rss_bytes: resident memory now; pages that several share count for each.
        peak_bytes: the most that each ever had.
    """

    cpu_s: float
    rss_bytes: int
    peak_bytes: int


class Server:
    """A server in a process of its own, from `with` on until its end.

    Args:
        name: for tables.
        command: runs it in the foreground.
        address: where it will listen.
        log: file for what it prints.
    """

    def __init__(self, name: str, command: Sequence[str], address: Address, log: Path) -> None:
        self.name = name
        self.address = address
        self._command = command
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        # A session of its own keeps Ctrl-C from it, so that we stop it in order; setpriv ends it should we be killed.
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *self._command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        try:
            self._await_listening()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def usage(self) -> Usage:
        """What it and its children have used so far."""
        assert self._process is not None
        used = usage(self._process.pid)
        if used is None:
            raise self._ended()
        return used

    def _await_listening(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise self._ended()
            with suppress(OSError), socket.create_connection(self.address, 1):
                return
            time.sleep(0.02)
        raise BenchError(f"{self.name} does not listen on {self.address} after {START_S:g} s")

    def _ended(self) -> BenchError:
        lines = self._log.read_text(errors="replace").strip().splitlines()[-1:]
        return BenchError(f"{self.name} ended: {''.join(lines) or 'it said nothing'}")

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def usage(pid: int) -> Usage | None:
    """What a process and its children have used so far; None if they have ended."""
    uses = [use for each in _tree(pid) if (use := _usage(each)) is not None]
    if not uses:
        return None
    return Usage(sum(u.cpu_s for u in uses), sum(u.rss_bytes for u in uses), sum(u.peak_bytes for u in uses))


def need(**packages: str) -> None:
    """Make sure that commands are there; raise BenchError, naming the Debian packages, where they are not."""
    os.environ["PATH"] = os.environ.get("PATH", "") + _SBIN
    missing = [package for command, package in packages.items() if shutil.which(command.replace("_", "-")) is None]
    if missing:
        raise BenchError(f"this bench needs {' and '.join(missing)}: apt-get install {' '.join(missing)}")


@contextmanager
def workplace(parent: Path | None, needed_bytes: int) -> Iterator[Path]:
    """A temporary folder with enough room, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="skvaller-bench-", dir=parent, ignore_cleanup_errors=True) as name:
        free = shutil.disk_usage(name).free
        if free < needed_bytes:
            raise BenchError(
                f"{Path(name).parent} has {free >> 20} MiB free, but {needed_bytes >> 20} MiB are needed: use --folder"
            )
        yield Path(name)


def free_address(host: str = "127.0.0.1") -> Address:
    """An address where nobody listens now, over TCP or UDP."""
    for _ in range(100):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp, suppress(OSError):
            tcp.bind((host, 0))
            port = int(tcp.getsockname()[1])
            udp.bind((host, port))
            return Address(host, port)
    raise BenchError(f"no port is free on {host}")


def _tree(pid: int) -> Iterator[int]:
    """A process and all that descend from it."""
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
    if len(sizes) < 2:
        return None
    rss, peak = (int(sizes[key].split()[0]) * 1024 for key in ("VmRSS", "VmHWM"))
    return Usage((int(stat[11]) + int(stat[12])) / _TICKS_PER_S, rss, peak)
