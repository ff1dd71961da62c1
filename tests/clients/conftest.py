"""Real parts for tests: containerd with ctr, docker-registry, skopeo, agents, and images made on the spot.

Every daemon runs in a folder of the test's own, optionally inside a network namespace, and is stopped by its pid at the
test's end, or by the kernel should the test process itself be killed. Nothing of the machine's own containerd is used.
"""

import asyncio
import ctypes
import gzip
import hashlib
import itertools
import json
import os
import platform
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

WAIT_S = 20.0
CHUNK_BYTES = 1024 * 1024
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = WAIT_S) -> None:
    """Wait for something outside this process that gives no signal of its own."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout_s:g} s in vain for {what}")
        time.sleep(0.02)


def in_namespace(netns: str | None, command: Sequence[str]) -> list[str]:
    """The same command, run inside a named network namespace."""
    return [*(["ip", "netns", "exec", netns] if netns else []), *command]


def run(command: Sequence[str], *, netns: str | None = None, timeout_s: float = 120) -> str:
    """Run a tool to its end and return its output; fail with what it said."""
    full = in_namespace(netns, command)
    done = subprocess.run(full, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(command)}: status {done.returncode}: {done.stderr.decode(errors='replace')[-2000:]}")
    return done.stdout.decode()


def need(*tools: str) -> None:
    """Skip the test, and say why, where a tool or the right to use it is missing."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("needs root")


@dataclass
class Daemon:
    """A process in the background, with its output in a file."""

    command: Sequence[str]
    log: Path
    netns: str | None = None
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        # The kernel ends it too when the test process is killed. `ip netns exec` and setpriv keep the pid.
        command = ["setpriv", "--pdeathsig", "KILL", *in_namespace(self.netns, self.command)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int | None:
        """End it in order; harmless if it has ended. Returns its exit status."""
        return self._end(signal.SIGTERM)

    def wait(self) -> int:
        """Wait until it has ended by itself; return its exit status."""
        assert self._process is not None
        return self._process.wait(WAIT_S)

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _end(self, number: signal.Signals) -> int | None:
        if self._process is None:
            return None
        process, self._process = self._process, None
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
        try:
            return process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait(10)


# Images ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Image:
    """An image as an OCI layout on disk.

    Args:
        layout: the layout's folder; skopeo reads it as `oci:<layout>`.
        manifest: digest of the only manifest.
        config: digest of its configuration.
        layers: digests, in order.
        name: what `ctr images import` will call it.
    """

    layout: Path
    manifest: str
    config: str
    layers: tuple[str, ...]
    name: str

    @property
    def digests(self) -> tuple[str, ...]:
        return (self.manifest, self.config, *self.layers)

    def read(self, digest: str) -> bytes:
        """One blob's bytes."""
        return self._blob(digest).read_bytes()

    def size(self, digest: str) -> int:
        return self._blob(digest).stat().st_size

    @property
    def total(self) -> int:
        """Bytes of everything, manifest included."""
        return sum(map(self.size, self.digests))

    def archive(self) -> Path:
        """The layout as one tar file beside it, for `ctr images import`; made at the first call."""
        path = self.layout.with_suffix(".tar")
        if not path.exists():
            with tarfile.open(path, "w") as tar:
                for item in ("oci-layout", "index.json", "blobs"):
                    tar.add(self.layout / item, arcname=item)
        return path

    def _blob(self, digest: str) -> Path:
        return self.layout / "blobs" / "sha256" / digest.removeprefix("sha256:")


def build_image(folder: Path, name: str, layer_sizes: Sequence[int], *, seed: int = 0, compress: bool = False) -> Image:
    """Make an image whose layers hold one file of random bytes each.

    Args:
        folder: where its layout goes, in a new subfolder.
        name: e.g. `docker.io/library/made:1`.
        layer_sizes: bytes in each layer's file; 300 MB take about two seconds.
        seed: the same seed and sizes give the same digests.
        compress: gzip the layers, as most images are; for small ones, since random bytes do not shrink.
    """
    layout = folder / f"layout-{len(list(folder.glob('layout-*.oci')))}.oci"
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    chance = random.Random(seed)
    layers = [_write_layer(blobs, index, size, chance, compress=compress) for index, size in enumerate(layer_sizes)]
    config = _write_json(
        blobs,
        CONFIG_TYPE,
        {
            "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {"Labels": {"seed": str(seed)}},
            "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]},
        },
    )
    descriptors = [layer for layer, _ in layers]
    content = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": descriptors}
    manifest = _write_json(blobs, MANIFEST_TYPE, content)
    tag = name.rpartition(":")[2]
    manifest["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag}
    index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [manifest]}
    (layout / "index.json").write_text(json.dumps(index))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    digests = tuple(str(descriptor["digest"]) for descriptor in descriptors)
    return Image(layout, str(manifest["digest"]), str(config["digest"]), digests, name)


def _write_json(blobs: Path, media_type: str, content: object) -> dict[str, object]:
    body = json.dumps(content).encode()
    digest = hashlib.sha256(body).hexdigest()
    (blobs / digest).write_bytes(body)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(body)}


