"""What flat membership costs a node: every node knows all others, and has a filter of what each of them holds.

Where a cluster was simulated whole, figures are counted; the lines through the smallest and the largest of those give
all others, and show beside the counted ones in between how exact they are.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from gossip.core.config import lan
from gossip.core.messages import FilterKind
from gossip.core.packets.rumours import retransmit_limit

from ..gossip import crowd
from ..gossip.growth import Growth, Line, Trend, copies, records
from ..gossip.results import Calm, Modelled
from ..memory import deep_bytes
from ..micro.lookup import fill
from .figure import Figure

GOSSIP: Final = "gossip"
_FILTER_SIZES: Final = (100, 1_000)
"""Members whose filters are counted in memory: the line through both gives all others."""

Row = tuple[str, str, str, float, str, str]
"""What `Figure` has but for whose it is, and the number of nodes."""


class Flat:
    """The costs of a node in a flat cluster of any size.

    Args:
        counted: clusters that were simulated whole, by the number of nodes.
        keys: that each node holds.
    """

    def __init__(self, counted: Mapping[int, Calm], keys: int) -> None:
        self.growth = Growth(counted)
        self._counted = counted
        self._keys = keys
        few, many = ((size, float(deep_bytes(fill(FilterKind.BLOOM, size, keys).directory))) for size in _FILTER_SIZES)
        self.filters = Line.through(few, many)

    def memory(self, size: int) -> float:
        """Bytes of the tables and filters of one node."""
        return self.growth.memory.at(size) + self.filters.at(size)

    def figures(self, size: int, modelled: Modelled | None) -> list[Figure]:
        """All of them, in a cluster of a size.

        Args:
            size: nodes.
            modelled: what the model of dissemination and detection says of this size.
        """
        found = [*self._by_lines(size), *self._times(size, modelled)]
        return [Figure(GOSSIP, size, *row) for row in found]

    def _by_lines(self, size: int) -> Iterator[Row]:
        """Costs: counted if this size was simulated, else by the lines."""
        growth, counted = self.growth, self._counted.get(size)
        limit = retransmit_limit(lan().retransmit_mult, size)
        rumours = f"c = copies / s = {size} x {crowd.BLOBS} / {crowd.WAVE_S:.0f} s x {limit} = {copies(size):.0f}"
        exchanged = f"r = records / s in full exchanges = {records(size):.1f}"
        members = f"N = {size}"
        rows: list[tuple[str, str, str, Trend, str]] = [
            ("idle", "sent while idle", "B/s", growth.idle, exchanged),
            ("idle_packets", "sent while idle", "packets/s", growth.idle_packets, exchanged),
            ("cpu", "CPU while idle, without sockets", "of a core", growth.cpu, exchanged),
            ("wave", "sent in a wave of pulls", "B/s", growth.wave, rumours),
            ("wave_packets", "sent in a wave of pulls", "packets/s", growth.wave_packets, rumours),
            ("wave_cpu", "CPU in a wave of pulls, without sockets", "of a core", growth.wave_cpu, rumours),
            ("tables", "tables of members", "bytes", growth.memory, members),
        ]
        for key, what, unit, trend, numbers in rows:
            by_line, formula = trend.at(size), f"{_line(trend.line)} x {numbers[0]}"
            if counted is None:
                yield key, what, unit, by_line, formula, numbers
            else:
                given = f"simulated; the line gives {by_line:.4g}, with {numbers}"
                yield key, what, unit, trend.counted(counted), formula, given
        what = f"filters of members with {self._keys} keys each"
        yield "filters", what, "bytes", self.filters.at(size), f"{_line(self.filters)} x N", members

    def _times(self, size: int, modelled: Modelled | None) -> Iterator[Row]:
        """Times until others know: of real nodes where they were simulated, else of the reduced model."""
        counted = self._counted.get(size)
        seen = counted or modelled
        if seen is None:
            return
        killed = seen.killed if isinstance(seen, Calm) else seen.killed["lan"]
        kill_by = key_by = f"simulated: {'real nodes' if counted else 'the reduced model'}"
        if counted is not None and modelled is not None:
            kill_by += f"; the reduced model gives {modelled.killed['lan'].median:.2f}"
            key_by += f"; the reduced model gives {modelled.keys.quantile(0.99):.3f}"
        waits = "a probe of 1 s is due and fails, then 4 x max(1, log10 N) s of suspicion"
        yield "detect", "a killed node, until all believe it dead: median", "s", killed.median, waits, kill_by
        spreads = "rounds of 4 rumours, 0.1 s apart, the first at once"
        yield "key", "a key, until 99 % of the others see it", "s", seen.keys.quantile(0.99), spreads, key_by
        if counted is not None:
            joined = "an exchange with one member, then as a key"
            yield "join", "a join, until all see it: median", "s", counted.joined.median, joined, key_by.split(";")[0]


def _line(line: Line) -> str:
    return f"{line.start:.4g} + {line.slope:.4g}"
