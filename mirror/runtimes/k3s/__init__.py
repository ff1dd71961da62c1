"""K3s and RKE2: registries.yaml, from which they make the configuration of their containerd when they start.

Their embedded registry is put before all endpoints of each entry of that file; it stands in no file itself.
Sources: docs.k3s.io, "Private Registry Configuration", "Embedded Registry Mirror" and "Advanced Options"; K3s,
pkg/spegel/registry.go and pkg/agent/templates.
"""

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from .. import Added, Change, Installed, Texts, Wanted, sockets, versions, yaml_text
from ..host import Host
from . import registries

_UNIT_FOLDERS: Final = ("/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system")
_ENABLED: Final = "/etc/systemd/system/multi-user.target.wants"
_TEMPLATES: Final = ("config-v3.toml.tmpl", "config.toml.tmpl")
_P2P_PORT: Final = 5001
"""Where embedded registries find each other, on each node, TCP; also the usual port of this agent's --peer."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """What K3s and RKE2 do not have in common.

    Args:
        name: of the runtime, on the command line.
        title: as people write it.
        folder: of its settings.
        data: folder of its data, unless its settings say another.
        programs: where it lies.
        units: that run it.
        registry_port: where its embedded registry answers, on 127.0.0.1.
    """

    name: str
    title: str
    folder: str
    data: str
    programs: tuple[str, ...]
    units: tuple[str, ...]
    registry_port: int


K3S: Final = Distribution(
    "k3s", "K3s", "/etc/rancher/k3s", "/var/lib/rancher/k3s", ("/usr/local/bin/k3s", "/usr/bin/k3s", "/opt/bin/k3s"),
    ("k3s", "k3s-agent"), 6443,
)  # fmt: skip
RKE2: Final = Distribution(
    "rke2", "RKE2", "/etc/rancher/rke2", "/var/lib/rancher/rke2",
    ("/usr/local/bin/rke2", "/usr/bin/rke2", "/opt/rke2/bin/rke2"), ("rke2-server", "rke2-agent"), 9345,
)  # fmt: skip


class K3s:
    """K3s or RKE2.

    Args:
        distribution: which of them.
    """

    def __init__(self, distribution: Distribution = K3S) -> None:
        self._distribution = distribution

    @property
    def name(self) -> str:
        """As on the command line."""
        return self._distribution.name

    def look(self, host: Host) -> Installed | None:
        """What the host has of it."""
        its = self._distribution
        if not any(host.exists(path) for path in (its.folder, its.data, *its.programs)):
            return None
        extra = f"{its.folder}/config.yaml.d"
        named = [f"{its.folder}/config.yaml", *(f"{extra}/{each}" for each in host.names(extra))]
        texts = {path: text for path in named if path.endswith(".yaml") and (text := host.read(path)) is not None}
        settings = self._settings(texts)
        templates = (f"{settings.data}/agent/etc/containerd/{name}" for name in _TEMPLATES)
        for path in (settings.registries, *templates):
            text = host.read(path)
            if text is not None:
                texts[path] = text
        images = f"{settings.data}/agent/images"
        paths = {f"{images}/{each}" for each in host.names(images) if not each.startswith(".")}
        version = versions.program_version(host, its.programs)
        return Installed(self.name, version, texts, frozenset(paths), _restart(host, its))

    def add(self, installed: Installed, wanted: Wanted) -> Change:
        """What makes it ask the agent first."""
        settings = self._settings(installed.texts)
        path = settings.registries
        addition, notes = registries.add(path, installed.texts.get(path), wanted)
        notes += self._notes(installed, settings, wanted)
        if addition is None:
            return Change(notes=tuple(notes))
        return Change({path: addition}, installed.restart, tuple(notes))

    def remove(self, path: str, text: str, added: Added) -> str | None:
        """The text of registries.yaml without the agent; None if nothing is left of a file that was made for it."""
        return registries.remove(path, text, added)

    def _is_setting(self, path: str) -> bool:
        folder = self._distribution.folder
        return path == f"{folder}/config.yaml" or path.startswith(f"{folder}/config.yaml.d/")

    def _settings(self, texts: Texts) -> "_Settings":
        """What its own settings say that matters here; a later file wins."""
        its = self._distribution
        known: dict[str, Any] = {}
        for path in sorted(filter(self._is_setting, texts), key=lambda path: (path.count("/"), path)):
            read = yaml_text.loads(path, texts[path])
            known |= read if isinstance(read, dict) else {}
        return _Settings(
            str(known.get("private-registry") or f"{its.folder}/registries.yaml"),
            str(known.get("data-dir") or its.data),
            known.get("embedded-registry") is True,
        )

    def _notes(self, installed: Installed, settings: "_Settings", wanted: Wanted) -> Iterator[str]:
        its = self._distribution
        if wanted.then:
            yield f"{', '.join(wanted.then)} was not written: add it behind the agent in {settings.registries} by hand"
        if settings.is_embedded:
            yield (
                f"embedded-registry is on: {its.title} asks its own mirror (127.0.0.1:{its.registry_port}) before this "
                f"agent, for every registry under mirrors, and has port {_P2P_PORT} on each node: the agent needs "
                "another one there, as in --peer 0.0.0.0:5011. To have one mirror only, set it to false on the servers"
            )
        if urlsplit(wanted.url).port in (its.registry_port, _P2P_PORT if settings.is_embedded else None):
            yield f"{wanted.url} is a port of {its.title} itself; give the agent another one with --listen"
        images = sorted(path for path in installed.paths if posixpath.basename(posixpath.dirname(path)) == "images")
        if images:
            yield (
                f"{its.title} imports the archives of {posixpath.dirname(images[0])} when it starts; the agent shares "
                f'these images, too, if its settings have containerd = "{sockets.K3S}"'
            )
        for path, text in installed.texts.items():
            if path.endswith(_TEMPLATES) and 'template "base"' not in text and "config_path" not in text:
                yield (
                    f"{path} is a template of yours that sets no config_path: with it containerd asks no mirror; add "
                    f'{{{{ template "base" . }}}} or config_path = "{settings.data}/agent/etc/containerd/certs.d"'
                )


@dataclass(frozen=True, slots=True)
class _Settings:
    """What its own settings say: paths of registries.yaml and of its data, and whether the embedded registry is on."""

    registries: str
    data: str
    is_embedded: bool


def _restart(host: Host, its: Distribution) -> tuple[str, ...]:
    """The command that starts it again. RKE2's package has both units, of which one is enabled."""
    enabled = [unit for unit in its.units if host.exists(f"{_ENABLED}/{unit}.service")]
    there = [unit for unit in its.units if any(host.exists(f"{folder}/{unit}.service") for folder in _UNIT_FOLDERS)]
    for unit in (*enabled, *there):
        return ("systemctl", "restart", unit)
    for unit in its.units:
        if host.exists(f"/etc/init.d/{unit}"):
            return ("rc-service", unit, "restart")
    return ("systemctl", "restart", its.units[0])


RUNTIMES: Final = (K3s(K3S), K3s(RKE2))
