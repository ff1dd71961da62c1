"""Nodes on a simulated network, and the faults that befall them.

A run is a function of its seed, the same under every PYTHONHASHSEED. After every step the node that moved is held
against the invariants. `trace` tells the story in lines for people; `digest` is a hash over every datagram sent.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ..core.config import GossipConfig
from ..core.directory.replicas import Replica
from ..core.errors import WireError
from ..core.events import (
    Answered,
    BroadcastReceived,
    Event,
    FilterChanged,
    KeysChanged,
    MemberFailed,
    MessageReceived,
    NameConflict,
    Paused,
    Refuted,
    Rejected,
    StateReceived,
)
from ..core.membership.member import Address, Member, State
from ..core.messages import KeyAction
from ..core.node import Node
from ..core.packets.keyring import KEY_BYTES, Keyring, key_id
from ..core.packets.seal import Seal
from ..core.streams.exchange import Exchange
from .invariants import Checker, Observation
from .network import ARRIVAL, CALM, TIMER, Network, Weather

_EPOCH_MS = 1_700_000_000_000


@dataclass(slots=True, eq=False)
class Host:
    """A machine: its node, if it runs, and what it holds, which survives restarts."""

    name: str
    address: Address
    node: Node | None = None
    run: int = 0
    paused_until: float = 0.0
    timer_at: float | None = None
    epoch: int = 0
    clock_ahead_s: float = 0.0
    keys: dict[bytes, None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Talk:
    """A stream: its two ends, the one that dialled first, and when it is cut, s."""

    ends: tuple[tuple[Host, Node, Exchange], tuple[Host, Node, Exchange]]
    until: float


class Cluster:
    """A cluster under test.

    Args:
        seed: of all chance.
        config: of all nodes.
        weather: of the network.
        keys: with which packets are sealed.
        checked: whether every step is held against the invariants; without that large clusters run many times faster.

    `failures` has (observer, member) for each member that was declared dead; `listener` is told of each datagram sent.
    """

    def __init__(
        self,
        seed: int,
        config: GossipConfig,
        weather: Weather = CALM,
        keys: tuple[bytes, ...] = (),
        *,
        checked: bool = True,
    ) -> None:
        self.rng = random.Random(seed)
        self.config = config
        self.network = Network(random.Random(self.rng.getrandbits(64)), weather)
        self.checker = Checker()
        self.hosts: dict[str, Host] = {}
        self.trace: list[str] = []
        self.happened: Counter[str] = Counter()
        self.failures: list[tuple[str, str]] = []
        self.listener: Callable[[Host, Address, bytes], None] | None = None
        self._keys = keys
        self._using_new = False
        self._checked = checked
        self._at: dict[Address, Host] = {}
        self._addresses = 0
        self._datagrams = hashlib.blake2b(digest_size=16)
        self._hidden: dict[str, int] = {}
        self._filters: dict[tuple[str, str], tuple[tuple[int, int, int], bytes]] = {}

    @property
    def digest(self) -> str:
        """A hash over every datagram so far, in order."""
        return self._datagrams.hexdigest()

    @property
    def running(self) -> list[Host]:
        """Hosts whose node runs and has not said goodbye."""
        return [
            host for host in self.hosts.values() if host.node is not None and host.node.view.me.state is State.ALIVE
        ]

    @property
    def nodes(self) -> list[Node]:
        """The nodes of those hosts."""
        return [host.node for host in self.running if host.node is not None]

    # What befalls nodes

    def start(self, name: str, seeds: Iterable[str] = ()) -> Host:
        """Start a node, or start it again; it remembers its keys."""
        host = self.hosts.get(name)
        if host is None:
            host = self.hosts[name] = Host(name, self._new_address())
            self._at[host.address] = host
        host.run += 1
        now = self.network.now
        rng = random.Random(self.rng.getrandbits(64))
        ring = Keyring(self._keys[::-1] if self._using_new else self._keys)
        seal = Seal(self.config.label, ring, self.config.protocol, rng.randbytes)
        host.epoch = _EPOCH_MS + int((now + host.clock_ahead_s) * 1000) + host.run
        me = Member(name, host.address, host.epoch, 0, State.ALIVE, b"", changed_at=now)
        host.node = Node(self.config, me, seal, rng, now)
        host.paused_until = 0.0
        host.timer_at = None
        self._say(host, f"starts run={host.run}")
        self.checker.introduced.add(name)
        host.node.join([self.hosts[seed].address for seed in seeds], now)
        host.node.advertise(host.keys, now)
        self._after(host)
        return host

    def rejoin(self, name: str, seeds: Iterable[str]) -> None:
        """Give a running node other addresses to try."""
        host = self.hosts[name]
        assert host.node is not None
        host.node.join([self.hosts[seed].address for seed in seeds], self.network.now)
        self._after(host)

    def crash(self, name: str) -> None:
        """Stop a node without a word."""
        host = self.hosts[name]
        host.node = None
        self._say(host, "crashes")

    def leave(self, name: str) -> None:
        """Let a node say goodbye; it stops when that was heard, or after 3 s."""
        host = self.hosts[name]
        if host.node is None:
            return
        self._say(host, "leaves")
        self.checker.left(host.node.view.me)
        host.node.leave(self.network.now)
        self._after(host)
        node, give_up_at = host.node, self.network.now + 3.0

        def linger() -> None:
            if host.node is not node:
                return
            if node.view.farewell_confirmed or self.network.now >= give_up_at:
                host.node = None
                self._say(host, "is gone")
            else:
                self.network.at(self.network.now + 0.2, TIMER, linger)

        self.network.at(self.network.now + 0.2, TIMER, linger)

    def pause(self, name: str, duration_s: float) -> None:
        """Let a node's process stand still; what arrives waits in its socket."""
        host = self.hosts[name]
        host.paused_until = self.network.now + duration_s
        self._say(host, f"pauses {duration_s:.1f} s")

    def split(self, groups: Iterable[Iterable[str]]) -> None:
        """Cut the network between groups, in both directions."""
        named = [list(group) for group in groups]
        sides = [[self.hosts[name].address for name in group] for group in named]
        for one in sides:
            for other in sides:
                if one is not other:
                    for source in one:
                        for target in other:
                            self.network.cut(source, target)
        self.remark("splits: " + " | ".join(" ".join(group) for group in named))

    def cut(self, source: str, target: str) -> None:
        """Cut the network from one host to another, in this one direction."""
        self.network.cut(self.hosts[source].address, self.hosts[target].address)
        self.remark(f"cut from {source} to {target}")

    def mend(self) -> None:
        """End all cuts."""
        self.network.mend()
        self.remark("mended")

    def advertise(self, name: str, keys: Iterable[bytes]) -> None:
        """Let a node hold keys."""
        host = self.hosts[name]
        assert host.node is not None
        fresh = list(keys)
        host.keys.update(dict.fromkeys(fresh))
        host.node.advertise(fresh, self.network.now)
        self._after(host)

    def withdraw(self, name: str, keys: Iterable[bytes]) -> None:
        """Let a node hold keys no longer."""
        host = self.hosts[name]
        assert host.node is not None
        gone = list(keys)
        for key in gone:
            host.keys.pop(key, None)
        host.node.withdraw(gone, self.network.now)
        self._after(host)

    def move(self, name: str) -> None:
        """Give a host another address, where its node will run the next time."""
        host = self.hosts[name]
        del self._at[host.address]
        host.address = self._new_address()
        self._at[host.address] = host
        self._say(host, f"moves to {host.address}")

    def broadcast(self, name: str, payload: bytes) -> None:
        """Let a node's application send something to all."""
        host = self.hosts[name]
        assert host.node is not None
        host.node.messaging.broadcast(payload, self.network.now)
        self._after(host)

    def rotate_keys(self) -> bool:
        """Do the next step of changing the keys on all hosts: install a new one, use it, remove the old one."""
        if not self._keys:
            return False
        old, *new = self._keys
        if not new:
            action, argument = KeyAction.INSTALL, self.rng.randbytes(KEY_BYTES)
            self._keys = (old, argument)
        elif not self._using_new:
            action, argument = KeyAction.USE, key_id(new[0])
            self._using_new = True
        else:
            action, argument = KeyAction.REMOVE, key_id(old)
            self._keys, self._using_new = (new[0],), False
        for host in self.hosts.values():
            if host.node is not None:
                host.node.keys.change(action, argument)
        self.remark(f"keys: {action.name.lower()}")
        return True

    def update(self, name: str, metadata: bytes) -> None:
        """Let a node change its metadata."""
        host = self.hosts[name]
        assert host.node is not None
        host.node.update(metadata, self.network.now)
        self._after(host)

    def inject(self, name: str, payload: bytes, source: Address) -> None:
        """Let a datagram from anywhere arrive at a node."""
        host = self.hosts[name]
        if host.node is not None:
            host.node.receive(payload, source, self.network.now)
            self._after(host)

    # Time

    def run(self, duration_s: float) -> None:
        """Let time pass."""
        until = self.network.now + duration_s
        while self.network.step(until):
            pass

    def run_until(self, condition: Callable[[], bool], within_s: float, every_s: float = 0.01) -> float | None:
        """Let time pass until a condition holds. Returns how long that took, s; None if it never did."""
        begun = self.network.now
        while self.network.now - begun <= within_s:
            if condition():
                return self.network.now - begun
            self.run(every_s)
        return None

    def converged(self) -> bool:
        """Whether all running nodes agree on each other, on who is gone, and on all filters."""
        nodes = self.nodes
        names = {node.view.name for node in nodes}
        for node in nodes:
            alive = {member.name for member in node.view.members() if member.state is State.ALIVE}
            if alive != names - {node.view.name} or any(
                member.state is State.SUSPECT for member in node.view.members()
            ):
                return False
        return len({node.view.fingerprint for node in nodes}) <= 1

    def separated(self) -> list[tuple[str, str]]:
        """(observer, other) for each running node that does not believe in another one: never met, dead, or gone."""
        return [
            (observer.view.name, other.view.name)
            for observer in self.nodes
            for other in self.nodes
            if observer is not other
            if (member := observer.view.member(other.view.name)) is None or not member.live
        ]

    def stale_filters(self) -> list[tuple[str, str]]:
        """(observer, holder) for each running node whose copy of a running node's filter is not that node's own."""
        return [
            (observer.view.name, holder.view.name)
            for observer in self.nodes
            for holder in self.nodes
            if observer is not holder and not _same(observer.view.replica(holder.view.name), holder.view.published)
        ]

    def missing_keys(self) -> list[tuple[str, str, bytes]]:
        """(observer, holder, key) for each key that a running node does not see at a running holder."""
        return [
            (observer.view.name, holder.name, key)
            for observer in self.nodes
            for holder in self.running
            if observer.view.name != holder.name and not observer.view.is_left_out(holder.name, self.network.now)
            for key in holder.keys
            if holder.name not in {member.name for member in observer.view.holders(key)}
        ]

    # Carrying

    def _after(self, host: Host) -> None:
        """Do for a node what its driver would do after any call, and check it."""
        node = host.node
        if node is None:
            return
        for datagram in node.datagrams():
            self._send(host, datagram.payload, datagram.destination)
        for exchange in node.dials():
            self._dial(host, node, exchange)
        for event in node.events():
            self._note(host, event)
        if node.view.me.epoch != host.epoch:
            host.epoch = node.view.me.epoch
            self.happened["epoch raised"] += 1
            self._say(host, f"goes on as epoch={host.epoch}")
        if self._checked:
            self.checker.check(self._observe(host, node))
        self._arm(host, node)

    def _note(self, host: Host, event: Event) -> None:
        self.happened[type(event).__name__] += 1
        match event:
            case FilterChanged():
                self.happened["new generation"] += event.generation > 0
            case Rejected():
                self.happened[f"rejected: {event.reason}"] += 1
            case Answered():
                pass
            case _:
                self._say(host, _line(event))
        if isinstance(event, MemberFailed):
            self.failures.append((host.name, event.member.name))

    def _send(self, host: Host, payload: bytes, destination: Address) -> None:
        self.checker.sends(host.name, len(payload), self.config.datagram_max_bytes)
        self._datagrams.update(payload)
        self.happened["datagrams"] += 1
        self.happened["bytes"] += len(payload)
        source = host.address
        if self.listener is not None:
            self.listener(host, destination, payload)
        self.network.datagram(source, destination, lambda: self._deliver(destination, payload, source))

    def _deliver(self, destination: Address, payload: bytes, source: Address) -> None:
        host = self._at.get(destination)
        if host is not None and host.node is not None:
            self._receive(host, host.node, payload, source)

    def _receive(self, host: Host, node: Node, payload: bytes, source: Address) -> None:
        """Hand a datagram over; what waits in the socket of a process that stands still dies with it."""
        if host.node is not node:
            return
        if not self._stands_still(host, ARRIVAL, lambda: self._receive(host, node, payload, source)):
            node.receive(payload, source, self.network.now)
            self._after(host)

    def _arm(self, host: Host, node: Node) -> None:
        deadline = node.next_deadline()
        if deadline != host.timer_at:
            host.timer_at = deadline
            if deadline is not None:
                self.network.at(deadline, TIMER, lambda: self._tick(host, node, deadline))

    def _tick(self, host: Host, node: Node, deadline: float) -> None:
        if host.node is not node or host.timer_at != deadline:
            return
        if self._stands_still(host, TIMER, lambda: self._tick(host, node, deadline)):
            return
        self.checker.ticks(host.name, self.network.now)
        host.timer_at = None
        node.tick(self.network.now)
        self._after(host)

    def _stands_still(self, host: Host, kind: int, again: Callable[[], None]) -> bool:
        if host.paused_until <= self.network.now:
            return False
        self.network.at(host.paused_until, kind, again)
        return True

    # Streams

    def _dial(self, host: Host, node: Node, exchange: Exchange) -> None:
        target = self._at.get(exchange.remote)
        remote = target.node if target is not None else None
        if target is None or remote is None or not self.network.connected(host.address, exchange.remote):
            delay_s = self.network.delay() if target is not None and remote is None else self.config.stream_timeout_s
            self.network.at(self.network.now + delay_s, ARRIVAL, lambda: self._hang_up(host, node, exchange, None))
            return
        self.happened["streams"] += 1
        if exchange.purpose is not None:
            self.happened[f"stream: {exchange.purpose.value}"] += 1
        answer = remote.answer(host.address)
        until = self.network.now + self.config.stream_timeout_s
        talk = _Talk(((host, node, exchange), (target, remote, answer)), until)
        self.network.at(self.network.now + self.network.turn_delay(), ARRIVAL, lambda: self._turn(talk, 1))

    def _turn(self, talk: _Talk, speaker: int) -> None:
        """Carry one turn of a conversation over."""
        host, node, exchange = talk.ends[speaker]
        other, other_node, other_exchange = talk.ends[1 - speaker]
        go_on_at = min(max(host.paused_until, other.paused_until), talk.until)
        if self.network.now < go_on_at:
            self.network.at(go_on_at, ARRIVAL, lambda: self._turn(talk, speaker))
            return
        whole = host.node is node and other.node is other_node and self.network.now < talk.until
        error: WireError | None = None
        if whole and self.network.connected(host.address, other.address):
            try:
                for frame in exchange.frames():
                    self.happened["stream bytes"] += len(frame)
                    other_exchange.feed(frame, self.network.now)
            except WireError as failure:
                error = failure
            self._after(host)
            self._after(other)
            if error is None and other_exchange.my_turn:
                next_at = self.network.now + self.network.turn_delay()
                self.network.at(next_at, ARRIVAL, lambda: self._turn(talk, 1 - speaker))
                return
        for end_host, end_node, end_exchange in talk.ends:
            self._hang_up(end_host, end_node, end_exchange, error)

    def _hang_up(self, host: Host, node: Node, exchange: Exchange, error: WireError | None) -> None:
        if host.node is node:
            node.hang_up(exchange, self.network.now, error)
            self._after(host)

    # Watching

    def _new_address(self) -> Address:
        self._addresses += 1
        return Address(f"10.{self._addresses >> 16}.{self._addresses >> 8 & 255}.{self._addresses & 255}", 7946)

    def _observe(self, host: Host, node: Node) -> Observation:
        members = tuple(node.view.members())
        filters = {}
        for member in members:
            replica = node.view.replica(member.name)
            assert replica is not None
            filters[member.name] = self._hashed(host.name, member.name, replica.version, replica.filter.bits)
        own = node.view.published
        known = self._filters.get((host.name, host.name))
        if known is None or known[0] != own.version:
            shown = sum(key in own.filter for key in host.keys)
            self._hidden[host.name] = len(host.keys) - shown - node.view.unpublished
        return Observation(
            me=node.view.me,
            run=host.run,
            members=members,
            filters=filters,
            filter=self._hashed(host.name, host.name, own.version, own.filter.bits),
            hidden=self._hidden[host.name],
            waiting=node.view.waiting,
            next_deadline=node.next_deadline(),
            now=self.network.now,
        )

    def _hashed(
        self, observer: str, name: str, version: tuple[int, int, int], bits: bytearray
    ) -> tuple[tuple[int, int, int], bytes]:
        known = self._filters.get((observer, name))
        if known is None or known[0] != version:
            known = (version, hashlib.blake2b(bits, digest_size=8).digest())
            self._filters[observer, name] = known
        return known

    def remark(self, what: str) -> None:
        """Note in the trace what concerns no single node."""
        self.trace.append(f"{self.network.now:9.3f} -- {what}")

    def _say(self, host: Host, what: str) -> None:
        self.trace.append(f"{self.network.now:9.3f} {host.name} {what}")


def _same(copy: Replica | None, original: Replica) -> bool:
    return copy is not None and copy.version == original.version and copy.filter.bits == original.filter.bits


def _line(event: Event) -> str:
    """An event as people read it in a trace."""
    match event:
        case Paused() | Refuted() | NameConflict() | FilterChanged() | Rejected():
            return str(event)
        case MessageReceived() | BroadcastReceived() | StateReceived():
            return f"{type(event).__name__} from {event.sender}, {len(event.payload)} bytes"
        case KeysChanged():
            return f"KeysChanged {' '.join(identity.hex() for identity in event.ids)}"
        case _:
            member = event.member
            return f"{type(event).__name__} {member.name} epoch={member.epoch} incarnation={member.incarnation}"


def keys_of(seed: int, first: int, count: int) -> list[bytes]:
    """Some keys of 32 bytes."""
    return [hashlib.sha256(f"{seed}/{first + i}".encode()).digest() for i in range(count)]