def _write_layer(
    blobs: Path, index: int, size: int, chance: random.Random, *, compress: bool
) -> tuple[dict[str, object], str]:
    """Write a layer of one file; return its descriptor, and the digest of the tar inside."""
    tar = blobs / f"layer-{index}"
    entry = tarfile.TarInfo(f"random-{index}")
    entry.size = size
    with tar.open("wb") as file:
        file.write(entry.tobuf())
        for start in range(0, size, CHUNK_BYTES):
            file.write(chance.randbytes(min(CHUNK_BYTES, size - start)))
        file.write(bytes(-size % 512 + 1024))
    diff_id = _sha256(tar)
    if compress:
        with (
            tar.open("rb") as plain,
            (blobs / "packed").open("wb") as file,
            gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as packed,
        ):
            shutil.copyfileobj(plain, packed, CHUNK_BYTES)
        (blobs / "packed").replace(tar)
    digest = _sha256(tar) if compress else diff_id
    path = tar.rename(blobs / digest)
    descriptor: dict[str, object] = {
        "mediaType": LAYER_TYPE + ("+gzip" if compress else ""),
        "digest": f"sha256:{digest}",
        "size": path.stat().st_size,
    }
    return descriptor, f"sha256:{diff_id}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# containerd --------------------------------------------------------------------------------------------------------


@dataclass
class Containerd:
    """A containerd of the test's own: its root, state and socket are in one folder, without Kubernetes' plugin."""

    folder: Path
    netns: str | None = None
    daemon: Daemon = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        assert len(f"{self.socket}.ttrpc") < 108, f"too long for a unix socket: {self.socket}"
        config = self.folder / "config.toml"
        config.write_text(
            f"""version = 2
root = "{self.folder}/root"
state = "{self.folder}/state"
disabled_plugins = [
  "io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.internal.v1.restart",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "{self.socket}"
"""
        )
        self.daemon = Daemon(["containerd", "--config", str(config)], self.folder / "containerd.log", self.netns)

    @property
    def socket(self) -> Path:
        return self.folder / "c.sock"

    @property
    def content_root(self) -> Path:
        return self.folder / "root" / "io.containerd.content.v1.content"

    def blob_path(self, digest: str) -> Path:
        return self.content_root / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def start(self) -> None:
        """Start it, or start it again; return when it answers."""
        self.daemon.start()
        wait_until(self._answers, f"containerd in {self.folder}")

    def kill(self) -> None:
        """End it as a crash would; `start` brings it back with what it had on disk."""
        self.daemon.kill()

    def ctr(self, *arguments: str, namespace: str = "k8s.io", timeout_s: float = 120) -> str:
        """Run `ctr` against it."""
        command = ["ctr", "--address", str(self.socket), "--namespace", namespace, *arguments]
        return run(command, netns=self.netns, timeout_s=timeout_s)

    def import_image(self, image: Image, *, namespace: str = "k8s.io") -> None:
        """Put an image into its content store, without unpacking it."""
        self.ctr("images", "import", "--no-unpack", str(image.archive()), namespace=namespace)

    def tag_image(self, source: str, target: str, *, namespace: str = "k8s.io") -> None:
        self.ctr("images", "tag", "--force", source, target, namespace=namespace)

    def remove_images(self, *names: str, namespace: str = "k8s.io") -> None:
        """Remove names, and what only they held, before returning."""
        self.ctr("images", "rm", "--sync", *names, namespace=namespace)

    def _answers(self) -> bool:
        if not self.daemon.running():
            pytest.fail(f"containerd ended: {self.daemon.log.read_text(errors='replace')[-2000:]}")
        command = ["ctr", "--address", str(self.socket), "--connect-timeout", "1s", "version"]
        return self.socket.exists() and subprocess.run(command, capture_output=True, check=False).returncode == 0


