"""podman, CRI-O, skopeo and buildah, which read the same files: a file of its own in registries.conf.d.

They have no word for all registries, and of several tables for the same images they read one alone. So this file has a
table for each registry, which says first what others' files say of it, and is read after them. It is made anew when
they change, unless somebody has written into it: then it is changed like anybody's.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import tomlkit

from . import Added, Addition, Change, Installed, NotUnderstood, Texts, Wanted, units, versions
from .edits import MARK, Insertion, cut, inserted, marked, newline_of, occurrences, toml
from .host import Host
from .registries_conf import DROP_INS, MAIN, Entry, Table, applying, entries, is_old, tables
from .toml_text import loads
from .users import users

OWN: Final = f"{DROP_INS}/zz-skvaller.conf"
"""Is read last: files are read in the order of their names."""
_PROGRAMS: Final = tuple(
    f"/usr/{folder}/{program}"
    for program in ("podman", "skopeo", "buildah", "crio")
    for folder in ("bin", "sbin", "local/bin", "local/sbin")
)
_PACKAGES: Final = ("podman", "cri-o", "skopeo", "buildah")
_OF_USER: Final = ".config/containers/registries.conf"
_CRIO: Final = ("crio", "cri-o")
"""How its unit is called: by itself, and by some distributions."""
_HUB_NAMES: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_HEAD: Final = """\
# Written by `skvaller configure`, and made anew when other files change; `skvaller unconfigure` takes it away.
# What others say of these registries is repeated here, for only one table of each is read. Write into other files.
# sha256 of what follows: """
_HEAD_OF_ANY: Final = re.compile("".join(rf"{re.escape(line)}\r?\n" for line in _HEAD.splitlines()[:-1]) + r"#[^\n]*\n")


@dataclass(frozen=True, slots=True)
class Podman:
    """All that read registries.conf."""

    name: str = "podman"

    def look(self, host: Host) -> Installed | None:
        """What the host has of it: see `Runtime`."""
        programs = [path for path in _PROGRAMS if host.exists(path)]
        paths = set(programs)
        files = [MAIN, *(f"{DROP_INS}/{name}" for name in host.names(DROP_INS) if name.endswith(".conf"))]
        texts = {path: text for path in files if (text := host.read(path)) is not None}
        if not programs and MAIN not in texts:
            return None
        paths |= {f"{user.home}/{_OF_USER}" for user in users(host) if user.has(_OF_USER)}
        has_crio = any(path.endswith("/crio") for path in programs)
        restart = units.reload(units.first(host, _CRIO) or _CRIO[0]) if has_crio else ()
        version = versions.package_version(host, _PACKAGES) or versions.program_version(host, programs)
        return Installed(self.name, version, texts, frozenset(paths), restart)

    def add(self, installed: Installed, wanted: Wanted) -> Change:
        """What makes it ask the agent first: see `Runtime`."""
        own = installed.texts.get(OWN)
        is_generated = own is not None and own == _generated(_body_of(own))
        others = {path: text for path, text in installed.texts.items() if path != OWN or not is_generated}
        missing, notes = _missing(entries(_in_order(others)), wanted)
        notes = [
            *notes,
            *marked(installed.texts),
            *_of_format(installed.texts),
            *_of_users(installed),
            *_of_later(missing, others),
        ]
        blocks = {entry.prefix: _block(entry, wanted) for entry in missing}
        text = _generated("".join(blocks.values())) if is_generated or own is None else _extended(own, missing, wanted)
        if text == own or not blocks:
            return Change(notes=tuple(notes))
        tables_of = [[entry.prefix, _place(entry, wanted), blocks[entry.prefix]] for entry in missing]
        added = {"head": is_generated or own is None, "tables": tables_of}
        return Change({OWN: Addition(text, added, at_once=not installed.restart)}, installed.restart, tuple(notes))

    def remove(self, path: str, text: str, added: Added) -> str | None:
        """The text of a file without what was added: see `Runtime`."""
        if text == _generated(_body_of(text)):
            return None
        settings = loads(path, text.removeprefix(MARK))
        for prefix, mirror, block in added["tables"]:
            allowed = _without(settings, prefix, mirror)
            proposals = [*occurrences(text, block), *_mirror_cuts(text, mirror)]
            shorter = (cut(text, proposals, toml, meant) for meant in allowed)
            found = next((each for each in shorter if each is not None), None)
            if found is not None:
                text, settings = found, toml(found)
            elif allowed:
                raise NotUnderstood(path, None, f"take the mirror {mirror} out by hand: its place was not found")
        text = _HEAD_OF_ANY.sub("", text) if added["head"] else text
        return text if text.strip() else None


