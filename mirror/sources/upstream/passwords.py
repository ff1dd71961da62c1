"""Passwords of registries from a file, in the form in which Docker, podman and Kubernetes keep them.

    {"auths": {"registry.example.com": {"auth": "<base64 of user:password>"}}}

A password belongs to the host that is asked, as in those tools, and to the token service that this host names: Docker
Hub's is not sent to a mirror of Docker Hub. No message shows one, or a part of one.

Sources: docker-config-json(5) of Docker; containers-auth.json(5).
"""

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ...errors import ConfigError, NameInvalid
from ...fileio import read_small
from ...oci.reference import parse_registry
from .registries import Registry, known_registries

_FILE_MAX_BYTES = 1024 * 1024
"""Bytes of a file that are read at all; the entry of a registry has some hundred."""

Password = tuple[str, str]
"""A user and a password."""


def read_passwords(file: Path, *, guarded: bool = False) -> Mapping[str, Password]:
    """Read a file of passwords.

    Args:
        file: the file.
        guarded: whether its folder keeps others out, so that its own mode does not matter.

    Returns:
        Users and passwords by host, with its port if it has one; those of Docker Hub for `docker.io`.

    Raises:
        ConfigError: it cannot be read, others than its owner can read it, or an entry is not what this agent can use.
    """
    try:
        text, is_open_to_others = read_small(file, _FILE_MAX_BYTES)
    except OSError as error:
        raise ConfigError(f"upstream-auth: cannot read {file}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"upstream-auth: {error}") from None
    if is_open_to_others and not guarded:
        raise ConfigError(f"upstream-auth: {file} can be read by others: run chmod 600 {file}")
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    entries = document.get("auths") if isinstance(document, dict) else None
    if not isinstance(entries, dict):
        raise ConfigError(f'upstream-auth: {file} is no JSON of the form {{"auths": {{"HOST": {{"auth": "…"}}}}}}')
    return {_host(str(key), file): _password(str(key), entry, file) for key, entry in entries.items()}


def with_passwords(configured: Iterable[Registry], passwords: Mapping[str, Password]) -> tuple[Registry, ...]:
    """Give registries the passwords of the hosts at which they are asked.

    A host that is no registry yet becomes one, asked by https: the operator has named it. Where the registry of that
    name is asked at another host, the password is not used.

    Raises:
        ConfigError: a registry has a password in its URL as well.
    """
    configured = tuple(configured)
    hosts = {registry.name: parse_registry(urlsplit(registry.url).netloc) for registry in configured}
    known = known_registries(configured)
    given, used = [], set()
    for registry in known.values():
        host = hosts.get(registry.name, registry.name)
        if host not in passwords:
            given += [registry] if registry.name in hosts else []
            continue
        if registry.password is not None:
            raise ConfigError(f"upstream-auth: {host} has a password in --upstream as well; leave one of them out")
        user, password = passwords[host]
        given.append(replace(registry, username=user, password=password))
        used.add(host)
    others = [host for host in passwords if host not in used and host not in known]
    return (*given, *(Registry(host, f"https://{host}", *passwords[host]) for host in others))


def _host(key: str, file: Path) -> str:
    """The host that a key names: Docker writes a URL for some, with the path of an API."""
    host = key.removeprefix("https://").removeprefix("http://").rstrip("/")
    host = host.removesuffix("/v1").removesuffix("/v2")
    try:
        return parse_registry(host)
    except NameInvalid:
        raise ConfigError(
            f"upstream-auth: {key[:100]!r} in {file} is not allowed; give a host with an optional port, for passwords "
            "of single repositories are not supported"
        ) from None


def _password(key: str, entry: Any, file: Path) -> Password:
    fields = entry if isinstance(entry, dict) else {}
    user, password = fields.get("username"), fields.get("password")
    if isinstance(auth := fields.get("auth"), str) and auth:
        try:
            user, _, password = base64.b64decode(auth, validate=True).decode().partition(":")
        except ValueError:
            user = None
    if not (isinstance(user, str) and isinstance(password, str) and user and password and ":" not in user):
        raise ConfigError(
            f"upstream-auth: {key[:100]!r} in {file} has no auth, the base64 of USER:PASSWORD; passwords that a "
            "credential helper keeps, and tokens, are not supported"
        )
    return user, password
