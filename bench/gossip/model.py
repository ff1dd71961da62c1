"""A reduced model of dissemination and detection, for clusters whose tables fit no machine.

Every node of it has the product's own queue of rumours, sent as often and in the same rounds as in the product; the
product's own suspicion of one victim; and probes that carry rumours, too. Time and delays are those of the simulated
network. A probe of the victim fails at the end of its interval, and is due at a random place in a round over all.

The model leaves out: tables (all nodes know each other, and nothing else happens), packets as bytes with their seals
and proofs, indirect probes, streams, awareness, refutation, direct messages to all members in clusters of up to 32, and
all repair by comparison of fingerprints: a node that no rumour reaches never knows. The bench runs the model beside
real nodes where these fit a machine, to show how exact it is.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from gossip.core.config import GossipConfig
from gossip.core.membership.member import Address
from gossip.core.membership.suspicion import Suspicion, suspect
from gossip.core.messages import Dead, Message, Ops, Suspect
from gossip.core.packets.codec import encode_message
from gossip.core.packets.rumours import Rumours, Topic, retransmit_limit
from gossip.sim.clock import TIMER, Clock
from gossip.sim.network import CALM, Network, Weather

_HEAD_BYTES: Final = 100  # of a datagram and of a probe in it: more than either needs
_ROUND_GAP_S: Final = 0.01  # as in a real node
_VICTIM: Final = "victim"
_WITHIN_S: Final = 120.0
_STEP_S: Final = 0.05


@dataclass(slots=True)
class _Node:
    rumours: Rumours
    address: Address
    round_at: float = -1.0
    due_at: float | None = None
    heard_at: dict[bytes, float] = field(default_factory=dict)
    suspicion: Suspicion | None = None
    dead_at: float | None = None


class Model:
    """A cluster of reduced nodes.

    Args:
        config: of all nodes.
        size: how many.
        seed: of all chance.
        weather: of the network.
    """

    def __init__(self, config: GossipConfig, size: int, seed: int, weather: Weather = CALM) -> None:
        self._config = config
        self._size = size
        self._rng = random.Random(seed)
        self._clock = Clock()
        self._network = Network(self._clock, random.Random(self._rng.getrandbits(64)), weather)
        self._room_bytes = config.datagram_max_bytes - _HEAD_BYTES
        self._limit = retransmit_limit(config.retransmit_mult, size)
        self._nodes = [_Node(Rumours(size, self._room_bytes), Address(str(number), 1)) for number in range(size)]
        self._said: dict[bytes, Message] = {}
        self._victim: _Node | None = None
        self._believers = 0
        for node in self._nodes:
            self._later(self._rng.random() * config.probe_interval_s, self._probing(node))

    def spread(self, number: int) -> list[float]:
        """How long it takes each of the others to hear of a key, s; those that no rumour reaches are left out."""
        ops = Ops("n", 1, 0, 14, number, bytes(8))
        encoded, started_at = encode_message(ops), self._clock.now
        origin = self._rng.choice(self._nodes)
        self._hear(origin, self._say(ops))
        self._run_until(lambda: not any(node.rumours for node in self._nodes))
        heard = [node.heard_at[encoded] for node in self._nodes if encoded in node.heard_at]
        return [at - started_at for at in heard if at > started_at]

    def detect(self) -> float | None:
        """How long after a node's death all others believe it dead, seconds; None if somebody never hears of it."""
        started_at, others = self._clock.now, self._size - 1
        self._victim = self._rng.choice(self._nodes)
        for number, node in enumerate(self._nodes):
            if node is not self._victim:
                intervals = self._rng.random() * others + 1
                self._later(intervals * self._config.probe_interval_s, self._accusing(node, str(number)))
        self._run_until(lambda: self._believers == others)
        if self._believers < others:
            return None
        return max(node.dead_at for node in self._nodes if node.dead_at is not None) - started_at

    # What nodes do

    def _round(self, node: _Node) -> None:
        """Send rumours to some others."""
        node.round_at, node.due_at = self._clock.now, None
        for _ in range(self._config.gossip_fanout):
            rumours = node.rumours.take(self._room_bytes, self._limit)
            if not rumours:
                return
            self._send(node, self._another(node), rumours)
        if node.rumours:
            self._call_round(node, self._clock.now + self._config.gossip_interval_s)

    def _call_round(self, node: _Node, at: float) -> None:
        if node.due_at is None or at < node.due_at:
            node.due_at = at

            def due() -> None:
                if node.due_at == at:
                    self._round(node)

            self._clock.at(at, TIMER, due)

    def _probing(self, node: _Node) -> Callable[[], None]:
        def probe() -> None:
            target = self._another(node)
            if node is not self._victim and target is not self._victim:
                self._send(node, target, self._riding_along(node))
                self._send(target, node, self._riding_along(target))
            self._later(self._config.probe_interval_s, probe)

        return probe

    def _riding_along(self, node: _Node) -> Sequence[bytes]:
        return node.rumours.take(self._room_bytes, self._limit) if node.rumours else ()

    def _accusing(self, node: _Node, name: str) -> Callable[[], None]:
        return lambda: self._hear(node, self._say(Suspect(_VICTIM, 1, 0, name)))

    def _expiring(self, node: _Node, deadline: float) -> Callable[[], None]:
        def expire() -> None:
            if node.suspicion is not None and node.suspicion.deadline <= deadline:
                self._hear(node, self._say(Dead(_VICTIM, 1, 0, node.address.host)))

        return expire

    # What nodes hear

    def _hear(self, node: _Node, encoded: bytes) -> None:
        match self._said[encoded]:
            case Ops() if encoded not in node.heard_at:
                node.heard_at[encoded] = self._clock.now
                self._tell(node, Topic.DIRECTORY, encoded, encoded)
            case Suspect() as heard if node.dead_at is None:
                self._hear_suspect(node, heard, encoded)
            case Dead() if node.dead_at is None:
                node.dead_at, node.suspicion = self._clock.now, None
                self._believers += 1
                self._tell(node, Topic.MEMBERSHIP, _VICTIM, encoded)

    def _hear_suspect(self, node: _Node, heard: Suspect, encoded: bytes) -> None:
        if node.suspicion is None:
            node.suspicion = suspect(self._config, self._size, heard.accuser, self._clock.now)
        elif not node.suspicion.confirm(heard.accuser):
            return
        deadline = node.suspicion.deadline
        self._clock.at(deadline, TIMER, self._expiring(node, deadline))
        self._tell(node, Topic.MEMBERSHIP, _VICTIM, encoded)

    def _say(self, message: Message) -> bytes:
        encoded = encode_message(message)
        self._said[encoded] = message
        return encoded

    def _tell(self, node: _Node, topic: Topic, slot: str | bytes, encoded: bytes) -> None:
        node.rumours.add(topic, slot, encoded)
        self._call_round(node, max(self._clock.now, node.round_at + _ROUND_GAP_S))

    # Carrying

    def _send(self, source: _Node, target: _Node, rumours: Sequence[bytes]) -> None:
        if rumours and target is not self._victim:
            self._network.datagram(source.address, target.address, lambda: self._deliver(target, rumours))

    def _deliver(self, target: _Node, rumours: Sequence[bytes]) -> None:
        for encoded in rumours:
            self._hear(target, encoded)

    def _another(self, node: _Node) -> _Node:
        while (other := self._rng.choice(self._nodes)) is node:
            pass
        return other

    def _later(self, by_s: float, action: Callable[[], None]) -> None:
        self._clock.at(self._clock.now + by_s, TIMER, action)

    def _run_until(self, done: Callable[[], bool]) -> None:
        give_up_at = self._clock.now + _WITHIN_S
        while not done() and self._clock.now < give_up_at:
            self._clock.run(_STEP_S)