def _missing(counts: dict[str, Entry], wanted: Wanted) -> tuple[list[Entry], list[str]]:
    """What is to be said with the agent as the first mirror, and why something is not."""
    missing: list[Entry] = []
    notes = []
    for entry in (each for registry in wanted.registries for each in applying(counts, registry)):
        first = _canonical(entry.location.partition("/")[0])
        alike = next((each for each in missing if each.location == entry.location), entry)
        if entry.asks(_place(entry, wanted)):
            continue
        if entry.is_blocked:
            notes.append(f"{entry.path} blocks {entry.prefix}: that is left as it is")
        elif first not in wanted.registries:
            notes.append(
                f"{entry.path} sends {entry.prefix} to {entry.location}, of which the agent is not asked: it stays so"
            )
        elif bool(alike.table.get("insecure")) != bool(entry.table.get("insecure")):
            notes.append(
                f"{entry.path} says of {entry.location} something else about insecure than {alike.path}: podman takes"
                f" no file with both, so {entry.prefix} is left as it is"
            )
        else:
            missing.append(entry)
            if entry.table.get("mirror-by-digest-only"):
                notes.append(
                    f"{entry.path} has mirror-by-digest-only for {entry.prefix}: what is pulled by a tag does not ask"
                    " the agent"
                )
    return missing, notes


def _place(entry: Entry, wanted: Wanted) -> str:
    """The mirror's location: the registry is the first part of the path, `_` before its port."""
    registry, slash, path = entry.location.partition("/")
    return f"{wanted.address}/{registry.replace(':', '_')}{slash}{path}"


def _mirror(entry: Entry, wanted: Wanted) -> Table:
    """The mirror's table."""
    insecure = {"insecure": True} if wanted.url.startswith("http://") else {}
    return {"location": _place(entry, wanted)} | insecure


def _block(entry: Entry, wanted: Wanted) -> str:
    """The tables that say it."""
    says = {"prefix": entry.prefix, "location": entry.location}
    says |= {key: value for key, value in entry.table.items() if key not in (*says, "mirror")}
    written = tomlkit.dumps({"registry": [says | {"mirror": [_mirror(entry, wanted), *entry.mirrors]}]})
    source = f"# With what {entry.path} says of it.\n" if entry.path not in (None, OWN) else ""
    return f"\n{source}{written.strip()}\n"


def _generated(body: str) -> str:
    """The whole file."""
    return f"{_HEAD}{hashlib.sha256(body.encode()).hexdigest()[:16]}\n{body}"


def _body_of(text: str) -> str:
    """What follows the head of a file that was generated, or of any."""
    return text.removeprefix(_HEAD).partition("\n")[2]


