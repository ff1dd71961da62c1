"""A figure that shows its arithmetic."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its formula.

    Args:
        of: whose it is: gossip or DHT.
        nodes: of the cluster.
        key: its name.
        what: in words.
        unit: of the value.
        value: the figure.
        formula: in symbols or words.
        numbers: the formula with its numbers; how it was counted, if it was.
    """

    of: str
    nodes: int
    key: str
    what: str
    unit: str
    value: float
    formula: str
    numbers: str


class Figures:
    """Figures by whose they are, the number of nodes, and their names."""

    def __init__(self, found: Iterable[Figure]) -> None:
        self._found = {(it.of, it.nodes, it.key): it for it in found}

    def __iter__(self) -> Iterator[Figure]:
        return iter(self._found.values())

    def value(self, of: str, nodes: int, key: str) -> float | None:
        """One of them, if it is there."""
        found = self._found.get((of, nodes, key))
        return None if found is None else found.value

    def sizes(self, of: str) -> list[int]:
        """The numbers of nodes of which there are any, ascending."""
        return sorted({nodes for whose, nodes, _ in self._found if whose == of})
