"""Which version of a program a host has, without running it: of the package, or of what its compiler left in it."""

import mmap
import re
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Final

from .host import Host

_PACKAGES: Final = "/var/lib/dpkg/status"
_PACKAGES_MAX_BYTES: Final = 64 * 1024 * 1024
"""Bounds dpkg's list of what is installed, in bytes: it has 1 KiB a package."""
_NUMBERS: Final = re.compile(r"(?:\d+:)?v?(\d+\.\d+(?:\.\d+)?)")
_GO_START: Final = bytes.fromhex("3077af0c9274080241e1c107e6d618e6") + b"path\t"
"""Where that begins, in every program. Source: Go, cmd/go/internal/modload, infoStart."""
_GO_BUILD: Final = re.compile(rb"version\.Version=v?(\d+\.\d+(?:\.\d+)?)|\nmod\t[^\t\n]+\tv(\d+\.\d+\.\d+)")
"""What Go's compiler writes into a program: the flags of its linker, and the module with its version."""
_KEPT: Final = 16
"""Bounds the answers that are kept: who looks again and again after files reads no program of 50 MB for it."""
_GO_BUILD_BYTES: Final = 64 * 1024
"""What is looked at from there on, in bytes; a program with 300 modules has 30 KiB of it."""


def package_version(host: Host, names: Iterable[str]) -> str | None:
    """The version of the first of some Debian packages that is installed: `1.6.20`."""
    try:
        place = host.place(_PACKAGES)
        return _of_package(place, place.stat().st_mtime_ns, tuple(names))
    except OSError:
        return None


def program_version(host: Host, paths: Iterable[str]) -> str | None:
    """The version of the first of some programs that was compiled by Go and says it: `2.3.4`."""
    for path in paths:
        with suppress(OSError, ValueError):
            place = host.place(path)
            return _of_program(place, place.stat().st_mtime_ns)
    return None


def numbers_of(version: str | None) -> tuple[int, int] | None:
    """The first two numbers of a version, to compare; None if there is none."""
    if version is None:
        return None
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


@lru_cache(_KEPT)
def _of_package(status: Path, mtime_ns: int, names: tuple[str, ...]) -> str | None:
    """What dpkg's list says, as it was changed last at that time."""
    with open(status, encoding="utf-8", errors="replace") as file:
        text = file.read(_PACKAGES_MAX_BYTES)
    for name in names:
        entry = rf"^Package: {re.escape(name)}\nStatus: \S+ \S+ installed\n(?:.+\n)*?Version: (\S+)"
        found = re.search(entry, text, re.MULTILINE)
        if found and (numbers := _NUMBERS.match(found[1])):
            return numbers[1]
    return None


@lru_cache(_KEPT)
def _of_program(path: Path, mtime_ns: int) -> str | None:
    """What a program says, as it was changed last at that time."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as program:
        start = program.find(_GO_START)
        while start >= 0:
            if found := _GO_BUILD.search(program, start, start + _GO_BUILD_BYTES):
                return (found[1] or found[2]).decode()
            start = program.find(_GO_START, start + 1)
    return None
