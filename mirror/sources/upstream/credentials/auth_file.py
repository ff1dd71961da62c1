"""The file of credentials, in the forms in which Docker, podman and Kubernetes keep them.

    {"auths": {"registry.example.com": {"auth": "<base64 of user:password>"}},
     "credHelpers": {"123456789012.dkr.ecr.eu-west-1.amazonaws.com": "ecr-login"}, "credsStore": "pass"}

A key of `auths` is a host; behind it may stand the beginning of a repository's path (podman, Kubernetes), and `*` and
`?` may stand in the parts of its name (Kubernetes): the most exact one that fits counts. A Kubernetes secret of the
older type `dockercfg` is what stands inside of `auths` here. No message shows a secret, or a part of one.

Sources: docker-config-json(5) of Docker; containers-auth.json(5); Kubernetes, "Images: Interpretation of config.json".
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ....errors import ConfigError, NameInvalid
from ....fileio import read_small
from ....oci.reference import parse_registry
from ..registries import Registry, known_registries
from .values import Credential, IdentityToken, Password

_FILE_MAX_BYTES = 1024 * 1024
"""Bytes of a file that are read at all; the entry of a registry has some hundred."""

_PROGRAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What follows `docker-credential-` in a program's name: no path, so that only what is on PATH can run."""
_PATTERN = re.compile(r"[A-Za-z0-9*?_.-]+(?::[0-9]{1,5})?")
_PATH = re.compile(r"[a-z0-9._/-]*")
_TOKEN_USERS = ("<token>", "00000000-0000-0000-0000-000000000000")
"""Users that say that an identity token stands in the place of a password: Docker's programs, and Azure's registry."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A credential, and where it counts.

    Args:
        host: with its port if it has one; `*` and `?` may stand in its parts.
        path: the beginning of repositories' paths, whole components; empty: all.
        credential: None if the file only says that a program knows it.
    """

    host: str
    path: str
    credential: Credential | None

    @property
    def is_pattern(self) -> bool:
        """Whether it fits several hosts."""
        return "*" in self.host or "?" in self.host

    def fits(self, host: str, path: str) -> bool:
        """Whether it counts for a repository of a host."""
        ours, theirs = self.host.split("."), host.split(".")
        same = len(ours) == len(theirs) and all(map(fnmatchcase, theirs, ours))
        return same and (not self.path or path == self.path or path.startswith(f"{self.path}/"))


@dataclass(frozen=True, slots=True)
class AuthFile:
    """What a file says.

    Args:
        entries: the most exact ones first.
        programs: credential programs by host: what follows `docker-credential-` in their names.
        program: that of all other hosts, if there is one.
    """

    entries: tuple[Entry, ...] = ()
    programs: Mapping[str, str] = field(default_factory=dict)
    program: str | None = None

    @property
    def hosts(self) -> list[str]:
        """The hosts that it names."""
        return list(dict.fromkeys([*(entry.host for entry in self.entries if not entry.is_pattern), *self.programs]))

    def find(self, host: str, path: str) -> Credential | str | None:
        """What a repository of a host is asked with: a credential, or the program that knows it."""
        if (program := self.programs.get(host)) is not None:
            return program
        found = next((entry for entry in self.entries if entry.fits(host, path) and entry.credential), None)
        return found.credential if found is not None else self.program

    @classmethod
    def parse(cls, text: bytes, named: str) -> "AuthFile":
        """Read a file's text.

        Args:
            text: of the file.
            named: the file, for messages.

        Raises:
            ConfigError: it is not of that form, or an entry is not what this agent can use.
        """
        try:
            document: Any = json.loads(text)
        except (ValueError, RecursionError):
            document = None
        document = document if isinstance(document, dict) else {}
        programs = _programs(document.get("credHelpers", {}), named)
        (program,) = (
            (*_programs({"": document["credsStore"]}, named).values(),) if "credsStore" in document else (None,)
        )
        auths = document.get("auths", {} if programs or program else _older_form(document))
        if not isinstance(auths, dict):
            raise ConfigError(f'upstream-auth: {named} is no JSON of the form {{"auths": {{"HOST": {{"auth": "…"}}}}}}')
        entries = [_entry(str(key), value, named, bool(programs or program)) for key, value in auths.items()]
        return cls(tuple(sorted(entries, key=_exactness, reverse=True)), programs, program)


