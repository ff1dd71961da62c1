"""How much a node doubts itself.

A node whose probes fail, whose relays do not answer, or which has to refute its own death, is likely the sick one:
it slows its own judgement. The score goes from 0 (healthy) to `maximum` - 1.

Source: Lifeguard (arXiv 1707.00788) section IV-A, local health multiplier.
"""


class Awareness:
    """A saturating counter."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self.score = 0

    def add(self, delta: int) -> None:
        """Raise or lower the score within its bounds."""
        self.score = max(0, min(self._maximum - 1, self.score + delta))

    def scale(self, duration_s: float) -> float:
        """A duration as long as this node's doubt makes it."""
        return duration_s * (self.score + 1)
