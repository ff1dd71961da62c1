"""How the costs of a node grow with the cluster: straight lines through two sizes that were simulated whole.

Memory grows with the number of members. Bytes, packets and CPU of an idle node have a constant part, probing, and one
that grows with the records that full exchanges carry in a second: members, twice, over the time between two that a node
begins. What a wave of pulls adds grows with the copies of rumours that a node sends: as many of each as the protocol
says, of a number of rumours that grows with the members.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gossip.core.config import lan
from gossip.core.packets.rumours import retransmit_limit

from . import crowd
from .results import Calm


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line: its value at 0, and its slope."""

    start: float
    slope: float

    @classmethod
    def through(cls, one: tuple[float, float], other: tuple[float, float]) -> "Line":
        """The line through two points."""
        slope = (other[1] - one[1]) / (other[0] - one[0])
        return cls(one[1] - slope * one[0], slope)

    def at(self, x: float) -> float:
        """Its value there."""
        return self.start + self.slope * x


def records(size: int) -> float:
    """Records that full exchanges of one node carry, per second."""
    return 2 * size / crowd.sync_pause_s(lan(), size)


def copies(size: int) -> float:
    """Copies of rumours that a node sends in a wave of pulls, per second."""
    return size * crowd.BLOBS / crowd.WAVE_S * retransmit_limit(lan().retransmit_mult, size)


@dataclass(frozen=True, slots=True)
class Trend:
    """One cost of a node, against what it grows with.

    Args:
        line: through what was simulated.
        grows_with: of the number of nodes.
        counted: in a cluster that was simulated whole.
    """

    line: Line
    grows_with: Callable[[int], float]
    counted: Callable[[Calm], float]

    def at(self, size: int) -> float:
        """What the line gives for a number of nodes."""
        return self.line.at(self.grows_with(size))


class Growth:
    """The costs of a node in a cluster of any size; rates per second, CPU as a share of a core.

    Args:
        found: what was simulated, by the number of nodes; the smallest and the largest count, and must differ.
    """

    def __init__(self, found: Mapping[int, Calm]) -> None:
        first, last = min(found), max(found)

        def trend(grows_with: Callable[[int], float], counted: Callable[[Calm], float]) -> Trend:
            points = ((grows_with(size), counted(found[size])) for size in (first, last))
            return Trend(Line.through(*points), grows_with, counted)

        self.memory = trend(float, lambda it: it.node_bytes)
        """Bytes that its tables take, with empty filters."""
        self.idle = trend(records, lambda it: it.idle.bytes)
        """Bytes that it sends while idle."""
        self.idle_packets = trend(records, lambda it: it.idle.packets)
        self.cpu = trend(records, lambda it: it.cpu_share)
        """CPU that it uses while idle, without sockets."""
        self.wave = trend(copies, lambda it: it.wave.bytes)
        """Bytes of gossip that it sends in a wave of pulls."""
        self.wave_packets = trend(copies, lambda it: it.wave.packets)
        self.wave_cpu = trend(copies, lambda it: it.wave_cpu_share)
        """CPU that gossip uses in a wave of pulls, without sockets."""

    @property
    def arithmetic(self) -> str:
        """The lines of an idle node, in words."""
        memory, idle, cpu = self.memory.line, self.idle.line, self.cpu.line
        return (
            f"memory = {memory.start / 1024:.0f} KiB + {memory.slope / 1024:.2f} KiB x members\n"
            "r = records per second in full exchanges = 2 x members / (30 s x max(1, log2(members) - 4))\n"
            f"B/s = {idle.start:.0f} + {idle.slope:.1f} x r; "
            f"CPU % = {100 * cpu.start:.3f} + {100 * cpu.slope:.4f} x r, and what "
            "sockets take for two packets a second"
        )
