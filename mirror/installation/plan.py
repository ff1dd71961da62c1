"""What an installation would write, as texts: nothing is touched before the operator could see it."""

import base64
import difflib
import re
import secrets
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..config import AgentConfig, load
from ..errors import ConfigError
from .agent_toml import Given, changed_text, is_written_here, new_text
from .containerds import Containerd
from .join_token import JoinToken
from .places import KEY_FILE, SETTINGS_FILE, UNIT_FILE, Places
from .program import Program
from .unit import Service, unit_text

_KEY_BYTES: Final = 32
_OF_A_UNIT: Final = re.compile(r"/[A-Za-z0-9/._-]+")
"""A path that stands in a unit as it is. Source: systemd.syntax(7)."""
_PRIVATE, _PUBLIC = 0o600, 0o644
_SHOWN_SECRET: Final = "(a secret)"


@dataclass(frozen=True, slots=True)
class Written:
    """A file that is written.

    Args:
        what: it is, in a word.
        path: on the host.
        before: its text; None if it is not there.
        after: what it will have.
        is_private: whether the agent's user alone may read it.
        is_secret: whether its text is never shown.
    """

    what: str
    path: str
    before: str | None
    after: str
    is_private: bool = False
    is_secret: bool = False

    @property
    def changes(self) -> bool:
        """Whether it is not there yet with this text."""
        return self.before != self.after

    @property
    def mode(self) -> int:
        """Of the file."""
        return _PRIVATE if self.is_private else _PUBLIC

    @property
    def diff(self) -> str:
        """What changes in it, as `diff -u` says it."""
        if self.is_secret:
            return f"--- {self.path}\n+++ {self.path}\n+{_SHOWN_SECRET}\n"
        before = (self.before or "").splitlines(keepends=True)
        from_file = self.path if self.before is not None else "/dev/null"
        return "".join(difflib.unified_diff(before, self.after.splitlines(keepends=True), from_file, self.path, n=1))


@dataclass(frozen=True, slots=True)
class Plan:
    """What an installation writes.

    Args:
        program: that the unit runs.
        config: the agent's settings as they will be.
        settings: the file of them.
        key: the key file; None if it is there, or the cluster has none.
        unit: the unit's file.
        notes: sentences for the operator.
    """

    program: Program
    config: AgentConfig
    settings: Written
    key: Written | None
    unit: Written
    notes: tuple[str, ...]

    @property
    def files(self) -> tuple[Written, ...]:
        """All files, in the order in which they are written."""
        return (*((self.key,) if self.key else ()), self.settings, self.unit)


def plan_of(
    places: Places, program: Program, given: Given, token: JoinToken | None, containerd: Containerd | None
) -> Plan:
    """What is to be written so that this host runs an agent with these settings.

    Args:
        places: of the host.
        program: that the unit runs.
        given: the settings that the operator named.
        token: of the cluster that it joins; None if it is the first node, or is in one.
        containerd: whose content is shared unless settings say otherwise; None if the host has none.

    Raises:
        ConfigError: a setting is not allowed, or contradicts what is there.
    """
    before = _read(places, SETTINGS_FILE)
    written = {} if before is None else _toml(before)
    wanted: dict[str, str | list[str]] = dict(given)
    notes = []
    if token is not None:
        wanted = {**token.settings, "join": list(token.seeds), **wanted}
    if before is None or (token is not None and "key-file" not in written):
        wanted.setdefault("key-file", KEY_FILE)
    if containerd is not None and "containerd" not in {**written, **wanted}:
        if before is None or is_written_here(before):
            wanted = {**wanted, "containerd": containerd.socket, "containerd-namespace": containerd.namespace}
        else:
            notes.append(
                f"{SETTINGS_FILE} does not share the content of the containerd at {containerd.socket}: `skvaller "
                f"install --containerd {containerd.socket} --containerd-namespace {containerd.namespace}` does"
            )
    after = new_text(wanted) if before is None else changed_text(before, wanted)
    config = _loaded(after, given)
    if config.key_file is None:
        notes.append(f"{SETTINGS_FILE} names no key-file: whoever reaches this node's ports is taken for a member")
    settings = Written("settings", SETTINGS_FILE, before, after, is_private="@" in after and _has_password(config))
    key = _key(places, config, token)
    if not _OF_A_UNIT.fullmatch(str(config.data_dir)) or ".." in config.data_dir.parts:
        raise ConfigError(
            f"data-dir: {str(config.data_dir)!r} is not allowed in a unit; give an absolute path of letters, digits, "
            "and / . _ - without .."
        )
    service = Service(program.command, str(config.data_dir), config.containerd is not None, config.repair is not None)
    unit = Written("unit", UNIT_FILE, _read(places, UNIT_FILE), unit_text(service))
    return Plan(program, config, settings, key, unit, tuple(notes))


def _key(places: Places, config: AgentConfig, token: JoinToken | None) -> Written | None:
    """The key file that is to be made: with the token's keys, or with a new one where the path is the usual one."""
    if config.key_file is None:
        return None
    path = str(config.key_file)
    is_there = places.at(path).exists()
    if is_there and token is not None:
        _refuse_other_keys(places, path, token)
    if is_there or (token is None and path != KEY_FILE):
        return None
    keys = token.keys if token is not None else (secrets.token_bytes(_KEY_BYTES),)
    lines = ["# the first key seals, all of them open", *(base64.b64encode(key).decode() for key in keys)]
    return Written("key", path, None, "\n".join(lines) + "\n", is_private=True, is_secret=True)


def _refuse_other_keys(places: Places, path: str, token: JoinToken) -> None:
    from ..routers.swim import load_keys

    if not set(load_keys(places.at(path))) & set(token.keys):
        raise ConfigError(
            f"key-file: {path} has the key of another cluster than the join token; to move this node, delete that "
            "file, and run this again"
        )


def _read(places: Places, path: str) -> str | None:
    try:
        return places.at(path).read_text()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(f"{path}: it cannot be read: {reason}") from None


def _toml(text: str) -> Mapping[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"config: {SETTINGS_FILE} is not TOML: {error}; nothing was changed") from None


def _loaded(text: str, given: Given) -> AgentConfig:
    """The settings that a file with this text gives an agent; errors name the flag, or the file where it will be."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(text)
        file.flush()
        try:
            return load(given, {}, Path(file.name))
        except ConfigError as error:
            raise type(error)(str(error).replace(file.name, SETTINGS_FILE)) from None


def _has_password(config: AgentConfig) -> bool:
    return any(registry.password is not None for registry in config.upstream)
