"""The file of settings, as a text: a new one that explains itself, or one that is there with some keys changed."""

import json
import re
from collections.abc import Mapping
from importlib import resources

import tomlkit
from tomlkit.exceptions import TOMLKitError

from ..errors import ConfigError
from .places import SETTINGS_FILE

Given = Mapping[str, str | list[str]]
"""Values by `Setting.name`; a list where a setting may be repeated."""


def is_written_here(text: str) -> bool:
    """Whether a file began as one that `new_text` gave."""
    return text.startswith(_sample()[0])


def new_text(given: Given) -> str:
    """A file in which these settings stand where the sample explains them, and all others are comments."""
    lines = _sample()
    rest = []
    for name, value in given.items():
        line = f"{name} = {_toml(value)}"
        places = [number for number, text in enumerate(lines) if re.match(rf"(# )?{re.escape(name)} = ", text)]
        if places:
            lines[places[0]] = line
        else:
            rest.append(line)
    return "\n".join([lines[0], *([""] if rest else []), *rest, *lines[1:]]) + "\n"


def changed_text(text: str, given: Given) -> str:
    """A file with these settings, and everything else as it was: comments, order, tables.

    Raises:
        ConfigError: it is not TOML.
    """
    for name, value in given.items():
        if _parsed(text).get(name) != value:
            text = _with(text, name, value)
    return text


def _with(text: str, name: str, value: str | list[str]) -> str:
    """A file in which one setting has this value: where it stands, else below the comment that explains it."""
    document = _parsed(text)
    place = _explained(text, name)
    if name not in document and place is not None:
        lines = text.splitlines(keepends=True)
        below = "".join([*lines[:place], f"{name} = {_toml(value)}\n", *lines[place:]])
        if _parsed(below) == {**document, name: value}:  # else the comment is part of a table, or of a text
            return below
    document[name] = value
    return tomlkit.dumps(document)


def _parsed(text: str) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        raise ConfigError(f"config: {SETTINGS_FILE} is not TOML: {error}") from None


def _explained(text: str, name: str) -> int | None:
    """The number of the line after the comment that shows a setting; None if there is none."""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith(f"# {name} = "):
            return number
    return None


def _sample() -> list[str]:
    return resources.files(__package__).joinpath("agent.toml").read_text().splitlines()


def _toml(value: str | list[str]) -> str:
    """A text or a list of texts; TOML's basic strings have the escapes of JSON's."""
    return json.dumps(value, ensure_ascii=False)
