"""What is to be written, for people: a diff in which no secret stands."""

import difflib
import re
from typing import Final

from .configuring import Step

_SECRET: Final = re.compile(
    r"""(?ix) ^( [ +-]? \s* (?:-\s)? ["']? [\w.-]* (?:password|passwd|token|secret|auth|authorization|cookie|key)
    ["']? \s* [=:] \s* ) (?=[^\s{\[#]) .* $"""
)
"""A line that gives a value to a key whose name says that nobody is to see it."""
_INSIDE: Final = re.compile(r"""(?ix) ( (?:password|passwd|token|secret|authorization)["']?\s*[=:]\s* ) [^\s,}\]]+""")
"""The same inside of a line."""


def diff(step: Step) -> list[str]:
    """The lines of a unified diff of one file, without their ends; values of passwords and the like are left out."""
    old, new = "/dev/null" if step.now is None else step.path, "/dev/null" if step.then is None else step.path
    now, then = (step.now or "").splitlines(), (step.then or "").splitlines()
    return [_without_secrets(line) for line in difflib.unified_diff(now, then, old, new, lineterm="")]


def _without_secrets(line: str) -> str:
    return _SECRET.sub(r"\1…", _INSIDE.sub(r"\1…", line))