# Registry ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Access:
    """One line of a registry's access log."""

    method: str
    path: str
    status: int
    size: int


_ACCESS = re.compile(r'"(?P<method>[A-Z]+) (?P<path>\S+) HTTP/[\d.]+" (?P<status>\d{3}) (?P<size>\d+)')


@dataclass
class Registry:
    """Debian's docker-registry over a folder.

    Args:
        folder: for its files, configuration and log.
        address: `host:port` that it listens on.
        netns: the network namespace that it runs in.
    """

    folder: Path
    address: str
    netns: str | None = None
    daemon: Daemon = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "config.yml"
        config.write_text(
            f"""version: 0.1
log: {{level: error, accesslog: {{disabled: false}}}}
storage:
  filesystem: {{rootdirectory: {self.folder}/storage}}
  delete: {{enabled: true}}
http: {{addr: "{self.address}"}}
"""
        )
        self.daemon = Daemon(["docker-registry", "serve", str(config)], self.folder / "registry.log", self.netns)

    def start(self) -> None:
        """Start it, or start it again; return when it listens."""
        self.daemon.start()
        host, _, port = self.address.rpartition(":")
        listening = ["ss", "-Hltn", "src", f"{host}:{port}"]
        wait_until(lambda: bool(run(listening, netns=self.netns).strip()), f"docker-registry at {self.address}")

    def stop(self) -> None:
        self.daemon.stop()

    def push(self, image: Image, repository: str, tag: str) -> None:
        """Put an image in with skopeo, its manifest byte for byte."""
        source_tag = image.name.rpartition(":")[2]
        run(
            [
                *("skopeo", "--insecure-policy", "copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false"),
                f"oci:{image.layout}:{source_tag}",
                f"docker://{self.address}/{repository}:{tag}",
            ],
            netns=self.netns,
        )

    def accesses(self, method: str = "GET", containing: str = "") -> list[Access]:
        """Read the access log: requests by that method whose path contains a text, in order."""
        found = (_ACCESS.search(line) for line in self.daemon.log.read_text(errors="replace").splitlines())
        accesses = (Access(m["method"], m["path"], int(m["status"]), int(m["size"])) for m in found if m)
        return [access for access in accesses if access.method == method and containing in access.path]

    def served(self, *digests: str, least: int | None = None) -> int:
        """Bytes that it has sent of some contents, in however many requests.

        Args:
            digests: of the contents.
            least: wait until it is so many: a request enters the log only after its last byte has gone.
        """

        def count() -> int:
            return sum(access.size for digest in digests for access in self.accesses("GET", digest))

        if least is not None:
            wait_until(lambda: count() >= least, f"{least} bytes in the registry's log")
        return count()

    def forget_accesses(self) -> None:
        """Begin the access log anew, e.g. after pushing."""
        os.truncate(self.daemon.log, 0)


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on at the moment."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


# Agents ------------------------------------------------------------------------------------------------------------


def get(url: str, netns: str | None = None) -> bytes:
    """GET from this machine, or from inside a network namespace."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def work() -> bytes:
        if netns is not None:
            enter(netns)
        with direct.open(url, timeout=10) as answer:
            return bytes(answer.read())

    with ThreadPoolExecutor(1) as thread:  # a namespace is a property of the thread, which ends with this call
        return thread.submit(work).result()


def enter(netns: str) -> None:
    """Move the calling thread into a network namespace, for good."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{netns}") as namespace:
        if libc.setns(namespace.fileno(), 0):
            raise OSError(ctypes.get_errno(), f"setns {netns}")


