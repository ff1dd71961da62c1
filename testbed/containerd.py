"""A containerd of the caller's own, and its client `ctr`."""

import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from .errors import RunError
from .images import Image
from .processes import Process, run

_SETTINGS: Final = """\
version = {version}
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = {disabled}
[grpc]
  address = "{folder}/c.sock"
"""
_VERSIONS: Final[Mapping[int, int]] = {1: 2, 2: 3}
"""Of the configuration file, by containerd's own first number."""

_PARALLEL: Final = """\
[plugins."io.containerd.transfer.v1.local"]
  max_concurrent_downloads = {parallel}
"""
"""How many blobs containerd 2 downloads at a time when it pulls itself."""

_SNAPSHOTTERS: Final = ("blockfile", "btrfs", "devmapper", "zfs")
_DISABLED: Final[Mapping[int, tuple[str, ...]]] = {
    1: (
        *("io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.internal.v1.restart"),
        *("io.containerd.tracing.processor.v1.otlp", "io.containerd.snapshotter.v1.aufs"),
        *(f"io.containerd.snapshotter.v1.{name}" for name in _SNAPSHOTTERS[1:]),
    ),
    2: (
        *("io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"),
        *("io.containerd.podsandbox.controller.v1.podsandbox", "io.containerd.nri.v1.nri"),
        *("io.containerd.internal.v1.opt", "io.containerd.monitor.container.v1.restart"),
        *("io.containerd.tracing.processor.v1.otlp", "io.containerd.snapshotter.v1.erofs"),
        *(f"io.containerd.snapshotter.v1.{name}" for name in _SNAPSHOTTERS),
    ),
}
"""Plugins that nobody needs here, or that share files with another containerd of the machine, by the first number."""

_HOSTS: Final = """\
server = "{server}"

[host."{mirror}"]
  capabilities = ["pull", "resolve"]
"""

_SOCKET_PATH_MAX: Final = 107
"""Bytes in the path of a Unix socket. Source: unix(7), `sun_path` with its final zero."""


