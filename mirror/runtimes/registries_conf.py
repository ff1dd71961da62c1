"""What the files of containers/image say of registries: registries.conf, and the files of registries.conf.d after it.

One table counts for an image: the one with the longest prefix. Of two with the same prefix, the first of a file counts,
and the one of a later file. Source: containers/image, pkg/sysregistriesv2.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from . import NotUnderstood
from .edits import MARK
from .toml_text import loads

MAIN: Final = "/etc/containers/registries.conf"
DROP_INS: Final = "/etc/containers/registries.conf.d"

Table = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """What counts for the images below one prefix.

    Args:
        prefix: of their names, `docker.io/library`; of hosts, `*.example.com`.
        table: as it is written.
        path: of the file that says it; None if none does.
    """

    prefix: str
    table: Table
    path: str | None

    @property
    def location(self) -> str:
        """Where these images come from."""
        return str(self.table.get("location") or self.prefix).rstrip("/")

    @property
    def mirrors(self) -> list[Table]:
        """Who is asked before, in order."""
        return list(self.table.get("mirror", []))

    @property
    def is_blocked(self) -> bool:
        """Whether nobody may pull them."""
        return bool(self.table.get("blocked"))

    def of(self, registry: str) -> "Entry":
        """The same for one registry, which a wildcard stands for."""
        return Entry(
            registry, self.table | {"prefix": registry, "location": self.table.get("location") or registry}, self.path
        )

    def asks(self, location: str) -> bool:
        """Whether a mirror is among those that are asked."""
        return any(str(each["location"]).rstrip("/") == location for each in self.mirrors)


def entries(texts: Iterable[tuple[str, str]]) -> dict[str, Entry]:
    """What counts for each prefix.

    Args:
        texts: path and text of each file, in the order in which they are read.

    Raises:
        NotUnderstood: a file is not in order, or in the format that was before `[[registry]]` where that is not read.
    """
    counts: dict[str, Entry] = {}
    for path, text in texts:
        counts |= tables(path, text)
    return counts


def tables(path: str, text: str) -> dict[str, Entry]:
    """What one file says of each prefix; raise NotUnderstood if it is not in order."""
    settings = loads(path, text.removeprefix(MARK))
    written = settings.get("registry", [])
    if _is_old(settings):
        if path != MAIN:
            problem = "podman reads no [registries.…] tables here and fails: write them as [[registry]]"
            raise NotUnderstood(path, None, problem)
        if written:
            problem = "podman does not read [registries.…] beside [[registry]] and fails: write all as [[registry]]"
            raise NotUnderstood(path, None, problem)
        return _of_old(settings["registries"])
    if not isinstance(written, list) or not all(_is_table(each) for each in written):
        problem = "each [[registry]] needs a location or a prefix, and each [[registry.mirror]] a location"
        raise NotUnderstood(path, None, problem)
    found: dict[str, Entry] = {}
    for table in written:
        prefix = str(table.get("prefix") or table["location"]).rstrip("/")
        found.setdefault(prefix, Entry(prefix, table, path))
    return found


def is_old(text: str) -> bool:
    """Whether registries.conf has the format of before 2019, with `[registries.search]`."""
    return _is_old(loads(MAIN, text.removeprefix(MARK)))


def applying(counts: dict[str, Entry], registry: str) -> list[Entry]:
    """What counts for the images of one registry: for all, and for those below longer prefixes.

    Args:
        counts: what counts for each prefix.
        registry: a host, and a port if it has one.
    """
    whole = counts.get(registry)
    if whole is None:
        wild = [each for each in counts.values() if _stands_for(each.prefix, registry)]
        longest = max(wild, key=lambda each: len(each.prefix), default=None)
        whole = (
            Entry(registry, {"prefix": registry, "location": registry}, None)
            if longest is None
            else longest.of(registry)
        )
    return [whole, *(each for prefix, each in sorted(counts.items()) if prefix.startswith(f"{registry}/"))]


def _stands_for(prefix: str, registry: str) -> bool:
    """Whether a prefix is a wildcard for a host."""
    return prefix.startswith("*.") and registry.partition(":")[0].endswith(prefix[1:])


def _is_old(settings: Table) -> bool:
    """Whether a file has the old format's tables, with something in them."""
    old = settings.get("registries")
    return isinstance(old, dict) and any(isinstance(each, dict) and each.get("registries") for each in old.values())


def _of_old(settings: Table) -> dict[str, Entry]:
    """What a file of the old format says."""
    found: dict[str, Table] = {}
    for kind, key in (("block", "blocked"), ("insecure", "insecure")):
        named = settings.get(kind, {}).get("registries", [])
        for registry in (str(each).rstrip("/") for each in named):
            found[registry] = found.get(registry, {"prefix": registry, "location": registry}) | {key: True}
    return {registry: Entry(registry, table, MAIN) for registry, table in found.items()}


def _is_table(table: Any) -> bool:
    """Whether a table of a registry has what it needs."""
    if not isinstance(table, dict) or not (table.get("prefix") or table.get("location")):
        return False
    mirrors = table.get("mirror", [])
    return isinstance(mirrors, list) and all(isinstance(each, dict) and each.get("location") for each in mirrors)
