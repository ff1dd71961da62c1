"""Why an agent does not start: its settings are read, and what it needs is tried, without a start."""

import errno
import fcntl
import os
import pwd
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from ..addresses import Address, ListenAddress, UnixAddress
from ..config import AgentConfig, parse_address
from ..errors import ConfigError
from ..runtimes import sockets
from ..runtimes.host import Host
from . import last_words
from .facts import Disk, Way
from .holders import Holder, holder_of
from .machine import disk_of, unix_way

GOSSIP_PORT: Final = 7946
"""Of a node to join through, where the setting names none."""
_SEED_S: Final = 3.0
"""Bounds a connection to a node to join through, s: a lost packet's first retransmission comes after 1 s."""


@dataclass(frozen=True, slots=True)
class PortFacts:
    """An address that the agent wants to listen on.

    Args:
        setting: that names it.
        address: as it is written.
        protocol: tcp, udp or unix.
        problem: why nobody can listen there; empty if somebody can.
        holder: who listens there.
    """

    setting: str
    address: str
    protocol: Literal["tcp", "udp", "unix"]
    problem: str = ""
    holder: Holder | None = None


@dataclass(frozen=True, slots=True)
class SeedFacts:
    """A node to join through.

    Args:
        place: its host and port.
        is_resolved: whether its name has an address.
        way: whether its gossip port takes a connection.
    """

    place: str
    is_resolved: bool
    way: Way


@dataclass(frozen=True, slots=True)
class FolderFacts:
    """The agent's data folder.

    Args:
        path: of it.
        owner: the name of the user who has it; empty if it is not there.
        runs_as: the name of the user that the agent runs as.
        problem: why it cannot write there.
        is_locked: whether an agent uses it.
        disk: its file system.
    """

    path: str
    owner: str
    runs_as: str
    problem: str
    is_locked: bool
    disk: Disk


@dataclass(frozen=True, slots=True)
class StartFacts:
    """What an agent needs to start.

    Args:
        ports: where it wants to listen.
        folder: for its data.
        containerd: the setting; empty if it names none.
        containerd_way: whether that socket takes a connection.
        sockets: of containerd that there are.
        seeds: nodes to join through.
        ended: how long ago the last one ended against its will, s, and why.
        refusal: why an agent refuses these settings; empty if it does not.
        key_file: the setting; empty if there is none.
    """

    ports: list[PortFacts]
    folder: FolderFacts
    containerd: str
    containerd_way: Way | None
    sockets: list[str]
    seeds: list[SeedFacts]
    ended: tuple[float, str] | None
    refusal: str
    key_file: str = ""


def start_facts(
    config: AgentConfig, root: Path, refuses: Callable[[AgentConfig], None], runs_as: str = ""
) -> StartFacts:
    """Try what an agent with these settings needs; takes seconds where a node to join through does not answer.

    Args:
        config: the settings.
        root: stands for `/` where sockets of containerd are looked for.
        refuses: raises ConfigError if an agent refuses the settings.
        runs_as: the name of the user that the agent runs as; empty: the one that looks.
    """
    refusal = ""
    try:
        refuses(config)
    except ConfigError as error:
        refusal = str(error)
    path = (config.containerd or "").removeprefix("unix://").removeprefix("unix:")
    return StartFacts(
        list(ports_of(config)),
        _folder(config.data_dir, runs_as or _user(os.geteuid())),
        path,
        unix_way(path) if path.startswith("/") else None,
        sockets.there(Host(root)),
        [seed_facts(it) for it in config.first_nodes],
        last_words.read(config.data_dir, time.time()),
        refusal,
        str(config.key_file or ""),
    )


def ports_of(config: AgentConfig) -> Iterator[PortFacts]:
    """Each address that these settings want to listen on, tried."""
    wanted: list[tuple[str, ListenAddress]] = [("listen", it) for it in config.listen]
    wanted += [("listen-for", it.address) for it in config.listen_for]
    wanted += [("listen-api", config.listen_api)] if config.listen_api is not None else []
    wanted += [("metrics", config.metrics)] if config.metrics is not None else []
    setting, discovery = config.discovery
    wanted += [("peer", config.peer), (setting, discovery)]
    for name, address in wanted:
        if isinstance(address, UnixAddress):
            yield _unix_port(name, address)
        else:
            yield _port(name, address, "tcp")
    yield _port(setting, discovery, "udp")


def _unix_port(setting: str, address: UnixAddress) -> PortFacts:
    if unix_way(address.path).is_open:
        return PortFacts(setting, str(address), "unix", os.strerror(errno.EADDRINUSE))
    folder = Path(address.path).parent
    problem = "" if os.access(folder, os.W_OK) else f"{folder} is not there, or cannot be written to"
    return PortFacts(setting, str(address), "unix", problem)


def _port(setting: str, address: Address, protocol: Literal["tcp", "udp"]) -> PortFacts:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    try:
        with socket.socket(family, kind) as trial:
            if protocol == "tcp":
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((address.host, address.port))
            if protocol == "tcp":
                trial.listen(1)
    except OSError as error:
        holder = holder_of(address.port, protocol) if error.errno == errno.EADDRINUSE else None
        return PortFacts(setting, str(address), protocol, error.strerror or str(error), holder)
    return PortFacts(setting, str(address), protocol)


def _folder(folder: Path, runs_as: str) -> FolderFacts:
    disk = disk_of(folder)
    owner, problem, is_locked = "", disk.problem, False
    try:
        owner = _user(folder.stat().st_uid)
        is_locked = _is_locked(folder / "lock")
    except FileNotFoundError:
        pass
    except OSError as error:
        problem = f"{folder}: {error.strerror}"
    if owner and not folder.is_dir():
        problem = f"{folder} is no folder"
    return FolderFacts(str(folder), owner, runs_as, problem, is_locked, disk)


def _is_locked(file: Path) -> bool:
    """Whether a process holds the lock of a folder. It is taken and given back, if nobody does."""
    try:
        lock = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)  # the folder is another user's
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def seed_facts(seed: str) -> SeedFacts:
    """Whether a node to join through has an address, and takes a connection over TCP."""
    has_port = seed.count(":") == 1 or "]:" in seed
    place = parse_address(seed) if has_port else Address(seed.strip("[]"), GOSSIP_PORT)
    try:
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return SeedFacts(str(place), False, Way(None, getattr(error, "strerror", None) or str(error)))
    problem = "no address"
    for family, kind, protocol, _, address in found[:2]:
        try:
            with socket.socket(family, kind, protocol) as there:
                there.settimeout(_SEED_S)
                there.connect(address)
                return SeedFacts(str(place), True, Way(0.0))
        except TimeoutError:
            problem = f"no answer within {_SEED_S:g} s"
        except OSError as error:
            problem = error.strerror or str(error)
    return SeedFacts(str(place), True, Way(None, problem))
