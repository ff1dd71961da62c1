"""YAML files as texts: where a value stands, so that lines come and go, and no other byte changes.

PyYAML says of each value where it begins and ends. What is inserted is judged by what the text means afterwards, so a
form that is not foreseen ends in an error, and not in a broken file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from . import NotUnderstood


def loads(path: str, text: str) -> Any:
    """What a text means; raise NotUnderstood, with the line, if it is no YAML."""
    try:
        return yaml.safe_load(text)
    except RecursionError:
        raise NotUnderstood(path, None, "it is nested too deeply") from None
    except yaml.MarkedYAMLError as error:
        line = None if error.problem_mark is None else error.problem_mark.line + 1
        raise NotUnderstood(path, line, f"it is not YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise NotUnderstood(path, None, f"it is not YAML: {str(error).splitlines()[0]}") from None


@dataclass(frozen=True, slots=True)
class Entry:
    """A key with its value, and where they stand.

    Args:
        key: as it is read.
        start: of the key, in characters.
        column: of the key.
        value: the node.
    """

    key: Any
    start: int
    column: int
    value: yaml.Node


def top(text: str) -> yaml.Node | None:
    """The value of a whole text, which is YAML; None if it is empty."""
    return yaml.compose(text, yaml.SafeLoader)


def entries(node: yaml.Node | None) -> Iterator[Entry]:
    """The entries of a mapping; none if it is something else."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield Entry(key.value, key.start_mark.index, key.start_mark.column, value)


def entry_at(node: yaml.Node | None, *keys: str) -> Entry | None:
    """The entry at the end of a way from a mapping; None if there is none."""
    found = None
    for key in keys:
        found = next((entry for entry in entries(node) if entry.key == key), None)
        if found is None:
            return None
        node = found.value
    return found


def is_nothing(node: yaml.Node) -> bool:
    """Whether a key has no value behind it at all."""
    return isinstance(node, yaml.ScalarNode) and node.start_mark.index == node.end_mark.index


def is_flow(node: yaml.Node) -> bool:
    """Whether a value is written in brackets or braces."""
    return isinstance(node, yaml.CollectionNode) and bool(node.flow_style)


def end_of(node: yaml.Node) -> int:
    """The end of the last thing in a value, without the comments and blank lines behind it."""
    inner = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
    if isinstance(node, yaml.ScalarNode) or not inner or is_flow(node):
        return int(node.end_mark.index)
    return max(end_of(part) for part in inner)


def line_start(text: str, at: int) -> int:
    """Where the line begins that has a character."""
    return text.rfind("\n", 0, at) + 1


def line_end(text: str, at: int) -> int:
    """Where the next line begins, or the text ends."""
    found = text.find("\n", at)
    return len(text) if found < 0 else found + 1