_VERSION: Final = re.compile(r"^containerd \S+ v?(\d+)\.(\d+)\S*", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Programs:
    """A containerd and its client, to be run.

    Args:
        containerd: command or path.
        ctr: command or path of its client.
        version: of containerd, its first two numbers.
    """

    containerd: str = "containerd"
    ctr: str = "ctr"
    version: tuple[int, int] = (1, 6)

    @classmethod
    def beside(cls, containerd: Path) -> Self:
        """A containerd by its path, and the `ctr` in the same folder.

        Raises:
            RunError: one of them is missing, or the first does not say its version.
        """
        ctr = containerd.with_name("ctr")
        if not ctr.is_file():
            raise RunError(f"{ctr} is missing: the ctr of {containerd} must be in the same folder")
        return cls(str(containerd), str(ctr), version_of(run([str(containerd), "--version"])))


def version_of(answer: str) -> tuple[int, int]:
    """The first two numbers in what `containerd --version` prints.

    Raises:
        RunError: there are none.
    """
    found = _VERSION.search(answer)
    if found is None:
        raise RunError(f"{answer.strip()!r} is not what a containerd says of its version")
    return int(found[1]), int(found[2])


DEBIAN: Final = Programs()
"""Debian 12's, on PATH."""


class Containerd(Process):
    """A containerd whose root, state and socket are in one folder, without the plugin for Kubernetes.

    Args:
        folder: for its files; made if it is not there.
        netns: network namespace that it runs in.
        programs: what is run.
        parallel: how many blobs a pull downloads at a time; 3 is containerd's own choice.

    Raises:
        RunError: the folder's path is too long for a socket in it.
    """

    def __init__(self, folder: Path, netns: str | None = None, programs: Programs = DEBIAN, parallel: int = 3) -> None:
        self.folder = folder
        self.socket = folder / "c.sock"
        if len(f"{self.socket}.ttrpc".encode()) > _SOCKET_PATH_MAX:
            raise RunError(f"{self.socket} is too long for a Unix socket")
        folder.mkdir(parents=True, exist_ok=True)
        settings = folder / "config.toml"
        settings.write_text(settings_of(folder, programs, parallel))
        self._programs = programs
        self._parallel = parallel
        command = [programs.containerd, "--config", str(settings)]
        super().__init__(f"containerd in {folder.name}", command, folder / "containerd.log", netns=netns)

    def is_ready(self) -> bool:
        """Whether it answers."""
        command = self.ctr_command("--connect-timeout", "1s", "version")
        return self.socket.exists() and subprocess.run(command, capture_output=True, check=False).returncode == 0

    def ctr_command(self, *arguments: str, namespace: str = "k8s.io") -> list[str]:
        """A command for it, in a namespace of containerd's."""
        return [self._programs.ctr, "--address", str(self.socket), "--namespace", namespace, *arguments]

    def ctr(self, *arguments: str, namespace: str = "k8s.io", timeout_s: float = 120) -> str:
        """Run `ctr` against it; return what it printed."""
        return run(self.ctr_command(*arguments, namespace=namespace), netns=self.netns, timeout_s=timeout_s)

    def pull_command(self, name: str, hosts_dir: Path) -> list[str]:
        """A command that pulls an image and unpacks it.

        From version 2 on containerd does that itself, by its transfer service, as for the kubelet; before, `ctr` does.

        Args:
            name: of the image.
            hosts_dir: says who is asked.
        """
        asked = ["--hosts-dir", str(hosts_dir)]
        if self._programs.version[0] < 2:
            asked += ["--max-concurrent-downloads", str(self._parallel)]
        return self.ctr_command("images", "pull", *asked, name)

    def import_image(self, image: Image, *, namespace: str = "k8s.io") -> None:
        """Put an image into its content store, without unpacking it."""
        self.ctr("images", "import", "--no-unpack", str(image.archive()), namespace=namespace)

    def tag_image(self, source: str, target: str, *, namespace: str = "k8s.io") -> None:
        """Give an image another name, which may be in use already."""
        self.ctr("images", "tag", "--force", source, target, namespace=namespace)

    def remove_images(self, *names: str, namespace: str = "k8s.io") -> None:
        """Remove names, and the content that only they held, before returning."""
        self.ctr("images", "rm", "--sync", *names, namespace=namespace)

    def contents(self, *, namespace: str = "k8s.io") -> set[str]:
        """The digests of what is in its content store."""
        return set(self.ctr("content", "ls", "-q", namespace=namespace).split())

    def leases(self, *, namespace: str = "k8s.io") -> list[str]:
        """The leases that keep some of it."""
        return self.ctr("leases", "ls", "-q", namespace=namespace).split()

    @property
    def content_root(self) -> Path:
        """The folder of its content store."""
        return self.folder / "root" / "io.containerd.content.v1.content"

    def blob_path(self, digest: str) -> Path:
        """Where it has some content, if it has it."""
        return self.content_root / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def content_bytes(self) -> int:
        """Bytes in its content store, those of unfinished blobs too."""
        files = [*self.content_root.glob("ingest/*/data"), *self.content_root.glob("blobs/sha256/*")]
        total = 0
        for file in files:
            with suppress(FileNotFoundError):  # finished, and moved, meanwhile
                total += file.stat().st_size
        return total


def settings_of(folder: Path, programs: Programs, parallel: int) -> str:
    """The configuration of a containerd with all files in one folder, and so many downloads at a time."""
    first = programs.version[0]
    known = max(number for number in _VERSIONS if number <= max(first, 1))
    disabled = "[" + ", ".join(f'"{plugin}"' for plugin in _DISABLED[known]) + "]"
    settings = _SETTINGS.format(version=_VERSIONS[known], folder=folder, disabled=disabled)
    return settings + (_PARALLEL.format(parallel=parallel) if first > 1 else "")


def write_hosts(
    folder: Path, mirror: str, server: str = "https://registry-1.docker.io", *, has_path: bool = False
) -> Path:
    """Write a folder for containerd's `config_path` or ctr's `--hosts-dir`; return it.

    Args:
        folder: made here.
        mirror: URL that is asked first for everything of docker.io.
        server: URL that is asked when the mirror fails.
        has_path: whether the mirror's URL has all that comes before the repository, `/v2` included.
    """
    hosts = folder / "docker.io" / "hosts.toml"
    hosts.parent.mkdir(parents=True)
    hosts.write_text(_HOSTS.format(mirror=mirror, server=server) + ("  override_path = true\n" if has_path else ""))
    return folder