def skvaller(*arguments: str, **environment: str) -> list[str]:
    """The `skvaller` command of the project under test, with these variables, and no setting from those outside."""
    unset = [word for name in os.environ if name.startswith("SKVALLER_") for word in ("-u", name)]
    variables = [f"{name}={value}" for name, value in environment.items()]
    return ["env", *unset, *variables, sys.executable, "-m", "mirror", *arguments]


@dataclass
class Agent:
    """A `skvaller agent` as a process.

    Args:
        folder: for its data and log.
        name: in the cluster.
        host: IP address of its peer and gossip endpoints.
        listen: host of its client endpoint.
        flags: more of them.
        netns: the network namespace that it runs in.
        odd: what is odd about it, as in `odd_agent.py`; empty for an ordinary one.
    """

    folder: Path
    name: str
    host: str
    listen: str
    flags: Sequence[str] = ()
    netns: str | None = None
    odd: str = ""
    daemon: Daemon = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        addresses = ["--listen", f"{self.listen}:5000", "--peer", f"{self.host}:5001", "--gossip", self.gossip]
        command = skvaller("agent", "--name", self.name, "--data-dir", str(self.folder), *addresses, *self.flags)
        if self.odd:
            at = command.index("-m")
            command[at : at + 2] = [str(Path(__file__).with_name("odd_agent.py")), self.odd]
        self.daemon = Daemon(command, self.folder / "agent.log", self.netns)

    @property
    def url(self) -> str:
        return f"http://{self.listen}:5000"

    @property
    def gossip(self) -> str:
        return f"{self.host}:7946"

    @property
    def log(self) -> str:
        return self.daemon.log.read_text(errors="replace")

    def start(self) -> None:
        """Start it, or start it again; return when it is ready."""
        self.daemon.start()
        wait_until(self._ready, f"agent {self.name}")

    def get(self, path: str) -> bytes:
        return get(self.url + path, self.netns)

    def ask(self, path: str) -> Any:
        """What it answers on a status endpoint."""
        return json.loads(self.get(path))

    def states(self) -> dict[str, str]:
        """The state of every member it knows."""
        return {row["name"]: row["state"] for row in self.ask("/api/v1/members")["members"]}

    def homes(self) -> set[str]:
        """The members that it sees serve as homes of a settled cluster."""
        return {row["name"] for row in self.ask("/api/v1/members")["members"] if row["home"] == "yes"}

    def fetch(self, digest: str) -> dict[str, Any]:
        """Its record of the last fetch of some content; empty if it never fetched any."""
        fetches = self.ask("/api/v1/fetches")["fetches"]
        return next((dict(row) for row in fetches if row["digest"] == digest), {})

    def sources(self, digest: str) -> dict[str, int]:
        """Bytes by source of the last fetch of some content, so far; empty if it never fetched any."""
        return dict(self.fetch(digest).get("sources", {}))

    def metric(self, name: str) -> float:
        """The value of a metric without labels."""
        lines = (line.split() for line in self.get("/metrics").decode().splitlines())
        return next(float(words[1]) for words in lines if words[0] == name)

    def until_found(self, what: str, *holders: str) -> None:
        """Wait until it finds these members, and perhaps others, as holders of a digest or image name."""
        wait_until(lambda: set(holders) <= self._holders(what), f"{self.name} to find {what} on {', '.join(holders)}")

    def until_received(self, digest: str, source: str, count: int) -> None:
        """Wait until it has got so many bytes of some content from a member or upstream."""
        wait_until(
            lambda: self.sources(digest).get(source, 0) >= count, f"{self.name} to get {count} bytes from {source}"
        )

    def until_state(self, member: str, state: str) -> None:
        """Wait until it sees a member in a state."""
        wait_until(lambda: self.states().get(member) == state, f"{self.name} to see {member} {state}")

    def _holders(self, what: str) -> set[str]:
        found = self.ask(f"/api/v1/find?q={quote(what)}")
        has = {row["member"] for rows in found["holders"].values() for row in rows if row["has"]}
        return has & {row["member"] for row in found["tags"]} if "tags" in found else has

    def _ready(self) -> bool:
        if not self.daemon.running():
            pytest.fail(f"agent {self.name} ended: {self.log[-2000:]}")
        try:
            return self.get("/readyz") == b"ready\n"
        except (urllib.error.URLError, ConnectionError):
            return False


