"""The settings of this machine's agent, found as it is started: by flags, by its unit, or in its usual file."""

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from ..config import load
from ..doctor.settings import FoundSettings
from ..errors import ConfigError
from ..installation.places import SETTINGS_FILE, UNIT, Places
from ..runtimes.host import Host
from ..runtimes.units import file_of, said, texts_of
from .agent import agent


def found_settings(flags: Sequence[str], file: Path | None, root: Path) -> FoundSettings:
    """The settings of the agent.

    Args:
        flags: those that it is started with, if somebody gave them.
        file: of its settings, if somebody named it.
        root: stands for `/`, where its unit and its file are.
    """
    environment: Mapping[str, str] = os.environ
    origin, is_found = "what was given to doctor", True
    words, runs_as = [*flags], ""
    if file is not None:
        words, origin = ["--config", str(file), *words], str(file)
    elif not words:
        places = Places(root)
        unit, usual = file_of(Host(root), UNIT), places.at(SETTINGS_FILE)
        if unit is not None:
            origin = str(places.at(unit))
            try:
                words, runs_as = _of_unit(Host(root))
            except ConfigError as error:
                return FoundSettings(origin, None, str(error))
        elif usual.exists():
            words, origin = ["--config", str(usual)], str(usual)
        else:
            origin, is_found = "what an agent has by default", False
    try:
        given = agent.make_context("agent", words).params
        config = given.pop("config")
        given.pop("check")
        by_name = {name.replace("_", "-"): value for name, value in given.items()}
        return FoundSettings(
            str(config or origin), load(by_name, environment, config), is_found=is_found, runs_as=runs_as
        )
    except click.ClickException as error:
        return FoundSettings(origin, None, f"{origin}: {error.format_message()}")
    except ConfigError as error:
        return FoundSettings(origin, None, str(error))


def _of_unit(host: Host) -> tuple[list[str], str]:
    """The flags in the command of the agent's unit, as it counts with what was added to it, and its user.

    Raises:
        ConfigError: it cannot be read, or its command is none.
    """
    texts = texts_of(host, UNIT)
    words = list[str]()
    for path, value in said(texts, "ExecStart"):
        try:
            command = shlex.split(value)
        except ValueError as error:
            raise ConfigError(f"{path}: ExecStart: {error}") from None
        words = command[command.index("agent") + 1 :] if "agent" in command else words
    return words, next((user for _, user in reversed(list(said(texts, "User")))), "")
