"""A network that loses, doubles, delays and reorders, by one seed.

Time is simulated: the network is a heap of things to happen, and the clock is the time of the next one. Datagrams that
arrive at the same time as a timer come first, as in the driver, which reads its socket dry before it lets a timer fire.
"""

import enum
import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..core.membership.member import Address

ARRIVAL, TIMER = 0, 1
_RETRANSMIT_S: Final = 0.2
_PARETO_SHAPE: Final = 1.5
_HEAVIEST: Final = 200.0


class Delay(enum.Enum):
    """How the time on the way is distributed, beyond the least."""

    CONSTANT = "always the mean"
    EXPONENTIAL = "exponential"
    HEAVY = "mostly short, at times a hundred times the mean (Pareto, shape 1.5)"


@dataclass(frozen=True, slots=True)
class Weather:
    """How bad the network is.

    Args:
        loss: share of datagrams that vanish, 0 to 1.
        duplication: share that arrives twice.
        delay_s: least time on the way.
        jitter_s: mean of a random addition to it; more than the time between two sends reorders them.
        delay: the distribution of that.
    """

    loss: float = 0.0
    duplication: float = 0.0
    delay_s: float = 0.0002
    jitter_s: float = 0.0005
    delay: Delay = Delay.EXPONENTIAL


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
        self._latest: dict[tuple[Address, Address], float] = {}
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
        way = (source, target)
        if way in self._cuts:
            self.fired["cut"] += 1
            return
        if self._rng.random() < self.weather.loss:
            self.fired["lost"] += 1
            return
        self._carry(way, deliver)
        if self._rng.random() < self.weather.duplication:
            self.fired["duplicated"] += 1
            self._carry(way, deliver)

    def _carry(self, way: tuple[Address, Address], deliver: Callable[[], None]) -> None:
        arrives_at = self.now + self.delay()
        if arrives_at < self._latest.get(way, 0.0):
            self.fired["overtaken"] += 1
        else:
            self._latest[way] = arrives_at
        self.at(arrives_at, ARRIVAL, deliver)

    def delay(self) -> float:
        """A time on the way, s."""
        weather = self.weather
        match weather.delay:
            case Delay.CONSTANT:
                return weather.delay_s + weather.jitter_s
            case Delay.EXPONENTIAL:
                return weather.delay_s + self._rng.expovariate(1 / weather.jitter_s)
            case Delay.HEAVY:
                share = min(_HEAVIEST, self._rng.paretovariate(_PARETO_SHAPE)) - 1
                return weather.delay_s + weather.jitter_s * share * (_PARETO_SHAPE - 1)

    def turn_delay(self) -> float:
        """The same for a turn on a stream, where what is lost is sent again, later each time. Source: RFC 6298."""
        delay_s, again_s = self.delay(), _RETRANSMIT_S
        while self._rng.random() < self.weather.loss:
            delay_s, again_s = delay_s + again_s, 2 * again_s
        return delay_s

    def is_cut(self, source: Address, target: Address) -> bool:
        """Whether nothing gets through in this direction."""
        return (source, target) in self._cuts

    def connected(self, one: Address, other: Address) -> bool:
        """Whether a stream can run: it needs both ways."""
        return (one, other) not in self._cuts and (other, one) not in self._cuts

    def cut(self, source: Address, target: Address) -> None:
        """Let nothing through, in this one direction."""
        self._cuts.add((source, target))

    def mend(self) -> None:
        """End all cuts."""
        self._cuts.clear()
