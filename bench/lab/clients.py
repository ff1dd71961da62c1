"""The clients, one per host: they start, wait until they are told to pull, and are watched while they do."""

import json
import statistics
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from testbed.containerd import Containerd
from testbed.images import Image
from testbed.network import Host, Network, Traffic
from testbed.processes import WAIT_S, kill, spawn

from ..content import REPOSITORY
from ..report import BenchError

_LOOK_S: Final = 0.02
"""Pause between two looks at clients, seconds."""


@dataclass(frozen=True, slots=True)
class Pull:
    """How a pull went.

    Args:
        started_at: monotonic time at which the client was told to pull, seconds.
        finished_at: monotonic time at which it had everything, or gave up, seconds.
        received_bytes: of content.
        errors: what it complained about; none if all went well.
    """

    started_at: float
    finished_at: float
    received_bytes: int
    errors: Sequence[str]

    @property
    def seconds(self) -> float:
        """How long it took, seconds."""
        return self.finished_at - self.started_at


@dataclass(frozen=True, slots=True)
class Order:
    """What a client is to pull.

    Args:
        image: the image.
        address: HOST:PORT to ask.
        parallel: how many blobs at a time.
        stall_s: how long a client of ours waits for a byte, seconds.
    """

    image: Image
    address: str
    parallel: int
    stall_s: float

    @property
    def tag(self) -> str:
        """The image's tag."""
        return self.image.name.rpartition(":")[2]