# What a store reports -----------------------------------------------------------------------------------------------


class Recorder:
    """A store's listener: the keys that can be served now, and a way to wait until they are as expected."""

    def __init__(self) -> None:
        self.keys: set[bytes] = set()
        self.twice: list[bytes] = []
        self._changed = asyncio.Event()

    def appeared(self, keys: Collection[bytes]) -> None:
        self.twice.extend(self.keys.intersection(keys))
        self.keys.update(keys)
        self._changed.set()

    def vanished(self, keys: Collection[bytes]) -> None:
        self.twice.extend(set(keys) - self.keys)
        self.keys.difference_update(keys)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for reports until the condition holds; look now and then besides, for a moved tag is not reported."""
        async with asyncio.timeout(WAIT_S):
            while not condition():
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await self._changed.wait()
                self._changed.clear()


@pytest.fixture
def recorder() -> Recorder:
    """A listener for a store."""
    return Recorder()


# Fixtures ----------------------------------------------------------------------------------------------------------


def _remove(folder: Path) -> None:
    """Remove a daemon's folder, with what it left mounted inside."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in reversed([mount for mount in mounts if mount.startswith(f"{folder}/")]):
        subprocess.run(["umount", "--lazy", mount], check=False)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def make_image(tmp_path: Path) -> Iterator[Callable[..., Image]]:
    """`build_image` in a folder that goes at the end: `make_image(name, layer_sizes, seed=…, compress=…)`."""
    folder = tmp_path / "images"
    folder.mkdir()
    seeds = itertools.count()

    def make(name: str, layer_sizes: Sequence[int], *, seed: int | None = None, compress: bool = False) -> Image:
        return build_image(folder, name, layer_sizes, seed=next(seeds) if seed is None else seed, compress=compress)

    yield make
    shutil.rmtree(folder)


@pytest.fixture
def start_containerd(tmp_path: Path) -> Iterator[Callable[..., Containerd]]:
    """Start a containerd: `start_containerd(name="c", netns=None)`; stopped and removed at the end."""
    need("containerd", "ctr", "setpriv")
    with ExitStack() as stack:

        def start(name: str = "c", netns: str | None = None) -> Containerd:
            containerd = Containerd(tmp_path / name, netns)
            stack.callback(_remove, containerd.folder)
            stack.callback(containerd.daemon.stop)
            containerd.start()
            return containerd

        yield start


@pytest.fixture
def start_registry(tmp_path: Path) -> Iterator[Callable[..., Registry]]:
    """Start a docker-registry: `start_registry(address=None, name="r", netns=None)`; stopped and removed at the end."""
    need("docker-registry", "skopeo", "setpriv", "ss")
    with ExitStack() as stack:

        def start(address: str | None = None, name: str = "r", netns: str | None = None) -> Registry:
            registry = Registry(tmp_path / name, address or f"127.0.0.1:{free_port()}", netns)
            stack.callback(_remove, registry.folder)
            stack.callback(registry.stop)
            registry.start()
            return registry

        yield start


@pytest.fixture
def loopback() -> Callable[[], str]:
    """Give an address of 127.0.0.0/8 that nobody else uses, with all its ports: unlike for these, there is no race."""
    pid, count = os.getpid(), itertools.count(1)
    return lambda: f"127.{pid // 250 % 250 + 1}.{pid % 250 + 1}.{next(count)}"


@pytest.fixture
def start_agent(tmp_path: Path) -> Iterator[Callable[..., Agent]]:
    """Start an agent: `start_agent(name, host, *flags, listen=host, netns=None, odd="")`; removed at the end."""
    if shutil.which("setpriv") is None:
        pytest.skip("not installed: setpriv")
    with ExitStack() as stack:

        def start(
            name: str,
            host: str,
            *flags: str,
            listen: str | None = None,
            netns: str | None = None,
            odd: str = "",
        ) -> Agent:
            agent = Agent(tmp_path / f"agent-{name}", name, host, listen or host, flags, netns, odd)
            stack.callback(_remove, agent.folder)
            stack.callback(agent.daemon.kill)
            agent.start()
            return agent

        yield start
