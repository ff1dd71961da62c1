"""What runs on the lab's hosts: agents, the registry, the registry as a pull-through cache, containerd."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from ..processes import START_S, Usage, usage
from ..report import BenchError
from ..servers import stored_at
from .image import Image
from .network import Host

REGISTRY_PORT: Final = 5000
CLIENT_PORT: Final = 5000
UPSTREAM: Final = "upstream"

_REGISTRY: Final = """\
version: 0.1
log: {{ level: error, accesslog: {{ disabled: false }} }}
storage:
  cache: {{ blobdescriptor: inmemory }}
  filesystem: {{ rootdirectory: {store} }}
http: {{ addr: "{address}:{port}", secret: lab }}
{extra}
"""
_ACCESS: Final = re.compile(r'"(?P<method>GET|HEAD) \S*/(?P<kind>manifests|blobs)/\S* HTTP/[\d.]+" \d{3} (?P<size>\d+)')
_SUSPICION: Final = re.compile(r"event=MemberSuspected member=(\S+)")
_CONTAINERD: Final = """\
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = [
  "io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.internal.v1.restart",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "{folder}/c.sock"
"""


class Daemon:
    """A process on a host, from `with` on until its end.

    Args:
        host: where it runs.
        log: file for what it prints.
        command: runs it in the foreground.
    """

    def __init__(self, host: Host, log: Path, command: Sequence[str]) -> None:
        self.host = host
        self.log = log
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SKVALLER_")}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.host.command(*self._command),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=environment,
            )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End it without a word, as a crash would; nothing that it keeps outlives the run."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def usage(self) -> Usage | None:
        """What it and its children have used; None once it has ended."""
        return None if self._process is None else usage(self._process.pid)

    def until(self, condition: Callable[[], bool], what: str, within_s: float = START_S) -> None:
        """Wait for something that it gives no signal of.

        Raises:
            BenchError: it has ended, or is not so far in time.
        """
        deadline = time.monotonic() + within_s
        while not condition():
            if not self.running:
                lines = self.log.read_text(errors="replace").strip().splitlines()[-1:]
                raise BenchError(f"{self.log.stem} on {self.host.name} ended: {''.join(lines) or 'it said nothing'}")
            if time.monotonic() > deadline:
                raise BenchError(f"{self.log.stem} on {self.host.name} is not {what} after {within_s:g} s")
            time.sleep(0.05)


@dataclass(frozen=True, slots=True)
class Accesses:
    """What a registry was asked for, and what it sent.

    Args:
        manifest_gets: GET requests for manifests, whatever came of them.
        blob_gets: the same for blobs.
        heads: HEAD requests for either.
        sent_bytes: of all bodies, as far as they were sent.
    """

    manifest_gets: int
    blob_gets: int
    heads: int
    sent_bytes: int

    def __sub__(self, other: "Accesses") -> "Accesses":
        return Accesses(
            self.manifest_gets - other.manifest_gets,
            self.blob_gets - other.blob_gets,
            self.heads - other.heads,
            self.sent_bytes - other.sent_bytes,
        )


class Registry(Daemon):
    """A docker-registry.

    Args:
        host: where it runs, and listens for all others.
        folder: for its files.
        image: what it has.
        upstream: the registry of which it is a pull-through cache.
    """

    def __init__(self, host: Host, folder: Path, image: Image | None = None, upstream: Host | None = None) -> None:
        folder.mkdir()
        if image is not None:
            image.put(folder / "store")
        self._store = folder / "store"
        extra = f"proxy: {{ remoteurl: http://{upstream.address}:{REGISTRY_PORT} }}" if upstream else ""
        settings = folder / "config.yml"
        settings.write_text(
            _REGISTRY.format(store=folder / "store", address=host.address, port=REGISTRY_PORT, extra=extra)
        )
        super().__init__(host, folder / "registry.log", ["docker-registry", "serve", str(settings)])

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self.until(lambda: self.host.listens(self.host.address, REGISTRY_PORT), "listening")
        except BaseException:
            self.kill()
            raise
        return self

    def holds(self, image: Image) -> bool:
        """Whether it has all of an image."""
        return all(stored_at(self._store, content).exists() for content in (image.manifest, *image.blobs))

    def accesses(self) -> Accesses:
        """What its access log says so far."""
        found = [match for match in map(_ACCESS.search, self.log.read_text(errors="replace").splitlines()) if match]
        requests = Counter((match["method"], match["kind"]) for match in found)
        return Accesses(
            manifest_gets=requests["GET", "manifests"],
            blob_gets=requests["GET", "blobs"],
            heads=requests["HEAD", "manifests"] + requests["HEAD", "blobs"],
            sent_bytes=sum(int(match["size"]) for match in found if match["method"] == "GET"),
        )


class Agent(Daemon):
    """An agent of ours, empty at first.

    Args:
        host: where it runs.
        folder: for its data.
        seed: a host with another agent.
        upstream: the registry that it takes for docker.io.
    """

    def __init__(self, host: Host, folder: Path, seed: Host, upstream: Host) -> None:
        folder.mkdir(exist_ok=True)
        flags = ["--name", host.name, "--data-dir", str(folder / "agent"), "--cache-size", "20GiB"]
        flags += ["--listen", f"127.0.0.1:{CLIENT_PORT}", "--peer", "0.0.0.0:5001", "--gossip", "0.0.0.0:7946"]
        flags += ["--advertise", host.address, "--upstream", f"docker.io=http://{upstream.address}:{REGISTRY_PORT}"]
        flags += ["--join", seed.address] if seed != host else []
        command = [sys.executable, "-m", "mirror", "agent", *flags, "--log-level", "info"]
        super().__init__(host, folder / "agent.log", command)

    def sees(self) -> set[str]:
        """The names of all members that it sees alive, itself included; empty while it does not answer."""
        answer = self._ask("/api/v1/members") or {"members": []}
        return {row["name"] for row in answer["members"] if row["state"] == "alive"}

    def keys_of(self, name: str) -> int:
        """How many keys it knows a member to hold."""
        answer = self._ask("/api/v1/members") or {"members": []}
        return next((int(row["keys"]) for row in answer["members"] if row["name"] == name), 0)

    def sources(self) -> Mapping[str, int] | None:
        """Bytes that it has received, by source: a member's name or `upstream`; None if it does not answer."""
        answer = self._ask("/api/v1/fetches")
        if answer is None:
            return None
        total: Counter[str] = Counter()
        for record in answer["fetches"]:
            total.update(record["sources"])
        return total

    def metrics(self) -> Mapping[str, float]:
        """Its metrics, by name and labels as they are printed; empty if it does not answer."""
        try:
            lines = self.host.get(CLIENT_PORT, "/metrics").decode().splitlines()
        except OSError:
            return {}
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def suspicions_of(self, name: str) -> int:
        """How often it has suspected that member, by its log."""
        return _SUSPICION.findall(self.log.read_text(errors="replace")).count(name)

    def _ask(self, path: str) -> Any:
        if not self.running:
            return None
        with suppress(OSError):
            return json.loads(self.host.get(CLIENT_PORT, path))
        return None


class Containerd(Daemon):
    """A containerd that asks one address for everything of docker.io."""

    def __init__(self, host: Host, folder: Path, server: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.socket = folder / "c.sock"
        self.hosts_dir = folder / "hosts"
        self._content = folder / "root/io.containerd.content.v1.content"
        hosts = self.hosts_dir / "docker.io/hosts.toml"
        hosts.parent.mkdir(parents=True)
        hosts.write_text(
            f'server = "http://{server}"\n[host."http://{server}"]\n  capabilities = ["pull", "resolve"]\n'
        )
        settings = folder / "config.toml"
        settings.write_text(_CONTAINERD.format(folder=folder))
        super().__init__(host, folder / "containerd.log", ["containerd", "--config", str(settings)])

    def __enter__(self) -> Self:
        if len(f"{self.socket}.ttrpc") > 107:
            raise BenchError(f"{self.socket} is too long for a unix socket: use --folder")
        super().__enter__()
        try:
            self.until(self._answers, "answering")
        except BaseException:
            self.kill()
            raise
        return self

    def ctr(self, *words: str) -> list[str]:
        """A command for it."""
        return ["ctr", "--address", str(self.socket), *words]

    def content_bytes(self) -> int:
        """Bytes in its content store, those of unfinished blobs too."""
        files = [*self._content.glob("ingest/*/data"), *self._content.glob("blobs/sha256/*")]
        total = 0
        for file in files:
            with suppress(FileNotFoundError):
                total += file.stat().st_size
        return total

    def _answers(self) -> bool:
        command = self.ctr("--connect-timeout", "1s", "version")
        return self.socket.exists() and subprocess.run(command, capture_output=True, check=False).returncode == 0


def keep_logs(folder: Path, target: Path) -> None:
    """Copy all logs of a run before its folder goes."""
    for log in folder.glob("*/*.log"):
        kept = target / log.relative_to(folder)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(log, kept)
