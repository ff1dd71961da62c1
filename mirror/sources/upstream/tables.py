"""Registries as tables of the operator's TOML file.

    [[registry]]
    name = "docker.io"
    url = ["http://10.0.0.5:5000", "https://registry-1.docker.io"]

The URLs are asked in this order. A name may have several tables, one after the other, where the URLs are not reached in
the same way.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from ...tables import refuse_unknown, tables_of
from .reached import Proxies, Reached
from .registries import PUBLIC_REGISTRIES, Registry
from .trust import Trusted

_KEYS = ("name", "url", "ca", "cert", "key", "proxy", "trust", "offline")


def registries_of(tables: Any) -> tuple[Registry, ...]:
    """Read the tables.

    Args:
        tables: as TOML has them.

    Returns:
        The registries in the order of the file, one for each URL.

    Raises:
        ConfigError: which table has what wrong, and what is allowed; certificates are read to see whether they can be
            used. It shows no password.
    """
    return tuple(registry for table in tables_of("registry", "registry", tables) for registry in _registries(table))


def offline_in(tables: Any) -> frozenset[str]:
    """The names of those that are never to be asked, of tables that have been read."""
    return frozenset(Registry.parse(f"{table['name']}=http://x").name for table in tables if table.get("offline"))


def _registries(table: dict[str, Any]) -> Iterable[Registry]:
    name = table.get("name")
    if not isinstance(name, str):
        raise ConfigError('registry: a table has no name; give one, as in name = "docker.io"')
    try:
        yield from _read(name, table)
    except ConfigError as error:
        raise ConfigError(f"registry {name[:100]!r}: {error}") from None


def _read(name: str, table: dict[str, Any]) -> Iterable[Registry]:
    refuse_unknown(table, _KEYS)
    if not isinstance(table.get("offline", False), bool):
        raise ConfigError("offline: give true or false")
    usual = {registry.name: registry.url for registry in PUBLIC_REGISTRIES}
    files = {key: Path(text) for key in ("ca", "cert", "key") if (text := _text(table, key)) is not None}
    if ("cert" in files) != ("key" in files):
        raise ConfigError("cert: a certificate needs its key, and a key its certificate; give cert and key")
    proxy = _text(table, "proxy")
    reached = Reached(**files, proxies=None if proxy is None else Proxies.parse(proxy))
    if files:
        reached.context(with_certificate=True)
    trusted = tuple(Trusted.parse(f"{name}={where}") for where in _texts(table, "trust"))
    for url in _texts(table, "url") or [usual.get(name, f"https://{name}")]:
        yield replace(Registry.parse(f"{name}={url}"), trusted=trusted, reached=reached)


def _text(table: dict[str, Any], key: str) -> str | None:
    text = table.get(key)
    if text is not None and not isinstance(text, str):
        raise ConfigError(f"{key}: it must be a text")
    return text


def _texts(table: dict[str, Any], key: str) -> list[str]:
    texts = table.get(key, [])
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ConfigError(f"{key}: it must be a text or a list of texts")
    return texts
