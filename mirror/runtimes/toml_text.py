"""TOML files as lines: where a table and a key stand, so that lines come and go, and no other byte changes.

tomllib reads what a text means; it says nothing of places. A line begins a statement if all before it is TOML by
itself: inside of a string or an array of several lines that is not so. With that, a line that looks like a header is
known to be one.
"""

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from . import NotUnderstood
from .edits import newline_of

_AT_LINE: Final = re.compile(r"\(at line (\d+), column \d+\)")
_LINE: Final = re.compile(r"[^\n]*\n|[^\n]+")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")

Keys = tuple[str, ...]
"""The way to a table or value, from the top."""


def loads(path: str, text: str) -> dict[str, Any]:
    """What a text means; raise NotUnderstood, with the line, if it is no TOML."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise NotUnderstood(path, None, "it is nested too deeply") from None
    except ValueError as error:
        found = _AT_LINE.search(str(error))
        line = int(found[1]) if found else len(lines_of(text)) or 1
        reason = _AT_LINE.sub("", str(error)).strip()
        raise NotUnderstood(path, line, f"it is not TOML: {reason[:1].lower()}{reason[1:]}") from None


def value_at(read: Any, keys: Keys) -> Any:
    """What stands at the end of a way; None if nothing does."""
    for key in keys:
        if not isinstance(read, dict) or key not in read:
            return None
        read = read[key]
    return read


def written(keys: Keys) -> str:
    """A way as TOML writes it: `plugins."io.containerd.grpc.v1.cri".registry`."""
    return ".".join(key if _BARE.fullmatch(key) else quoted(key) for key in keys)


def quoted(text: str) -> str:
    """A text as a basic string of TOML."""
    return json.dumps(text, ensure_ascii=False)


def lines_of(text: str) -> list[str]:
    """The lines of a text with their ends; only a line feed ends one, as in TOML."""
    return _LINE.findall(text)


@dataclass(frozen=True, slots=True)
class Table:
    """Where a table stands.

    Args:
        keys: the way to it.
        start: its line of the text, from 0 on: that of its header.
        end: the line after its last one. Comments and blank lines behind that are not its own.
    """

    keys: Keys
    start: int
    end: int


def tables(text: str) -> Iterator[Table]:
    """The tables of a text that have a header, in their order. The text is TOML."""
    lines = lines_of(text)
    heads: list[tuple[int, Keys]] = []
    for number, line in enumerate(lines):
        keys = _header(line)
        if keys is not None and _begins_statement(lines, heads[-1][0] if heads else 0, number):
            heads.append((number, keys))
    for (number, keys), (end, _) in pairwise([*heads, (len(lines), ())]):
        while end > number + 1 and _is_aside(lines[end - 1]):
            end -= 1
        yield Table(keys, number, end)


def table_at(text: str, keys: Keys) -> Table | None:
    """Where the header of a table stands; None if it has none."""
    return next((table for table in tables(text) if table.keys == keys), None)


def key_line(text: str, table: Table, key: str) -> int | None:
    """The line of a key in a table, from 0 on; None if it has no line of its own."""
    lines = lines_of(text)
    pattern = re.compile(rf"""\s*(?:{re.escape(key)}|"{re.escape(key)}"|'{re.escape(key)}')\s*=""")
    for number in range(table.start + 1, table.end):
        if pattern.match(lines[number]) and _begins_statement(lines, table.start, number):
            return number
    return None


def indent_of(text: str, line: int) -> str:
    """The blanks before the first character of a line."""
    content = lines_of(text)[line]
    return content[: len(content) - len(content.lstrip())]


def with_lines(text: str, start: int, end: int, new: str) -> str:
    """A text in which some lines, from `start` to before `end`, are others. Both count from 0."""
    lines = lines_of(text)
    if new and not new.endswith("\n") and end < len(lines):
        new += newline_of(text)
    return "".join([*lines[:start], new, *lines[end:]])


def without(text: str, block: str) -> str | None:
    """A text without a block that was added to it; None if the block does not stand there as it was, just once.

    Where others have gone on behind a block that ended a line of theirs, the line stays ended.
    """
    if text.count(block) != 1:
        return None
    before, _, after = text.partition(block)
    end = newline_of(block) if before and not before.endswith("\n") and after else ""
    return before + end + after


def _header(line: str) -> Keys | None:
    """The way that a line names if it is a table's header."""
    if not line.lstrip().startswith("["):
        return None
    try:
        read: Any = tomllib.loads(line)
    except (ValueError, RecursionError):
        return None
    keys = []
    while isinstance(read, dict) and len(read) == 1:
        ((key, read),) = read.items()
        keys.append(key)
    return tuple(keys)


def _begins_statement(lines: list[str], start: int, number: int) -> bool:
    """Whether a line does, of those that begin with one that does."""
    try:
        tomllib.loads("".join(lines[start:number]))
    except (ValueError, RecursionError):
        return False
    return True


def _is_aside(line: str) -> bool:
    stripped = line.strip()
    return not stripped or stripped.startswith("#")
