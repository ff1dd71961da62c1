"""A network that loses, doubles, delays and reorders, by one seed.

Time is simulated: the network is a heap of things to happen, and the clock is the time of the next one. Datagrams that
arrive at the same time as a timer come first, as in the shell, which reads its socket dry before it lets a timer fire.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from ..core.members import Address

ARRIVAL, TIMER = 0, 1


@dataclass(frozen=True, slots=True)
class Weather:
    """How bad the network is.

    Args:
        loss: share of datagrams that vanish, 0 to 1.
        duplication: share that arrives twice.
        delay_s: least time on the way.
        jitter_s: mean of an exponential addition to it; more than the time between two sends reorders them.
    """

    loss: float = 0.0
    duplication: float = 0.0
    delay_s: float = 0.0002
    jitter_s: float = 0.0005


CALM = Weather()


class Network:
    """Carries calls from now to later.

    Args:
        rng: all chance of the network.
        weather: can be changed at any time.
    """

    def __init__(self, rng: random.Random, weather: Weather = CALM) -> None:
        self._rng = rng
        self._heap: list[tuple[float, int, int, Callable[[], None]]] = []
        self._sequence = 0
        self._cuts: set[tuple[Address, Address]] = set()
        self.weather = weather
        self.now = 0.0
        self.fired: Counter[str] = Counter()

    def at(self, when: float, kind: int, action: Callable[[], None]) -> None:
        """Let something happen at a time."""
        self._sequence += 1
        heapq.heappush(self._heap, (max(when, self.now), kind, self._sequence, action))

    def step(self, until: float) -> bool:
        """Let the next thing happen, unless it is later than `until`. Returns whether there was one."""
        if not self._heap or self._heap[0][0] > until:
            self.now = max(self.now, until)
            return False
        self.now, _, _, action = heapq.heappop(self._heap)
        action()
        return True

    def datagram(self, source: Address, target: Address, deliver: Callable[[], None]) -> None:
        """Send something that may be lost, doubled and overtaken."""
        if (source, target) in self._cuts:
            self.fired["cut"] += 1
            return
        if self._rng.random() < self.weather.loss:
            self.fired["lost"] += 1
            return
        self.at(self.now + self.delay(), ARRIVAL, deliver)
        if self._rng.random() < self.weather.duplication:
            self.fired["duplicated"] += 1
            self.at(self.now + self.delay(), ARRIVAL, deliver)

    def delay(self) -> float:
        """A time on the way, s."""
        return self.weather.delay_s + self._rng.expovariate(1 / self.weather.jitter_s)

    def connected(self, one: Address, other: Address) -> bool:
        """Whether a stream can run: it needs both ways."""
        return (one, other) not in self._cuts and (other, one) not in self._cuts

    def cut(self, source: Address, target: Address) -> None:
        """Let nothing through, in this one direction."""
        self._cuts.add((source, target))

    def mend(self) -> None:
        """End all cuts."""
        self._cuts.clear()
