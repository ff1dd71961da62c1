"""BuildKit: mirrors of each registry in buildkitd.toml, which has no word for all of them.

BuildKit asks a mirror by plain HTTP where `http` of the mirror's own table says so, and names the registry in `ns`.
A builder that `docker buildx create` made is a container with a copy of the file as it was then.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from . import Added, Addition, Change, Installed, NotUnderstood, Wanted, units, versions
from .edits import (
    MARK,
    Insertion,
    cut,
    indent_at,
    inserted,
    item_cuts,
    item_places,
    marked,
    newline_of,
    occurrences,
    toml,
)
from .host import Host
from .toml_text import loads
from .users import users

_CONFIG: Final = "/etc/buildkit/buildkitd.toml"
_PROGRAMS: Final = ("/usr/bin/buildkitd", "/usr/sbin/buildkitd", "/usr/local/bin/buildkitd")
_UNITS: Final = ("buildkit", "buildkitd")
_BUILDX: Final = ".docker/buildx/instances"
"""Below a user's home: the builders that `docker buildx create` made. Those of other drivers are no containers here."""
_ROOTLESS: Final = ".config/buildkit/buildkitd.toml"
_HEADER: Final = re.compile(r"(?m)^[ \t]*\[[^\[\n][^\n]*\]([ \t]*(?:#[^\n]*)?)(\r?\n|\Z)")
_LIST: Final = re.compile(r"=\s*\[")

Table = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Setting:
    """One thing that a registry's table is to say.

    Args:
        registry: whose table.
        key: `mirrors` or `http`.
        value: the mirror that comes first, or true.
    """

    registry: str
    key: str
    value: str | bool

    @property
    def line(self) -> str:
        """As it stands in a table that has no such key."""
        value = json.dumps(self.value)
        return f"{self.key} = [{value}]" if isinstance(self.value, str) else f"{self.key} = {value}"

    @property
    def name(self) -> str:
        """The name of the table, quoted."""
        return json.dumps(self.registry)

    def is_said(self, table: Table) -> bool:
        """Whether a registry's table says it, or something that excludes it."""
        said = table.get(self.key)
        if isinstance(self.value, bool):
            return said is not None
        known = {self.value, f"{self.value}/{self.registry}"}
        return any(each.rstrip("/") in known for each in said or [])

    def with_it(self, settings: Table) -> Table:
        """What a file should say."""
        registries = settings.get("registry", {})
        table = registries.get(self.registry, {})
        value = self.value if isinstance(self.value, bool) else [self.value, *table.get(self.key, [])]
        return settings | {"registry": registries | {self.registry: table | {self.key: value}}}

    def without_it(self, settings: Table, made: int) -> list[Table]:
        """What a file should say without it: the best first; nothing if it does not say it.

        Args:
            settings: what it says.
            made: how much of it was made: 0 the mirror, 1 the key too, 2 the registry's table as well.
        """
        registries = settings.get("registry", {})
        table = registries.get(self.registry, {})
        said = table.get(self.key)
        if said != self.value and (not isinstance(said, list) or self.value not in said):
            return []
        left = [each for each in said if each != self.value] if isinstance(said, list) else []
        kept = table | {self.key: left}
        if left or not made:
            return [settings | {"registry": registries | {self.registry: kept}}]
        del kept[self.key]
        meant = [settings | {"registry": registries | {self.registry: kept}}]
        if not kept and made > 1:
            others = {name: each for name, each in registries.items() if name != self.registry}
            meant.insert(0, settings | {"registry": others})
            if not others:
                meant.insert(0, {name: each for name, each in settings.items() if name != "registry"})
        return meant


@dataclass(frozen=True, slots=True)
class BuildKit:
    """buildkitd on the host itself; of builders in containers it says how they are made anew."""

    name: str = "buildkit"

    def look(self, host: Host) -> Installed | None:
        """What the host has of it: see `Runtime`."""
        paths = {path for path in _PROGRAMS if host.exists(path)}
        text = host.read(_CONFIG)
        for user in users(host):
            builders = [name for name in user.names(_BUILDX) if '"docker-container"' in user.read(f"{_BUILDX}/{name}")]
            paths |= {f"{user.home}/{_BUILDX}/{name}" for name in builders}
            paths |= {f"{user.home}/{_ROOTLESS}"} if user.has(_ROOTLESS) else set()
        if not paths and text is None:
            return None
        unit = units.first(host, _UNITS)
        restart = () if unit is None else units.restart(unit)
        version = versions.package_version(host, ("buildkit",)) or versions.program_version(host, _PROGRAMS)
        return Installed(self.name, version, {} if text is None else {_CONFIG: text}, frozenset(paths), restart)

    def add(self, installed: Installed, wanted: Wanted) -> Change:
        """What makes it ask the agent first: see `Runtime`."""
        notes = (*marked(installed.texts), *_of_users(installed))
        before = installed.texts.get(_CONFIG)
        settings = _read(_CONFIG, before or "")
        text, pieces = before or "", []
        for setting in _settings(wanted):
            registries = settings.get("registry", {})
            table = registries.get(setting.registry, {})
            if not setting.is_said(table):
                made = 0 if setting.key in table else 1 if setting.registry in registries else 2
                settings = setting.with_it(settings)
                found = inserted(text, _places(text, setting, made), toml, settings)
                if found is None:
                    problem = f"write [registry.{setting.name}] {setting.line} by hand: no place was found for it"
                    raise NotUnderstood(_CONFIG, None, problem)
                text = found.into(text)
                pieces.append([setting.registry, setting.key, setting.value, made, found.snippet])
            elif setting.key == "http" and table["http"] is False and setting.value is True:
                notes += (f"{_CONFIG} says http = false of {setting.registry}, which speaks plain HTTP: change that",)
        if not pieces:
            return Change(notes=notes)
        added = {"made_file": before is None, "pieces": pieces}
        if not installed.restart and not installed.paths.isdisjoint(_PROGRAMS):
            notes += ("buildkitd has no unit of systemd here: start it again yourself, so that it reads this",)
        return Change({_CONFIG: Addition(text, added, at_once=not installed.restart)}, installed.restart, notes)

    def remove(self, path: str, text: str, added: Added) -> str | None:
        """The text of a file without what was added: see `Runtime`."""
        settings = _read(path, text)
        for registry, key, value, made, snippet in reversed(added["pieces"]):
            setting = _Setting(registry, key, value)
            allowed = setting.without_it(settings, made)
            shorter = (cut(text, _cuts(text, setting, snippet), toml, meant) for meant in allowed)
            found = next((each for each in shorter if each is not None), None)
            if found is not None:
                text, settings = found, toml(found)
            elif allowed:
                raise NotUnderstood(path, None, f"take {value} out of [registry.{setting.name}] {key} by hand")
        return None if added["made_file"] and not text.strip() else text


