"""Whether runtimes ask the agent: each is told to pull a probe, and the agent says whether a request for it came.

A probe is a name on Docker Hub that nobody has. The pull is ended as soon as the agent has seen it, so it asks nobody
else, and it fails in any case, so the runtime keeps nothing.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlencode

from ..oci.reference import DOCKER_HUB
from ..runtimes import sockets
from .facts import Sighting
from .machine import unix_way

_PROBE_S: Final = 15.0
"""Bounds a probe, s: a runtime under load takes a second to begin, and who waits has no patience for more."""
_LOOK_S: Final = 0.1
"""Time between two looks whether the agent has seen it, s."""
_STOP_S: Final = 2.0
"""Time that a program has to end by itself when it is told to, s."""
_OUTPUT_MAX: Final = 300
"""Bounds what is shown of what a program says, in characters."""


class NotRun(Exception):
    """A probe could not be run; the message says why."""


class NotThere(NotRun):
    """The runtime does not run, or this way to it is not there."""


class Pull(Protocol):
    """A pull that is under way."""

    def ended(self) -> str | None:
        """What it said when it ended; None while it goes on."""
        ...

    def stop(self) -> None:
        """End it."""
        ...


@dataclass(frozen=True, slots=True)
class Way:
    """One way to have a runtime pull.

    Args:
        how: it is done, for people: `CRI at /run/…`, `podman pull`.
        begin: begins to pull an image by its name; raises NotRun.
    """

    how: str
    begin: Callable[[str], Pull]


@dataclass(frozen=True, slots=True)
class ProbeFacts:
    """What came of a probe.

    Args:
        how: the runtime was told to pull; empty if it could not be.
        problem: why it could not be; empty if it was.
        is_there: whether the runtime runs, as far as that can be told.
        sightings: what the agent saw.
        said: by the runtime, where the agent saw nothing.
    """

    how: str
    problem: str = ""
    is_there: bool = True
    sightings: Sequence[Sighting] = ()
    said: str = ""


@dataclass(frozen=True, slots=True)
class RuntimeFacts:
    """A runtime of this machine.

    Args:
        name: of the runtime.
        version: as its files tell; empty if they do not.
        asks: whether it asks the agent by its files; None if nobody can say.
        problem: why not.
        notes: what else its files show.
        restart: the command that makes it read its files again; empty if it reads them at each pull.
        probe: what came of it; None where none was tried.
    """

    name: str
    version: str
    asks: bool | None
    problem: str
    notes: Sequence[str]
    restart: str
    probe: ProbeFacts | None


class ProbedAgent(Protocol):
    """The agent that recognises probes."""

    def announce(self) -> str:
        """The name of a new probe with its tag, without a registry."""
        ...

    def sightings(self, name: str) -> Sequence[Sighting]:
        """The requests for it that came so far."""
        ...


def probe(ways: Sequence[Way], agent: ProbedAgent) -> ProbeFacts:
    """Have a runtime pull a probe, by the first of these ways that can be gone."""
    problems, is_there = [], False
    for way in ways:
        name = agent.announce()
        try:
            pull = way.begin(f"{DOCKER_HUB}/{name}")
        except NotRun as error:
            problems.append(f"{way.how}: {error}")
            is_there = is_there or not isinstance(error, NotThere)
            continue
        try:
            said, seen = _watched(pull, name, agent)
        finally:
            pull.stop()
        if not seen and (is_unable := _is_unable(said)):
            problems.append(f"{way.how}: {is_unable}")
            is_there = True
            continue
        return ProbeFacts(way.how, sightings=seen, said=_end_of(said))
    return ProbeFacts("", "; ".join(problems) or "nothing is known that has it pull", is_there)


def _watched(pull: Pull, name: str, agent: ProbedAgent) -> tuple[str, Sequence[Sighting]]:
    """What a pull said, and what the agent saw of it, until either is known."""
    until = time.monotonic() + _PROBE_S
    while time.monotonic() < until:
        said = pull.ended()
        if seen := agent.sightings(name):
            return "", seen
        if said is not None:
            return said, ()
        time.sleep(_LOOK_S)
    return f"it has not ended within {_PROBE_S:g} s", ()


def _is_unable(said: str) -> str:
    """Why a pull did not begin at all, if that is what a runtime says; else nothing."""
    for words in ("unimplemented", "UNIMPLEMENTED", "unknown service", "Cannot connect", "permission denied"):
        if words in said:
            return _end_of(said)
    return ""


def _end_of(said: str) -> str:
    """The end of what a program says, where the reason is."""
    return said if len(said) <= _OUTPUT_MAX else f"…{said[-_OUTPUT_MAX:]}"


# Programs


class _Program:
    """A program that pulls.

    Args:
        command: with its arguments.
    """

    def __init__(self, command: Sequence[str]) -> None:
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise NotRun(error.strerror or str(error)) from None

    def ended(self) -> str | None:
        """See `Pull`. What it prints fits into the pipe, for a pull that fails prints some lines."""
        if self._process.poll() is None:
            return None
        assert self._process.stdout is not None
        return self._process.stdout.read().decode(errors="replace").strip()

    def stop(self) -> None:
        """See `Pull`."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def program(name: str, *arguments: str, prefix: str = "") -> Way:
    """A way by a program.

    Args:
        name: of the program.
        arguments: before the image's name.
        prefix: of the image's name.
    """

    def begin(image: str) -> Pull:
        path = shutil.which(name)
        if path is None:
            raise NotThere("there is no such program")
        return _Program([path, *arguments, prefix + image])

    return Way(f"{name} {' '.join(it for it in arguments if not it.startswith('-'))}", begin)


