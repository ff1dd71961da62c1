"""Keeping the corpus small: of all inputs, those that take a way through the product that no smaller one takes.

A way is a pair of lines that run one after the other in one function.
"""

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

import gossip
import mirror

from .targets import TARGETS

_WITHIN: Final = tuple(str(Path(package.__file__ or "").parent) for package in (gossip, mirror))
_INPUTS_MAX: Final = 50  # of each target: with the sizes below within 200 files and 100 KiB
_TOTAL_MAX_BYTES: Final = 25 * 1024

Way = tuple[str, int, int]


def minimise(corpus: Path, found: Path | None) -> int:
    """Replace the corpus by the part of itself, and of what was found, that matters."""
    for name, target in TARGETS.items():
        folders = [corpus / name, *([found / name] if found is not None else [])]
        inputs = {path.read_bytes() for folder in folders if folder.is_dir() for path in folder.iterdir()}
        kept = _needed(target, sorted(inputs, key=lambda script: (len(script), script)))
        (corpus / name).mkdir(exist_ok=True)
        for path in (corpus / name).iterdir():
            path.unlink()
        for script in kept:
            (corpus / name / hashlib.sha256(script).hexdigest()[:16]).write_bytes(script)
        sys.stdout.write(f"{name}: {len(kept)} of {len(inputs)} inputs, {sum(map(len, kept))} bytes\n")
    return 0


def _needed(target: Callable[[bytes], None], inputs: list[bytes]) -> list[bytes]:
    """Those that take most new ways first, until nothing is new or there is no room."""
    ways = {script: _ways(target, script) for script in inputs}
    kept: list[bytes] = []
    while len(kept) < _INPUTS_MAX:
        best = max(ways, key=lambda script: len(ways[script]), default=b"")
        new = ways.pop(best, set())
        if not new:
            break
        if sum(map(len, kept)) + len(best) > _TOTAL_MAX_BYTES:
            continue
        kept.append(best)
        for others in ways.values():
            others -= new
    return kept


def _ways(target: Callable[[bytes], None], script: bytes) -> set[Way]:
    taken: set[Way] = set()

    def enter(frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(_WITHIN):
            return None
        before = frame.f_lineno

        def line(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal before
            taken.add((frame.f_code.co_filename, before, frame.f_lineno))
            before = frame.f_lineno
            return line

        return line

    sys.settrace(enter)
    try:
        target(script)
    finally:
        sys.settrace(None)
    return taken
