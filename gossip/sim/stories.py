"""Short stories of a cluster: what its nodes say to each other and decide, for people to read.

In a story the network is the same each time; only the nodes draw random numbers. It shows what messages mean, not their
bytes; only the messages that matter in it; and a rumour only when a node sends it for the first time. So the format on
the wire may change, and the story stays.
"""

import re
from collections.abc import Callable
from typing import Final

from ..core.config import fast
from ..core.membership.member import Address
from ..core.messages import (
    Alive,
    Dead,
    Entries,
    Left,
    Message,
    Nack,
    Ops,
    Ping,
    ProbeRequest,
    Pull,
    Suspect,
)
from ..core.packets.codec import DATAGRAM_INFLATED_MAX_BYTES, decode_packet
from ..core.packets.keyring import Keyring
from ..core.packets.seal import Seal
from .cluster import Cluster
from .faults import cut, mend, split
from .host import Host
from .keys import keys_of
from .network import Delay, Weather
from .steps import formed

_STEADY: Final = Weather(delay_s=0.0005, jitter_s=0.0, delay=Delay.CONSTANT)
_EPOCH: Final = re.compile(r" epoch=\d+")


class _Stage:
    """A cluster of some nodes that agree, and whose talk is written down from now on."""

    def __init__(self, size: int, *shown: type[Message]) -> None:
        config = fast(label="story")
        self.cluster = Cluster(1, config, _STEADY)
        self._shown = shown
        self._written: set[tuple[str, str]] = set()
        self._seal = Seal(config.label, Keyring(), config.protocol, lambda count: bytes(count))
        formed(self.cluster, size)
        self.cluster.run(5.0)
        self.cluster.journal.listener = self._overhear
        self.cluster.journal.trace.clear()
        self._started_at = round(self.cluster.clock.now, 3)

    def text(self) -> str:
        """What happened, with times since the beginning."""
        lines = []
        for line in self.cluster.journal.trace:
            at, _, what = line.strip().partition(" ")
            lines.append(f"{abs(float(at) - self._started_at):7.3f} {_EPOCH.sub('', what)}\n")
        return "".join(lines)

    def _overhear(self, host: Host, destination: Address, payload: bytes) -> None:
        packet = decode_packet(self._seal.unwrap(payload).packet, DATAGRAM_INFLATED_MAX_BYTES)
        lost = "   (lost)" if self.cluster.network.is_cut(host.address, destination) else ""
        other = next(host.name for host in self.cluster.hosts.values() if host.address == destination)
        for message in packet.messages:
            meaning = _meaning(message)
            if not isinstance(message, self._shown) or (host.name, meaning) in self._written:
                continue
            if isinstance(message, Alive | Suspect | Dead | Left):
                self._written.add((host.name, meaning))
                self._write(f"{host.name} begins to tell: {meaning}")
            else:
                self._write(f"{host.name} -> {other}: {meaning}{lost}")

    def _write(self, what: str) -> None:
        self.cluster.journal.trace.append(f"{self.cluster.clock.now:9.3f} {what}")


def _meaning(message: Message) -> str:
    match message:
        case Ping() | ProbeRequest():
            return f"{type(message).__name__} {message.target}"
        case Alive() | Left():
            return f"{type(message).__name__} {message.name} incarnation={message.incarnation}"
        case Suspect() | Dead():
            return f"{type(message).__name__} {message.name} incarnation={message.incarnation}, says {message.accuser}"
        case Ops():
            return f"Ops of {message.name}, keys {message.start + 1} to {message.end}"
        case Entries():
            return "Entries " + " ".join(f"{entry.name}@{entry.sequence}" for entry in message.entries)
        case Pull():
            return "Pull " + " ".join(f"{entry.name} after {entry.sequence}" for entry in message.entries)
        case _:
            return type(message).__name__


def join() -> str:
    """A third node starts, knowing the address of the first; who hears of another believes in it when it answers."""
    stage = _Stage(2, Alive)
    stage.cluster.start("n2", ["n0"])
    stage.cluster.run(0.3)
    return stage.text()


def death() -> str:
    """A node is killed. Its probe fails, others fail to reach it, and when nobody refutes, all hold it for dead."""
    stage = _Stage(4, ProbeRequest, Nack, Suspect, Dead)
    stage.cluster.crash("n3")
    stage.cluster.run(4.0)
    return stage.text()


def refuted() -> str:
    """A node stands still for 1.2 s and is suspected; awake again it says that it is alive."""
    stage = _Stage(4, Suspect, Alive, Dead)
    stage.cluster.pause("n3", 1.2)
    stage.cluster.run(1.6)
    return stage.text()


def partition() -> str:
    """The network falls apart for a minute; both sides hold the other for dead, until one tries an address."""
    stage = _Stage(4)
    split(stage.cluster, [["n0", "n1"], ["n2", "n3"]])
    stage.cluster.run(60.0)
    mend(stage.cluster)
    stage.cluster.run(15.0)
    return stage.text()


def key() -> str:
    """A node adds a key, and no word of it reaches one of the others: that one learns of it by a fingerprint."""
    stage = _Stage(3, Ops, Entries, Pull)
    cut(stage.cluster, "n0", "n2")
    cut(stage.cluster, "n1", "n2")
    stage.cluster.advertise("n0", keys_of(1, 0, 1))
    stage.cluster.run(0.04)
    mend(stage.cluster)
    stage.cluster.run(2.0)
    return stage.text()


def leave() -> str:
    """A node says goodbye to all, who confirm it, and stops."""
    stage = _Stage(3, Left)
    stage.cluster.leave("n2")
    stage.cluster.run(1.0)
    return stage.text()


STORIES: Final[tuple[Callable[[], str], ...]] = (join, death, refuted, partition, key, leave)
