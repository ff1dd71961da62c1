"""What an agent tells of itself, its members and its registries when it is examined: values without judgement.

They travel as JSON from the agent to the command. `problem` is always a line of text that says what went wrong, and is
empty where nothing did.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from ..sources import Looked


class Datagram(enum.StrEnum):
    """Kinds of datagrams that try the way between two nodes. A full one is as large as any that gossip sends."""

    SMALL = "small"
    """Is small, and asks for a small one."""
    FULL = "full"
    """Is full, and asks for a small one."""
    WANT_FULL = "want-full"
    """Is small, and asks for a full one."""
    SMALL_CAME = "small-came"
    """Is small, and answers a small one, or the question to reach back."""
    FULL_CAME = "full-came"
    """Is small, and answers a full one."""
    FULL_BACK = "full-back"
    """Is full, and was asked for."""


ASKING = (Datagram.SMALL, Datagram.FULL, Datagram.WANT_FULL)
"""Kinds that want an answer."""


@dataclass(frozen=True, slots=True)
class Way:
    """One try to reach something.

    Args:
        seconds: that it took; None if it failed.
        problem: why it failed.
    """

    seconds: float | None = None
    problem: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it was reached."""
        return not self.problem


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system of a folder.

    Args:
        folder: which.
        free_bytes: that this process may still write.
        total_bytes: of the file system.
        free_inodes: files that may still be made; None where the file system does not count them.
        is_read_only: whether it is mounted so.
        problem: why nothing is known of it, or why the folder cannot be written to.
    """

    folder: str
    free_bytes: int = 0
    total_bytes: int = 0
    free_inodes: int | None = None
    is_read_only: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Descriptors:
    """How many files and sockets a process may have open, and how many it has."""

    allowed: int
    used: int


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """An agent, as it knows itself.

    Args:
        name: of the node.
        version: of the program.
        host: under which the others reach it.
        peer_port: TCP.
        gossip_port: UDP and TCP.
        addresses: IP addresses of its machine, without loopback.
        listen: where it serves clients.
        is_ready: whether it serves.
        alone: what was tried, while it looks for others and reaches none; else nothing.
        seeds: where it was told to look for others.
        received: datagrams of gossip that came, since the start.
        candidates: nodes that were heard of, and have yet to answer over UDP before they are members.
        namesake: the address of another node that claimed this node's name; empty if none did.
        has_key: whether the cluster has a key.
        key_file: its path.
        disk: of the data folder.
        cache_limit_bytes: bound of the cache; 0: it keeps nothing on the disk.
        cache_bytes: that it has now.
        keeps_nothing: why the cache keeps nothing; empty if it does.
        descriptors: of the process.
        containerd: the address of a containerd whose content it shares; empty: none.
        containerd_way: whether that socket takes a connection; None without one.
    """

    name: str
    version: str
    host: str
    peer_port: int
    gossip_port: int
    addresses: Sequence[str]
    listen: Sequence[str]
    is_ready: bool
    alone: str
    seeds: Sequence[str]
    received: int
    candidates: int
    namesake: str
    has_key: bool
    key_file: str
    disk: Disk
    cache_limit_bytes: int
    cache_bytes: int
    keeps_nothing: str
    descriptors: Descriptors
    containerd: str
    containerd_way: Way | None


@dataclass(frozen=True, slots=True)
class Back:
    """What a member found when it was asked to reach this node back.

    Args:
        name: of the member.
        version: of its program.
        unix_s: its clock when the question came, Unix time, s.
        knows_at: the host under which it knows this node.
        seen_from: the IP address from which the question came to it.
        peer: its question to this node's peer port.
        gossip: its connection to this node's gossip port.
        heard: kinds of this node's datagrams that came there; see `Datagram`.
    """

    name: str
    version: str
    unix_s: float
    knows_at: str
    seen_from: str
    peer: Way
    gossip: Way
    heard: Sequence[str]


@dataclass(frozen=True, slots=True)
class MemberFacts:
    """What lies between this node and one other.

    Args:
        name: of the other.
        state: as gossip sees it: alive, suspect, dead.
        host: where it is.
        peer_port: TCP.
        gossip_port: UDP and TCP.
        peer: this node's connection to its peer port.
        gossip: this node's connection to its gossip port.
        came: kinds of its datagrams that came here; see `Datagram`.
        ahead_s: how far its clock is ahead of this node's, s; None if it did not tell.
        back: what it found in the other direction; None if it did not say.
        problem: why it did not.
    """

    name: str
    state: str
    host: str
    peer_port: int
    gossip_port: int
    peer: Way
    gossip: Way
    came: Sequence[str]
    ahead_s: float | None
    back: Back | None
    problem: str


@dataclass(frozen=True, slots=True)
class BudgetFacts:
    """What a registry still lets this node or its members ask, of one address or account."""

    source: str
    remaining: int | None
    limit: int | None
    wait_s: float


@dataclass(frozen=True, slots=True)
class UpstreamFacts:
    """A registry.

    Args:
        registry: its canonical name.
        is_named: whether the operator's settings name it.
        is_offline: whether it is never to be asked; then it was not.
        urls: in the operator's order.
        budgets: as far as they are known.
    """

    registry: str
    is_named: bool
    is_offline: bool
    urls: Sequence[Looked]
    budgets: Sequence[BudgetFacts]


@dataclass(frozen=True, slots=True)
class Sighting:
    """A request of a probe that reached the agent.

    Args:
        method: of HTTP.
        client: the IP address from which it came; empty for a Unix socket.
        agent: what the client calls itself (User-Agent).
        registry: which registry it said that it means; empty if it named none.
        after_s: time since the probe was announced, s.
    """

    method: str
    client: str
    agent: str
    registry: str
    after_s: float
