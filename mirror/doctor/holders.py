"""Which process has a port, as the kernel tells it to those who may know: root of all processes, others of their own.

Source: proc_net(5), tcp and udp; proc_pid_fd(5).
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

_PROC: Final = Path("/proc")
_NET: Final = Path("/proc/thread-self/net")
_LISTENING: Final = "0A"
_COMMAND_MAX: Final = 120
"""Bounds what is shown of a command line, in characters."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process.

    Args:
        pid: its number; None if this user may not know it.
        command: its command line, as far as it is shown; empty if it is not known.
        is_agent: whether it looks like an agent of this project.
    """

    pid: int | None = None
    command: str = ""
    is_agent: bool = False

    def __str__(self) -> str:
        if self.pid is None:
            return "a process that only root may see: run doctor with sudo"
        return f"process {self.pid} ({self.command})"


def holder_of(port: int, protocol: Literal["tcp", "udp"]) -> Holder | None:
    """The process that listens at a port of this machine; None if none does."""
    inodes: set[str] = set()
    for table in (protocol, f"{protocol}6"):
        with contextlib.suppress(OSError):
            for line in (_NET / table).read_text().splitlines()[1:]:
                fields = line.split()
                is_it = int(fields[1].rpartition(":")[2], 16) == port
                if is_it and (protocol == "udp" or fields[3] == _LISTENING):
                    inodes.add(f"socket:[{fields[9]}]")
    return _process_with(inodes) if inodes else None


def _process_with(links: set[str]) -> Holder:
    """The process that has one of these sockets open."""
    for process in _PROC.iterdir():
        if not process.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if os.readlink(descriptor) in links:
                        return described(int(process.name))
    return Holder()


def described(pid: int) -> Holder:
    """A process by its number."""
    words: list[str] = []
    with contextlib.suppress(OSError):
        words = (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    is_agent = "agent" in words and any(word.endswith(("skvaller", "mirror")) for word in words)
    return Holder(pid, " ".join(" ".join(words).split())[:_COMMAND_MAX], is_agent)