class Client(ABC):
    """A client on a host, which runs inside of `with`, and pulls when `go` is called.

    Args:
        host: where.
        folder: for its files.
        order: what to pull.
    """

    def __init__(self, host: Host, folder: Path, order: Order) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.host = host
        self.order = order
        self.pull: Pull | None = None
        self._log = folder / "client.log"
        self._started_at = 0.0
        self._ready = threading.Event()
        self._ended = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = spawn(
                self._command(), netns=self.host.netns, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process is not None:
            kill(self._process)
            self._watcher.join()
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                with suppress(BrokenPipeError):
                    pipe.close()

    @property
    def started(self) -> bool:
        """Whether it has been started, and perhaps has ended."""
        return self._process is not None

    @property
    def ended(self) -> bool:
        """Whether it has ended, well or not."""
        return self._ended.is_set()

    @property
    @abstractmethod
    def progress_bytes(self) -> int:
        """How much it has received so far."""

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended, but not longer than this; return whether it has."""
        return self._ended.wait(max(0.0, seconds))

    def until_ready(self) -> None:
        """Wait until it would pull at once."""
        if not self._ready.wait(WAIT_S):
            raise BenchError(f"the client on {self.host.name} is not ready after {WAIT_S:g} s: {self._last_words()}")

    def go(self) -> None:
        """Tell it to pull."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._started_at = time.monotonic()
        with suppress(BrokenPipeError):
            self._process.stdin.write(b"go\n")
            self._process.stdin.flush()

    def give_up(self, after_s: float) -> None:
        """End a client that has taken too long, `after_s` seconds."""
        assert self._process is not None
        kill(self._process)
        self._ended.wait()
        self.pull = Pull(self._started_at, time.monotonic(), self.progress_bytes, [f"not ended after {after_s:.0f} s"])

    @abstractmethod
    def _command(self) -> Sequence[str]: ...

    @abstractmethod
    def _follow(self, output: IO[bytes]) -> None:
        """Read its output until it says, or its end tells, how the pull went, and set `pull`."""

    def _watch(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            self._follow(self._process.stdout)
        finally:
            if self.pull is None:
                self.pull = Pull(self._started_at, time.monotonic(), 0, [self._last_words()])
            self._ready.set()
            self._ended.set()

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it printed nothing"


class HttpClient(Client):
    """`bench.lab.puller`: what a runtime asks for, without keeping it."""

    def __init__(self, host: Host, folder: Path, order: Order) -> None:
        super().__init__(host, folder, order)
        self._received = 0

    @property
    def progress_bytes(self) -> int:
        """How much it has received so far."""
        return self._received

    def _command(self) -> Sequence[str]:
        order = self.order
        words = [order.address, REPOSITORY, order.tag, "--parallel", str(order.parallel), "--stall", str(order.stall_s)]
        return [sys.executable, "-m", "bench.lab.puller", *words]

    def _follow(self, output: IO[bytes]) -> None:
        for line in output:
            message = json.loads(line)
            if message["event"] == "ready":
                self._ready.set()
                continue
            self._received = message["bytes"]
            if message["event"] == "finished":
                errors = message["errors"]
                if not errors and self._received != self.order.image.total:
                    errors = [f"{self._received} bytes instead of {self.order.image.total}"]
                self.pull = Pull(message["started_at"], message["finished_at"], self._received, errors)
                return


class CtrClient(Client):
    """`ctr images pull` into the containerd of the host; its time includes the start of `ctr`, and unpacking.

    Args:
        host: where.
        folder: for its files.
        order: what to pull; the containerd says how many blobs at a time.
        containerd: the host's.
        hosts_dir: says whom `ctr` asks, instead of the order's address.
    """

    def __init__(self, host: Host, folder: Path, order: Order, containerd: Containerd, hosts_dir: Path) -> None:
        super().__init__(host, folder, order)
        self._containerd = containerd
        self._hosts_dir = hosts_dir

    @property
    def progress_bytes(self) -> int:
        """How much it has received so far."""
        return self._containerd.content_bytes()

    def _command(self) -> Sequence[str]:
        name = f"docker.io/{REPOSITORY}:{self.order.tag}"
        pull = self._containerd.pull_command(name, self._hosts_dir)
        return ["sh", "-c", 'echo ready && read -r word && exec "$@" >&2', "sh", *pull]

    def _follow(self, output: IO[bytes]) -> None:
        assert self._process is not None
        if output.readline():
            self._ready.set()
        output.read()
        status = self._process.wait()
        errors = [f"status {status}: {self._last_words()}"] if status else []
        self.pull = Pull(self._started_at, time.monotonic(), self.progress_bytes, errors)


@dataclass(slots=True)
class Crowd:
    """All clients of a run, and how long one is waited for.

    Args:
        clients: one per host.
        network: counts what comes to the hosts.
        limit_s: a client that takes longer is given up, seconds.
    """

    clients: Sequence[Client]
    network: Network
    limit_s: float
    _before: Mapping[str, Traffic] = field(default_factory=dict, init=False)
    """What the interface of each host had carried when clients were last told to pull."""

    def of(self, name: str) -> Client:
        """The one on a host."""
        return next(client for client in self.clients if client.host.name == name)

    def go(self, clients: Sequence[Client]) -> None:
        """Let some of them pull."""
        self._before = self.network.traffic()
        for client in clients:
            client.go()

    def until_half(self, clients: Sequence[Client]) -> None:
        """Wait until half of the image has come to the host in the middle. A client may get whole layers alone."""
        half = clients[0].order.image.total / 2
        deadline = time.monotonic() + self.limit_s
        while time.monotonic() < deadline and not all(client.ended for client in clients):
            if statistics.median(self.came(clients)) >= half:
                return
            time.sleep(_LOOK_S)

    def came(self, clients: Sequence[Client]) -> Sequence[int]:
        """What has come to the hosts of some of them since clients were last told to pull, bytes, the least first."""
        now = self.network.traffic()
        return sorted((now[name] - self._before[name]).received for name in (client.host.name for client in clients))

    def ended_within(self, clients: Sequence[Client], seconds: float) -> bool:
        """Wait for some time, or until they have ended; return whether they have."""
        deadline = time.monotonic() + seconds
        return all(client.wait(deadline - time.monotonic()) for client in clients)

    def until_ended(self, clients: Sequence[Client]) -> None:
        """Wait until they have ended; give up those that do not."""
        if not self.ended_within(clients, self.limit_s):
            for client in clients:
                if not client.ended:
                    client.give_up(self.limit_s)
