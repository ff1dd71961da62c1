"""A cluster of the library's own nodes on a simulated network, and what happens to its hosts.

A run is a function of its seed, the same under every PYTHONHASHSEED. After every step the node that moved is held
against the invariants.
"""

import random
from collections.abc import Callable, Iterable

from ..core.config import GossipConfig
from ..core.membership.member import Member, State
from ..core.node import Node
from ..core.packets.seal import Seal
from .clock import TIMER, Clock
from .driver import Driver
from .host import Addresses, Host
from .invariants import Checker
from .journal import Journal
from .keys import ClusterKeys
from .network import CALM, Network, Weather
from .observing import Observer
from .simulation import Simulation

_EPOCH_MS = 1_700_000_000_000
"""The true time at the start of a run, Unix time in milliseconds: epochs are times of starts."""

_GOODBYE_S = 3.0
"""How long a node that leaves may wait for others to confirm it, seconds; then its process ends."""

_GOODBYE_LOOK_S = 0.2
"""Pause between two looks at whether others have confirmed it, seconds."""


class Cluster:
    """A cluster under test.

    Args:
        seed: of all chance.
        config: of all nodes.
        weather: of the network.
        keys: with which packets are sealed.
        checked: whether every step is held against the invariants; without that large clusters run many times faster.
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
        self.clock = Clock()
        self.network = Network(self.clock, random.Random(self.rng.getrandbits(64)), weather)
        self.journal = Journal(self.clock)
        self.hosts: dict[str, Host] = {}
        self._keys = ClusterKeys(keys)
        self._addresses = Addresses()
        self._checker = Checker()
        simulation = Simulation(config, self.clock, self.network, self._addresses, self.journal)
        self._driver = Driver(simulation, self._checker, Observer() if checked else None)

    @property
    def running(self) -> list[Host]:
        """Hosts whose node runs and has not said goodbye."""
        up = (host for host in self.hosts.values() if host.node is not None)
        return [host for host in up if host.node is not None and host.node.view.me.state is State.ALIVE]

    @property
    def nodes(self) -> list[Node]:
        """The nodes of those hosts."""
        return [host.node for host in self.running if host.node is not None]

    def run(self, duration_s: float) -> None:
        """Let time pass."""
        self.clock.run(duration_s)

    # Processes

    def start(self, name: str, seeds: Iterable[str] = ()) -> Host:
        """Start a node, or start it again; it remembers its keys."""
        host = self.hosts.get(name)
        if host is None:
            host = self.hosts[name] = self._addresses.new_host(name, name)
        host.run += 1
        now = self.clock.now
        rng = random.Random(self.rng.getrandbits(64))
        seal = Seal(
            self.config.label, self._keys.ring(), self.config.protocol, rng.randbytes, filters=self.config.filters
        )
        host.epoch = _EPOCH_MS + int((now + host.clock_ahead_s) * 1000) + host.run
        me = Member(host.node_name, host.address, host.epoch, 0, State.ALIVE, b"", changed_at=now)
        host.node = Node(self.config, me, seal, rng, now)
        host.paused_until = 0.0
        host.timer_at = None
        self.journal.say(host, f"starts run={host.run}")
        self._checker.introduced.add(name)
        host.node.join([self.hosts[seed].address for seed in seeds], now)
        host.node.advertise(host.keys, now)
        self._driver.after_input(host)
        return host

    def clone(self, name: str, of: str) -> Host:
        """Set up a machine from the image of another: its node will have the other's name."""
        host = self.hosts[name] = self._addresses.new_host(name, of)
        return host

    def crash(self, name: str) -> None:
        """End a node's process without warning."""
        host = self.hosts[name]
        host.node = None
        self.journal.say(host, "crashes")

    def leave(self, name: str) -> None:
        """Let a node say goodbye; its process ends when others have confirmed that, or after 3 s."""
        host = self.hosts[name]
        if host.node is None:
            return
        self.journal.say(host, "leaves")
        self._checker.left(host.node.view.me)
        host.node.leave(self.clock.now)
        self._driver.after_input(host)
        self._linger(host, host.node, self.clock.now + _GOODBYE_S)

    def _linger(self, host: Host, node: Node, give_up_at: float) -> None:
        """End the process of a node that leaves, as soon as it may end."""

        def look() -> None:
            if host.node is not node:
                return
            if node.view.farewell_confirmed or self.clock.now >= give_up_at:
                host.node = None
                self.journal.say(host, "is gone")
            else:
                self._linger(host, node, give_up_at)

        self.clock.at(self.clock.now + _GOODBYE_LOOK_S, TIMER, look)

    def pause(self, name: str, duration_s: float) -> None:
        """Let a node's process stand still; what arrives waits in its socket."""
        host = self.hosts[name]
        host.paused_until = self.clock.now + duration_s
        self.journal.say(host, f"pauses {duration_s:.1f} s")

    def move(self, name: str) -> None:
        """Give a host another address, where its node will run the next time."""
        host = self.hosts[name]
        self._addresses.move(host)
        self.journal.say(host, f"moves to {host.address}")

    # What applications and operators ask of running nodes

    def rejoin(self, name: str, seeds: Iterable[str]) -> None:
        """Give a node other addresses to try."""
        self._tell(name, lambda node, now: node.join([self.hosts[seed].address for seed in seeds], now))

    def advertise(self, name: str, keys: Iterable[bytes]) -> None:
        """Let a node hold keys."""
        fresh = list(keys)
        self.hosts[name].keys.update(dict.fromkeys(fresh))
        self._tell(name, lambda node, now: node.advertise(fresh, now))

    def withdraw(self, name: str, keys: Iterable[bytes]) -> None:
        """Let a node hold keys no longer."""
        gone = list(keys)
        for key in gone:
            self.hosts[name].keys.pop(key, None)
        self._tell(name, lambda node, now: node.withdraw(gone, now))

    def broadcast(self, name: str, payload: bytes) -> None:
        """Let a node's application send something to all."""
        self._tell(name, lambda node, now: node.messaging.broadcast(payload, now))

    def update(self, name: str, metadata: bytes) -> None:
        """Let a node change its metadata."""
        self._tell(name, lambda node, now: node.update(metadata, now))

    def rotate_keys(self) -> bool:
        """Do the next step of changing the keys on all hosts; False where packets are plain."""
        step = self._keys.next_step(self.rng)
        if step is None:
            return False
        action, argument = step
        for host in self.hosts.values():
            if host.node is not None:
                host.node.keys.change(action, argument)
        self.journal.remark(f"keys: {action.name.lower()}")
        return True

    def _tell(self, name: str, intent: Callable[[Node, float], object]) -> None:
        """Tell a running node to do something, and let its driver carry that out."""
        host = self.hosts[name]
        assert host.node is not None
        intent(host.node, self.clock.now)
        self._driver.after_input(host)