def ctr(path: str, certs: str) -> Way:
    """A way by containerd's own client, for a containerd without CRI.

    Args:
        path: of its socket.
        certs: the folder with what it knows of hosts, which this client does not find by itself.
    """
    way = program("ctr", "--address", path, "images", "pull", "--hosts-dir", certs)

    def begin(image: str) -> Pull:
        _need_socket(path)
        return way.begin(image)

    return Way("ctr images pull", begin)


def _need_socket(path: str) -> None:
    way = unix_way(path)
    if not way.is_open:
        raise (NotRun if "denied" in way.problem else NotThere)(way.problem)


# CRI


def cri(path: str) -> Way:
    """A way by the CRI of a runtime's socket."""

    def begin(image: str) -> Pull:
        _need_socket(path)
        try:
            from .cri import CriPull
        except ModuleNotFoundError:
            raise NotRun("it takes the extra containerd: pip install 'skvaller[containerd]'") from None
        try:
            return CriPull(path, image, _PROBE_S)
        except OSError as error:
            raise NotRun(error.strerror or str(error)) from None

    return Way(f"CRI at {path}", begin)


# Docker's API


class _DockerPull:
    """A pull by Docker's API. Source: Docker Engine API, ImageCreate.

    Args:
        path: of its socket.
        image: its name.
    """

    def __init__(self, path: str, image: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_PROBE_S)
        try:
            self._socket.connect(path)
            name, _, tag = image.rpartition(":")
            query = urlencode({"fromImage": name, "tag": tag})
            request = f"POST /images/create?{query} HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\n\r\n"
            self._socket.sendall(request.encode())
        except OSError as error:
            self._socket.close()
            raise NotRun(error.strerror or str(error)) from None
        self._socket.setblocking(False)
        self._said = b""

    def ended(self) -> str | None:
        """See `Pull`: its answer comes in chunks, and ends with an empty one."""
        with contextlib.suppress(BlockingIOError, OSError):
            self._said += self._socket.recv(65536)
        if not self._said.endswith(b"\r\n0\r\n\r\n") and b'"message"' not in self._said:
            return None
        return self._said.partition(b"\r\n\r\n")[2].decode(errors="replace").strip()

    def stop(self) -> None:
        """See `Pull`: Docker ends a pull whose client leaves."""
        self._socket.close()


def docker(path: str) -> Way:
    """A way by Docker's API."""

    def begin(image: str) -> Pull:
        _need_socket(path)
        return _DockerPull(path, image)

    return Way(f"Docker's API at {path}", begin)


def ways_of(runtime: str, root: Path, certs: str = "/etc/containerd/certs.d") -> Sequence[Way]:
    """The ways to have a runtime pull, best first.

    Args:
        runtime: its name, as `mirror.runtimes` has it.
        root: stands for `/` where its socket is.
        certs: containerd's folder of hosts, for `ctr`, which does not read where that is.
    """

    def at(path: str) -> str:
        return str(root / path.removeprefix("/"))

    of: Mapping[str, Sequence[Way]] = {
        "containerd": (cri(at(sockets.PLAIN)), ctr(at(sockets.PLAIN), certs)),
        "k3s": (cri(at(sockets.K3S)),),
        "rke2": (cri(at(sockets.K3S)),),
        "k0s": (cri(at(sockets.K0S)),),
        "microk8s": (cri(at(sockets.MICROK8S)),),
        "podman": (
            cri(at("/run/crio/crio.sock")),
            program("podman", "pull", "--quiet"),
            program("skopeo", "inspect", "--raw", prefix="docker://"),
        ),
        "docker": (docker(at("/run/docker.sock")),),
        "buildkit": (
            program("buildctl", "build", "--frontend=gateway.v0", "--opt", prefix="source="),
        ),
    }  # fmt: skip
    return of.get(runtime, ())
