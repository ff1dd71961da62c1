"""The programs of others that a run needs, found and asked for their versions before anything starts."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from testbed.containerd import Programs as Containerds
from testbed.errors import RunError
from testbed.processes import run

from ..report import BenchError

_Answer = TypeVar("_Answer")
_CONTAINERD_LEAST: Final = (2, 1)
"""The oldest containerd that tells Spegel of new content."""

_SPEGEL_LEAST: Final = (0, 7)
_SPEGEL_VERSION: Final = re.compile(r"^spegel version(?: v?(\d+)\.(\d+)\S*)?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Programs:
    """What was found.

    Args:
        containerd: and its client, if the clients of the run need them.
        spegel: command or path, if a mode needs it.
        versions: by program, as it says.
    """

    containerd: Containerds | None = None
    spegel: str | None = None
    versions: dict[str, str] = field(default_factory=dict)


def find(*, containerd: Path | None, spegel: Path | None, client: str, with_spegel: bool) -> Programs:
    """Find what a run needs.

    Args:
        containerd: path that was given; None for the one on PATH.
        spegel: the same of Spegel.
        client: http or ctr.
        with_spegel: whether a mode runs Spegel.

    Raises:
        BenchError: something is missing or too old; the message says which option gives another one.
    """
    if client != "ctr":
        return Programs()
    containerds = _told(lambda: Containerds.beside(_path(containerd, "containerd", "--spegel-containerd")))
    versions = {"containerd": ".".join(map(str, containerds.version))}
    if not with_spegel:
        return Programs(containerds, None, versions)
    if containerds.version < _CONTAINERD_LEAST:
        raise BenchError(
            f"--mode spegel needs containerd {_text(_CONTAINERD_LEAST)} or newer, and {containerds.containerd} is "
            f"{_text(containerds.version)}: give another one with --spegel-containerd"
        )
    program = str(_path(spegel, "spegel", "--spegel"))
    answer = _told(lambda: run([program, "version"]))
    version = spegel_version(answer, program)
    if version is not None and version < _SPEGEL_LEAST:
        raise BenchError(
            f"--mode spegel needs Spegel {_text(_SPEGEL_LEAST)} or newer, and {program} is {_text(version)}: give "
            "another one with --spegel"
        )
    told = answer.strip().removeprefix("spegel version").strip() or "built without a version"
    return Programs(containerds, program, versions | {"spegel": told})


def spegel_version(answer: str, program: str) -> tuple[int, int] | None:
    """The first two numbers in what `spegel version` prints; None if it was built without them.

    Args:
        answer: what it printed.
        program: that printed it.

    Raises:
        BenchError: that is no Spegel.
    """
    found = _SPEGEL_VERSION.search(answer)
    if found is None:
        raise BenchError(
            f"{program} is no Spegel, by its answer {answer.strip()!r} to `version`: give one with --spegel"
        )
    return (int(found[1]), int(found[2])) if found[1] else None


def _path(given: Path | None, command: str, option: str) -> Path:
    """A program that was given, or else the one on PATH."""
    if given is not None:
        if not given.is_file():
            raise BenchError(f"{option} {given}: there is no such file")
        return given.absolute()
    found = shutil.which(command)
    if found is None:
        raise BenchError(f"{command} is not on PATH: give its path with {option}")
    return Path(found)


def _told(ask: Callable[[], _Answer]) -> _Answer:
    try:
        return ask()
    except (RunError, OSError) as error:
        raise BenchError(str(error)) from None


def _text(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