def _extended(text: str, missing: list[Entry], wanted: Wanted) -> str:
    """A file that somebody has written into, with what it lacks; raise NotUnderstood if there is no place for it."""
    end = newline_of(text)
    for entry in missing:
        settings, there = toml(text), tables(OWN, text).get(entry.prefix)
        registries = settings.get("registry", [])
        if there is None:
            meant = [*registries, *toml(_block(entry, wanted))["registry"]]
            snippet = ("" if not text or text.endswith("\n") else end) + _block(entry, wanted).replace("\n", end)
            places = [Insertion(len(text), snippet)]
        else:
            first = registries.index(there.table)
            added = there.table | {"mirror": [_mirror(entry, wanted), *there.mirrors]}
            meant = [*registries[:first], added, *registries[first + 1 :]]
            tables_of_mirror = tomlkit.dumps({"registry": [{"mirror": [_mirror(entry, wanted)]}]})
            snippet = tables_of_mirror.partition("[[registry]]\n")[2].strip().replace("\n", end)
            lines = [found.end() for found in re.finditer(r"\n", text)]
            places = [Insertion(at, f"{snippet}{end}{end}") for at in lines]
            places.append(Insertion(len(text), f"{end}{snippet}{end}"))
        found = inserted(text, places, toml, settings | {"registry": meant})
        if found is None:
            problem = f"add the mirror {_place(entry, wanted)} to {entry.prefix} by hand: no place was found for it"
            raise NotUnderstood(OWN, None, problem)
        text = found.into(text)
    return text


def _without(settings: Table, prefix: str, mirror: str) -> list[Table]:
    """What a file may say without one mirror of one prefix: without the table, or with the rest of it; or nothing.

    Args:
        settings: what it says.
        prefix: of the table.
        mirror: its location.
    """
    registries = settings.get("registry", [])
    allowed = []
    for index, table in enumerate(registries):
        mirrors = table.get("mirror", [])
        left = [each for each in mirrors if each.get("location") != mirror]
        if str(table.get("prefix")) == prefix and left != mirrors:
            kept = {key: value for key, value in table.items() if key != "mirror"} | ({"mirror": left} if left else {})
            allowed += [
                {**settings, "registry": [*registries[:index], *rest, *registries[index + 1 :]]}
                for rest in ([], [kept])
            ]
    if allowed and not allowed[0]["registry"]:
        del allowed[0]["registry"]
    return allowed


def _mirror_cuts(text: str, mirror: str) -> Iterator[tuple[int, int]]:
    """Ranges of which one is the table of a mirror."""
    blank, end = r"[ \t]*", r"[ \t]*(?:\r?\n|\Z)"
    location = rf"{blank}location{blank}={blank}[\"']{re.escape(mirror)}[\"']{end}"
    insecure = rf"(?:{blank}insecure{blank}={blank}true{end})?"
    for found in re.finditer(rf"(?m)^{blank}\[\[registry\.mirror\]\]{end}{location}{insecure}(?:{blank}\r?\n)?", text):
        yield found.span()


def _in_order(texts: Texts) -> list[tuple[str, str]]:
    """Files as podman reads them: the main one, then the others in the order of their names."""
    return sorted(texts.items(), key=lambda each: (each[0] != MAIN, each[0]))


def _canonical(registry: str) -> str:
    """A registry's own name, of those that it has."""
    return "docker.io" if registry in _HUB_NAMES else registry


def _of_format(texts: Texts) -> Iterator[str]:
    """That registries.conf has the old format."""
    if is_old(texts.get(MAIN, "")):
        yield f"{MAIN} has the old format, [registries.search]; podman still reads it, and {OWN} beside it"


def _of_later(missing: list[Entry], texts: Texts) -> Iterator[str]:
    """Which file is read after this one and says something else."""
    for path, text in texts.items():
        if path.startswith(f"{DROP_INS}/") and path > OWN:
            for prefix in tables(path, text).keys() & {entry.prefix for entry in missing}:
                yield f"{path} is read after {OWN} and counts for {prefix}: give it a name that comes before"


def _of_users(installed: Installed) -> Iterator[str]:
    """Files of users that count more than the host's."""
    for path in sorted(installed.paths):
        if path.endswith(_OF_USER):
            yield (
                f"{path}: for this user it counts instead of /etc/containers, so this user's pulls do not ask the"
                f" agent: delete it, or copy {OWN} into the folder registries.conf.d beside it"
            )


RUNTIMES: Final = (Podman(),)