@dataclass(frozen=True, slots=True)
class AuthPath:
    """Where the file is.

    Args:
        path: its path.
        guarded: whether its folder keeps others out, so that its own mode does not matter.
    """

    path: Path
    guarded: bool = False

    def read(self) -> AuthFile:
        """Read the file, which blocks.

        Raises:
            ConfigError: it cannot be read, others than its owner can read it, or it is not what this agent can use.
        """
        try:
            text, is_open_to_others = read_small(self.path, _FILE_MAX_BYTES)
        except OSError as error:
            raise ConfigError(f"upstream-auth: cannot read {self.path}: {error.strerror}") from None
        except ValueError as error:
            raise ConfigError(f"upstream-auth: {error}") from None
        if is_open_to_others and not self.guarded:
            raise ConfigError(f"upstream-auth: {self.path} can be read by others: run chmod 600 {self.path}")
        return AuthFile.parse(text, str(self.path))


def with_hosts(configured: Iterable[Registry], file: AuthFile) -> tuple[Registry, ...]:
    """Add the hosts that a file names and that are no registries yet, to be asked by https: the operator named them.

    Raises:
        ConfigError: a registry has a password in its URL as well.
    """
    configured = tuple(configured)
    known = known_registries(configured)
    for registry in configured:
        if registry.username is not None and any(entry.host == asked_at(registry) for entry in file.entries):
            raise ConfigError(
                f"upstream-auth: {asked_at(registry)} has a password in --upstream as well; leave one of them out"
            )
    asked = {asked_at(registry) for urls in known.values() for registry in urls}
    others = [host for host in file.hosts if host not in asked and host not in known]
    return (*configured, *(Registry(host, f"https://{host}") for host in others))


def asked_at(registry: Registry) -> str:
    """The host at which a registry is asked, as a file of credentials names it."""
    return parse_registry(urlsplit(registry.url).netloc)


def _older_form(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A document of Kubernetes' older type; None if it is none."""
    is_one = document and all(isinstance(value, dict) and "auth" in value for value in document.values())
    return document if is_one else None


def _programs(programs: Any, named: str) -> Mapping[str, str]:
    """Credential programs by host."""
    if not isinstance(programs, dict):
        raise ConfigError(f'upstream-auth: credHelpers in {named} is not of the form {{"HOST": "PROGRAM"}}')
    for key, program in programs.items():
        if not isinstance(program, str) or not _PROGRAM.fullmatch(program):
            of = f"credHelpers of {key[:100]!r}" if key else "credsStore"
            raise ConfigError(
                f"upstream-auth: {of} in {named} is no credential program; give what follows docker-credential- in its "
                "name, as in pass or ecr-login"
            )
    return {_place(str(key), named)[0] if key else "": program for key, program in programs.items()}


def _entry(key: str, value: Any, named: str, has_programs: bool) -> Entry:
    host, path = _place(key, named)
    fields = value if isinstance(value, dict) else {}
    if has_programs and value == {}:  # Docker writes so where a program keeps it
        return Entry(host, path, None)
    return Entry(host, path, _credential(key, fields, named))


def _place(key: str, named: str) -> tuple[str, str]:
    """Host and path that a key names: Docker writes a URL for some, with the path of an API."""
    rest = key.removeprefix("https://").removeprefix("http://").rstrip("/")
    host, _, path = rest.partition("/")
    path = "" if path in ("v1", "v2") else path.removeprefix("v2/")
    try:
        if not _PATH.fullmatch(path) or len(key) > 512:
            raise NameInvalid(key[:100])
        if ("*" in host or "?" in host) and _PATTERN.fullmatch(host):
            return host.lower(), path
        return parse_registry(host), path
    except NameInvalid:
        raise ConfigError(
            f"upstream-auth: {key[:100]!r} in {named} is not allowed; give a host with an optional port, and behind a "
            "slash perhaps the beginning of a repository's path"
        ) from None


def _credential(key: str, fields: Mapping[str, Any], named: str) -> Credential:
    user, password = fields.get("username"), fields.get("password")
    if isinstance(auth := fields.get("auth"), str) and auth:
        try:
            user, _, password = base64.b64decode(auth, validate=True).decode().partition(":")
        except ValueError:
            user = None
    token = fields.get("identitytoken")
    if isinstance(token, str) and token:
        return IdentityToken(token)
    if not (isinstance(user, str) and isinstance(password, str) and user and password and ":" not in user):
        raise ConfigError(
            f"upstream-auth: {key[:100]!r} in {named} has no auth, the base64 of USER:PASSWORD, and no identitytoken; "
            "a credential program is named in credHelpers or credsStore"
        )
    return credential_of(user, password)


def credential_of(user: str, secret: str) -> Credential:
    """A credential of its two parts, as files and programs have them."""
    return IdentityToken(secret) if user in _TOKEN_USERS else Password(user, secret)


def _exactness(entry: Entry) -> tuple[bool, int, int]:
    return not entry.is_pattern, len(entry.path), len(entry.host)
