"""How much a node doubts itself.

A node whose probes fail, whose relays do not answer, or that has to refute its own death, is probably the sick one.
It then judges others more slowly. The score goes from 0 (healthy) to `maximum` - 1.

Source: Lifeguard (arXiv 1707.00788) section IV-A, local health multiplier.
"""


class Awareness:
    """A counter that stays within its bounds.

    Args:
        maximum: the score stays below it; the longest intervals are this many times the normal ones.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self.score = 0

    def add(self, delta: int) -> None:
        """Raise or lower the score within its bounds."""
        self.score = max(0, min(self._maximum - 1, self.score + delta))

    def scale(self, duration_s: float) -> float:
        """A duration, s, stretched by this node's doubt."""
        return duration_s * (self.score + 1)