def _settings(wanted: Wanted) -> list[_Setting]:
    """What the tables of all registries are to say."""
    settings = [_Setting(registry, "mirrors", wanted.address) for registry in wanted.registries]
    if wanted.url.startswith("http://"):
        settings.append(_Setting(wanted.address, "http", True))
    return settings


def _places(text: str, setting: _Setting, made: int) -> Iterator[Insertion]:
    """Where a setting can be written, in the style of the file."""
    end = newline_of(text)
    if not made:
        yield from item_places(text, _LIST, json.dumps(setting.value))
        return
    headers = list(_HEADER.finditer(text))
    for header in headers if made == 1 else ():
        indent = indent_at(text, header.start()) + "  " if header[2] else "  "
        following = re.compile(r"[ \t]*(?=[^\s\[#])").match(text, header.end())
        indent = following[0] if following else indent
        yield Insertion(header.end(), f"{'' if header[2] else end}{indent}{setting.line}{end if header[2] else ''}")
    begin = "" if not text or text.endswith("\n") else end
    blank = end if text.strip("\ufeff\r\n\t ") else ""
    yield Insertion(len(text), f"{begin}{blank}[registry.{setting.name}]{end}  {setting.line}{end}")
    for found in re.finditer(r"\{", text):  # inline tables, which no header can extend
        for line in (setting.line, f"{setting.name} = {{ {setting.line} }}"):
            yield Insertion(found.end(), f" {line},")
            yield Insertion(found.end(), f" {line}")
    for found in re.finditer(r"(?m)^([ \t]*)[^\n]*\n", text):  # dotted keys, which no header can extend either
        for line in (f"registry.{setting.name}.{setting.line}", f"{setting.name}.{setting.line}"):
            if "registry" in found[0] or setting.registry in found[0]:
                yield Insertion(found.end(), f"{found[1]}{line}{end}")


def _cuts(text: str, setting: _Setting, snippet: str) -> Iterator[tuple[int, int]]:
    """Ranges of which one is what was added, or what others have made of it."""
    yield from occurrences(text, snippet)
    line = rf"{setting.key}[ \t]*=[ \t]*(?:true|\[[^\]]*\])"
    header = rf"\[[ \t]*registry[ \t]*\.[ \t]*[\"']{re.escape(setting.registry)}[\"'][ \t]*\]"
    shapes = (
        rf"(?m)^[ \t]*\r?\n[ \t]*{header}[ \t]*\r?\n[ \t]*{line}[ \t]*(?:\r?\n|\Z)",
        rf"(?m)^[ \t]*{header}[ \t]*\r?\n[ \t]*{line}[ \t]*(?:\r?\n|\Z)",
        rf"(?m)^[ \t]*{line}[ \t]*(?:\r?\n|\Z)",
        rf"{line}[ \t]*,[ \t]*",
    )
    for shape in shapes:
        for found in re.finditer(shape, text):
            yield found.span()
    if isinstance(setting.value, str):
        for written in (json.dumps(setting.value), f"'{setting.value}'"):
            yield from item_cuts(text, written)


def _read(path: str, text: str) -> Table:
    """What a buildkitd.toml says; raise NotUnderstood if it is not in order."""
    settings = loads(path, text.removeprefix(MARK))
    registries = settings.get("registry", {})
    if not isinstance(registries, dict):
        raise NotUnderstood(path, None, "registry must be a table of tables, one a registry")
    for name, table in registries.items():
        mirrors = table.get("mirrors", []) if isinstance(table, dict) else None
        if not isinstance(mirrors, list) or not all(isinstance(each, str) for each in mirrors):
            raise NotUnderstood(path, None, f'[registry."{name}"] must be a table, and its mirrors a list of texts')
    return settings


def _of_users(installed: Installed) -> Iterator[str]:
    """Builders and files that are left alone, and what their owner can do."""
    for path in sorted(installed.paths):
        if _BUILDX in path:
            builder = path.rpartition("/")[2]
            yield (
                f"{path}: the builder {builder} is a container with settings of its own. Make it anew: docker buildx rm"
                f" {builder}, then docker buildx create --name {builder} --driver-opt network=host --config {_CONFIG}"
            )
        elif path.endswith(_ROOTLESS):
            yield f"{path}: this user runs BuildKit without root; write what {_CONFIG} has into it"


RUNTIMES: Final = (BuildKit(),)
