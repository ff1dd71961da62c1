"""Docker: `registry-mirrors` of daemon.json, which counts for Docker Hub alone.

dockerd reads daemon.json again when it gets SIGHUP, but a key that is no longer there keeps its old value until it is
restarted (moby, daemon/reload.go). It does not start if a setting is both in daemon.json and on its command line.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from . import Added, Addition, Change, Installed, NotUnderstood, Texts, Wanted, units, versions
from .edits import MARK, Insertion, cut, indent_at, inserted, item_cuts, item_places, marked, newline_of, occurrences
from .host import Host
from .users import users

_HUB: Final = "docker.io"
_KEY: Final = "registry-mirrors"
_PROGRAMS: Final = ("/usr/bin/dockerd", "/usr/sbin/dockerd", "/usr/local/bin/dockerd")
_PACKAGES: Final = ("docker-ce", "docker.io")
_CONFIG: Final = "/etc/docker/daemon.json"
_SNAP: Final = "/var/snap/docker/current"
_SNAP_CONFIG: Final = f"{_SNAP}/config/daemon.json"
_UNIT: Final = "docker.service"
_RELOAD: Final = units.reload("docker")
_RESTART: Final = units.restart("docker")
_SNAP_RESTART: Final = ("snap", "restart", "docker")
_ROOTLESS: Final = (".config/docker/daemon.json", ".config/systemd/user/docker.service")
_ENVIRONMENT: Final = ("/etc/default/docker", "/etc/sysconfig/docker")
_LIST: Final = re.compile(rf'"{_KEY}"\s*:\s*\[')
_MEMBER: Final = rf'"{_KEY}"\s*:\s*\[[^\]]*\]'


@dataclass(frozen=True, slots=True)
class Docker:
    """dockerd, as a package, a snap, or by hand."""

    name: str = "docker"

    def look(self, host: Host) -> Installed | None:
        """What the host has of it: see `Runtime`."""
        paths = {path for path in (*_PROGRAMS, _SNAP) if host.exists(path)}
        said = units.texts_of(host, _UNIT)
        config = _config_of(said)
        if not paths and not host.exists(config):
            return None
        files = (config, *((_SNAP_CONFIG,) if _SNAP in paths else ()), *_ENVIRONMENT)
        texts = said | {path: text for path in files if (text := host.read(path)) is not None}
        for user in users(host):
            paths |= {f"{user.home}/{path}" for path in _ROOTLESS if user.name != "root" and user.has(path)}
        only_snap = _SNAP in paths and paths.isdisjoint(_PROGRAMS)
        restart = _SNAP_RESTART if only_snap else _RESTART
        version = versions.package_version(host, _PACKAGES) or versions.program_version(host, _PROGRAMS)
        return Installed(self.name, version, texts, frozenset(paths), restart)

    def add(self, installed: Installed, wanted: Wanted) -> Change:
        """What makes it ask the agent first: see `Runtime`."""
        notes = [*marked(installed.texts), *_of_other_registries(wanted), *_of_store(installed), *_of_users(installed)]
        if _HUB not in wanted.registries or _is_started_with(wanted.url, installed.texts):
            return Change(notes=tuple(notes))
        files, snap = {}, _SNAP in installed.paths
        if not snap or not installed.paths.isdisjoint(_PROGRAMS):
            files[_config_of(installed.texts)] = _RELOAD
        if snap:
            files[_SNAP_CONFIG] = _SNAP_RESTART
        additions = {
            path: addition for path in files if (addition := _add(path, installed.texts.get(path), wanted.url))
        }
        commands = [files[path] for path in additions]
        notes += [f"two dockerd are installed: also run {' '.join(command)}" for command in commands[1:]]
        return Change(additions, commands[0] if commands else (), tuple(notes))

    def remove(self, path: str, text: str, added: Added) -> str | None:
        """The text of a file without what was added: see `Runtime`."""
        mirror, made_file = added["mirror"], added["made"] == "file"
        settings = _read(path, text)
        listed = _mirrors(path, settings)
        left = [each for each in listed if each != mirror]
        meant = settings | {_KEY: left}
        if not left and added["made"] != "item":
            del meant[_KEY]
        shorter = text if meant == settings else cut(text, _cuts(text, added["snippet"], mirror), _parse, meant)
        if shorter is None:
            raise NotUnderstood(path, None, f"take {mirror} out of {_KEY} by hand: its place was not found")
        return None if made_file and not meant else shorter


def _add(path: str, text: str | None, mirror: str) -> Addition | None:
    """A daemon.json with the mirror as the first; None if it has that already."""
    settings = _read(path, text or "")
    mirrors = _mirrors(path, settings)
    if any(_same(each, mirror) for each in mirrors):
        return None
    meant = settings | {_KEY: [mirror, *mirrors]}
    found = inserted(text or "", _places(text or "", json.dumps(mirror), _KEY in settings), _parse, meant)
    if found is None:
        raise NotUnderstood(path, None, f'add "{_KEY}": ["{mirror}"] by hand: no place was found for it')
    made = "file" if text is None else "item" if _KEY in settings else "key"
    return Addition(found.into(text or ""), {"mirror": mirror, "made": made, "snippet": found.snippet})


def _places(text: str, item: str, is_listed: bool) -> Iterator[Insertion]:
    """Where a mirror can be written, in the style of the file."""
    end = newline_of(text)
    if is_listed:
        yield from item_places(text, _LIST, item)
        return
    member = f'"{_KEY}": [{item}]'
    closing = text.rfind("}")
    if closing < 0:
        yield Insertion(len(text), f"{{{end}  {member}{end}}}{end}")
        return
    opening = text.index("{")
    before = len(text[:closing].rstrip())
    if before == opening + 1:
        yield Insertion(before, f"{end}  {member}" + ("" if "\n" in text[before:closing] else end))
        return
    first_line = text.find("\n", opening, closing)
    is_spread = first_line >= 0 and not text[opening + 1 : first_line].strip()
    yield Insertion(before, f",{end}{indent_at(text, first_line + 1)}{member}" if is_spread else f", {member}")


def _cuts(text: str, snippet: str, mirror: str) -> Iterator[tuple[int, int]]:
    """Ranges of which one is what was added, or the mirror, or the key that has no other mirror."""
    yield from occurrences(text, snippet)
    for shape in (rf",\s*{_MEMBER}", rf"{_MEMBER}\s*,\s*", rf"\s*{_MEMBER}"):
        for found in re.finditer(shape, text):
            yield found.span()
    for written in {json.dumps(mirror), json.dumps(mirror).replace("/", "\\/")}:
        yield from item_cuts(text, written)


def _parse(text: str) -> Any:
    """What a daemon.json says; nothing at all says no more than `{}`."""
    text = text.removeprefix(MARK)
    try:
        return json.loads(text) if text.strip() else {}
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _read(path: str, text: str) -> dict[str, Any]:
    """The settings of a daemon.json; raise NotUnderstood if it is not in order."""
    try:
        settings = _parse(text)
    except json.JSONDecodeError as error:
        raise NotUnderstood(path, error.lineno, f"it is no JSON: {error.msg}") from None
    except ValueError as error:
        raise NotUnderstood(path, None, f"it is no JSON: {error}") from None
    if not isinstance(settings, dict):
        raise NotUnderstood(path, 1, "it must be a JSON object, { … }")
    return settings


def _mirrors(path: str, settings: dict[str, Any]) -> list[str]:
    """The mirrors of a daemon.json; raise NotUnderstood if they are no list of texts."""
    mirrors = settings.get(_KEY, [])
    if not isinstance(mirrors, list) or not all(isinstance(each, str) for each in mirrors):
        raise NotUnderstood(path, None, f'"{_KEY}" must be a list of URLs')
    return mirrors


def _same(mirror: str, other: str) -> bool:
    """Whether two mirrors are one."""
    return mirror.rstrip("/").lower() == other.rstrip("/").lower()


def _command(texts: Texts) -> tuple[str, str]:
    """The path of the unit that says how dockerd is started, and what it says; both are empty if none does."""
    of_unit = {path: text for path, text in texts.items() if f"/{_UNIT}" in path}
    return next(reversed(list(units.said(of_unit, "ExecStart"))), ("", ""))


def _config_of(texts: Texts) -> str:
    """The daemon.json that dockerd reads."""
    _, command = _command(texts)
    named = re.search(r"--config-file[= ](/\S+)", command)
    return named[1] if named else _CONFIG


def _is_started_with(mirror: str, texts: Texts) -> bool:
    """Whether a mirror is on dockerd's command line; raise NotUnderstood if others are, for then daemon.json cannot."""
    path, command = _command(texts)
    said = {path: command}
    for each in _ENVIRONMENT:
        if re.search(r"\$\{?(DOCKER_OPTS|OPTIONS)", command):
            said[each] = "\n".join(
                line for line in texts.get(each, "").splitlines() if not line.lstrip().startswith("#")
            )
    flags = {each: re.findall(r"--registry-mirror[= ]\"?([^\s\"']+)", text) for each, text in said.items()}
    if any(_same(each, mirror) for named in flags.values() for each in named):
        return True
    for each, named in flags.items():
        if named:
            problem = (
                f"it starts dockerd with --registry-mirror {named[0]}, and dockerd does not start if daemon.json has"
                f" {_KEY} as well: write that mirror into daemon.json instead, then try again"
            )
            raise NotUnderstood(each, None, problem)
    return False


