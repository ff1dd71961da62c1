"""What a TOML file of a runtime says, and where it is not in order."""

import re
import tomllib
from typing import Any, Final

from . import NotUnderstood

Table = dict[str, Any]

_LINE: Final = re.compile(r"\(at line (\d+), column \d+\)|\(at end of document\)")


def parse(text: str) -> Table:
    """What a text says; raise ValueError if it is no TOML. A mark of the byte order at the start says nothing."""
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read(path: str, text: str) -> Table:
    """What a file says; raise NotUnderstood with the line if it is no TOML."""
    try:
        return parse(text)
    except ValueError as error:
        at = _LINE.search(str(error))
        line = None if at is None else int(at[1]) if at[1] else text.count("\n") + 1
        raise NotUnderstood(path, line, f"it is no TOML: {_LINE.sub('', str(error)).strip()}") from None
