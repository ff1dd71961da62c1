"""What was measured, and where: the machine, the versions of all programs, and the code of this checkout."""

import hashlib
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from mirror import __version__

ROOT: Final = Path(__file__).resolve().parents[1]

CODE: Final = "code"
"""Key of the digest of what is measured among the versions."""

COMMIT: Final = "commit"
"""Key of the checkout's commit among the versions."""

_PROGRAMS: Final[Mapping[str, tuple[str, ...]]] = {
    "nginx": ("nginx", "-v"),
    "docker-registry": ("docker-registry", "--version"),
    "serf": ("serf", "version"),
    "containerd": ("containerd", "--version"),
    "spegel": ("spegel", "--version"),
}
"""How each program tells its version, by its name."""

_LIBRARIES: Final = ("libp2p", "uvloop", "aiohttp", "cryptography")
"""Distributions whose version decides what is measured."""

_MEASURED: Final = ("gossip", "mirror", "testbed", "bench")
"""Packages whose code decides what is measured."""

_SHOWN: Final = ("page", "suite", "claims.py")
"""What of `bench` only starts benches, or shows and words what they found: results stay as they are if it changes."""

_SBIN: Final = ":/usr/local/sbin:/usr/sbin:/sbin"
_ANSWER_S: Final = 10.0
"""How long a program may take to tell its version, seconds: many times what it takes on a busy machine."""


def machine() -> Mapping[str, str | int | None]:
    """This machine: its cores, memory and kernel, and the Python that runs."""
    return {
        "cpus": os.cpu_count(),
        "cpu": _cpu(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


@cache
def versions() -> Mapping[str, str]:
    """What is there of ours, of the rivals, and of the libraries that decide what is measured.

    `code` is the digest of what is measured; `commit` is the checkout's, which also changes with what is not.
    """
    found = {"skvaller": __version__, CODE: code(), COMMIT: _commit()}
    for name, command in _PROGRAMS.items():
        if said := told(command):
            found[name] = said
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def told(command: tuple[str, ...]) -> str | None:
    """The version in the first line of what a program prints; None if it is not there, or tells none."""
    program = shutil.which(command[0], path=os.environ.get("PATH", "") + _SBIN)
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_ANSWER_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"v?(\d+\.\d+\S*)", done.stdout.decode(errors="replace"))
    return found[1] if found else None


@cache
def code() -> str:
    """A digest of the code that decides what is measured, so that results of other code are not taken for its own."""
    digest = hashlib.sha256()
    for package in _MEASURED:
        for path in sorted((ROOT / package).rglob("*.py")):
            relative = path.relative_to(ROOT)
            if relative.parts[:2] not in {("bench", shown) for shown in _SHOWN}:
                digest.update(f"{relative}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _commit() -> str:
    """The commit of the checkout, where git knows one."""
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), "log", "-1", "--format=%h"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ANSWER_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.decode().strip() or "unknown"


def _cpu() -> str | None:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else None
