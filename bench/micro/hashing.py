"""Hashes of a file in the page cache: as the agent makes and checks them, beside `sha256sum` and `openssl`."""

import hashlib
import os
import resource
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import xxhash

from mirror.fileio import hash_range
from mirror.settings import SpoolSettings
from mirror.stores.proofs import ContentHasher

from ..content import make_blob
from ..machine import need, workplace
from ..report import GIB, MIB, OURS, Comparison, Goal, Table
from ..rounds import turned
from .amount import Amount

_TIMEOUT_S: Final = 120.0
_SHA256: Final = "sha256"
_PROVEN: Final = "sha256, and xxh3 of each block"
_CHECK: Final = "xxh3"
_MOST: Final = 1.2
"""Times the CPU of `openssl` that the agent's sha256 may take: both are to be as fast as the CPU allows."""


def measure(amount: Amount, folder: Path | None) -> tuple[Table, list[Goal]]:
    """Hash a file again and again.

    Raises:
        BenchError: a program is missing, or there is not enough space.
    """
    need(sha256sum="coreutils", openssl="openssl")
    comparison = Comparison()
    with workplace(folder, 2 * amount.file_bytes) as place:
        file = make_blob(place / "file", amount.file_bytes).file
        work = _work(file, amount.file_bytes)
        for number in range(min(amount.rounds, 7)):
            for (load, program), hash_it in turned(list(work.items()), number):
                comparison.add(load, program, *_rate(hash_it, amount.file_bytes))
    title = f"Hashing {amount.file_bytes / MIB:.0f} MiB in the page cache, each reading it for itself"
    goals = [Goal("x the CPU of openssl, sha256", _MOST, 1 / comparison.cost_ratio(_SHA256, "openssl"), most=True)]
    return comparison.table(title, rate=("MB/s", ",.0f"), cost=("CPU s/GiB", ".2f")), goals


def _work(file: Path, size: int) -> dict[tuple[str, str], Callable[[], None]]:
    """What is done in each round, by load and program."""
    return {
        (_SHA256, OURS): lambda: _read(file, size, hashlib.sha256().update),
        (_SHA256, "sha256sum"): lambda: _run(["sha256sum", str(file)]),
        (_SHA256, "openssl"): lambda: _run(["openssl", "dgst", "-sha256", str(file)]),
        (_PROVEN, OURS): lambda: _read(file, size, ContentHasher(size).update),
        (_CHECK, OURS): lambda: _read(file, size, xxhash.xxh3_64().update),
    }


def _read(file: Path, size: int, update: Callable[[memoryview], object]) -> None:
    """Read a file as the agent does when it hashes what has arrived."""
    fd = os.open(file, os.O_RDONLY)
    try:
        hash_range(update, fd, 0, size, SpoolSettings().hash_read_bytes)
    finally:
        os.close(fd)


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, stdout=subprocess.DEVNULL, timeout=_TIMEOUT_S, check=True)


def _rate(hash_it: Callable[[], None], size: int) -> tuple[float, float]:
    """MB/s, and CPU seconds for each GiB, of this process and those that it has started."""
    cpu_s, started_at = _cpu_s(), time.perf_counter()
    hash_it()
    took_s = time.perf_counter() - started_at
    return size / took_s / 1e6, (_cpu_s() - cpu_s) / (size / GIB)


def _cpu_s() -> float:
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)
