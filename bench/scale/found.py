"""All that was found, for tables and plots."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..gossip.results import Calm, Modelled
from .dht import costs
from .figure import Figure, Figures
from .flat import Flat
from .kademlia import Walked
from .lab import Checked
from .pulls import Results


@dataclass(frozen=True, slots=True)
class Found:
    """All of it.

    Args:
        sizes: numbers of nodes that were asked for, ascending.
        keys: that each node holds.
        pulled_per_s: blobs that each node completes in a wave of pulls, per second.
        calm: clusters of gossip that were simulated whole, by the number of nodes.
        modelled: what the reduced model of gossip says, by the number of nodes.
        walked: lookups in Kademlias, by the number of nodes.
        pulls: waves of pulls in the fluid model.
        checked: the fluid model beside the lab.
        flat: the costs of flat membership, by lines.
    """

    sizes: Sequence[int]
    keys: int
    pulled_per_s: float
    calm: dict[int, Calm]
    modelled: dict[int, Modelled]
    walked: dict[int, Walked]
    pulls: Results
    checked: Sequence[Checked]
    flat: Flat

    def figures(self) -> Figures:
        """Each with its formula: those of gossip and of a DHT, for each number of nodes."""
        return Figures(self._all())

    def _all(self) -> Iterator[Figure]:
        for size in sorted({*self.sizes, *self.calm}):
            yield from self.flat.figures(size, self.modelled.get(size))
        for walked in self.walked.values():
            yield from costs(walked, self.keys, self.pulled_per_s)
