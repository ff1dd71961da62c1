"""Whether a step has to be run: what its file says that was measured, beside what is wanted now."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from ..page.results import read
from ..report import BenchError
from ..versions import CODE, code
from .steps import Step

_MODE: Final = "--mode"
_SPEGELS: Final = ("--spegel", "--spegel-containerd")
"""Where Spegel is: only steps that have its mode are given these."""


class _Noted(msgspec.Struct, frozen=True):
    """Of what the suite notes in a file, what only the suite asks for."""

    checks: dict[str, str] = {}


class _File(msgspec.Struct, frozen=True):
    step: _Noted = _Noted()


def is_done(path: Path, step: Step) -> bool:
    """Whether a step's file is there, whole, of the same settings and code, and of a step that succeeded.

    A file with more modes than are wanted will do: nothing that was measured is thrown away because an option is left
    out. The suite and the bench that it started both note their code, which differs if somebody edited it in between. A
    step that is compared with others is done if their files are still those that it was compared with.
    """
    try:
        found = read(path)
        checks = msgspec.json.decode(path.read_bytes(), type=_File).step.checks
    except (BenchError, OSError, ValueError):
        return False
    noted = found.step
    if noted is None or noted.error is not None or {noted.code, found.versions.get(CODE)} != {code()}:
        return False
    return _covers(noted.arguments, step.arguments) and checks == digests(step, path.parent)


def digests(step: Step, folder: Path) -> Mapping[str, str]:
    """The files to which a step compares its results: their digests, by the names of their steps.

    Those of steps that have failed, or have not been run, are left out.
    """
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        for name, path in ((name, folder / f"{name}.json") for name in step.checks)
        if _has_succeeded(path)
    }


def _has_succeeded(path: Path) -> bool:
    try:
        noted = read(path).step
    except (BenchError, OSError):
        return False
    return noted is not None and noted.error is None


def _covers(had: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether what was run with some arguments is what others ask for, or that in more modes."""
    others, modes, spegels = _split(had)
    wanted_others, wanted_modes, wanted_spegels = _split(wanted)
    return others == wanted_others and modes >= wanted_modes and wanted_spegels in ([], spegels)


def _split(arguments: Sequence[str]) -> tuple[list[str], set[str], list[str]]:
    """The modes among some arguments, where Spegel is, and all others (first)."""
    others, modes, spegels = list[str](), set[str](), list[str]()
    words = iter(arguments)
    for word in words:
        if word == _MODE:
            modes.add(next(words, ""))
        elif word in _SPEGELS:
            spegels += [word, next(words, "")]
        else:
            others.append(word)
    return others, modes, spegels