def _of_other_registries(wanted: Wanted) -> Iterator[str]:
    """What Docker does not do for the registries that are wanted."""
    if wanted.registries != (_HUB,):
        yield (
            "Docker asks the agent for images of Docker Hub alone: it knows no mirrors of other registries. Pull theirs"
            f" as {wanted.address}/REGISTRY/IMAGE"
        )


def _of_store(installed: Installed) -> Iterator[str]:
    """That Docker keeps its images in containerd's store, which can do more."""
    path = _config_of(installed.texts)
    features = _read(path, installed.texts.get(path, "")).get("features")
    if isinstance(features, dict) and features.get("containerd-snapshotter") is True:
        yield (
            f"{path} has containerd-snapshotter: with that, Docker also reads /etc/docker/certs.d/_default/hosts.toml,"
            " as containerd does, where the agent can be named for every registry"
        )


def _of_users(installed: Installed) -> Iterator[str]:
    """Who runs a Docker of their own, which is left alone."""
    for path in sorted(installed.paths):
        if path.endswith(_ROOTLESS):
            yield (
                f"{path}: this user runs Docker without root. It has a network of its own, where 127.0.0.1 is not this"
                f" host; give the agent another address, and add that to {_KEY} there"
            )


RUNTIMES: Final = (Docker(),)
