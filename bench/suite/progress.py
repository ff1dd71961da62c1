"""How long the rest of a suite takes, by what its steps usually take and by what they took."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_FACTOR_LEAST: Final = 0.3
_FACTOR_MOST: Final = 4.0
"""By how much a machine may differ from the usual one in an estimate: one odd step is not to decide it alone."""

_HOUR_S: Final = 3600
_MINUTE_S: Final = 60


@dataclass(slots=True)
class Estimate:
    """The time that is left.

    Args:
        usual_s: of each step to run, in order, seconds.
    """

    usual_s: Sequence[float]
    _done: int = 0
    _took_s: float = 0.0

    def add(self, took_s: float) -> None:
        """The next step has ended."""
        self._done += 1
        self._took_s += took_s

    @property
    def factor(self) -> float:
        """How many times as long as usual this machine takes."""
        usual_s = sum(self.usual_s[: self._done])
        return min(_FACTOR_MOST, max(_FACTOR_LEAST, self._took_s / usual_s)) if usual_s else 1.0

    def left_s(self, running_s: float) -> float:
        """The time until the end, when the current step has run for some seconds."""
        rest = self.usual_s[self._done :]
        if not rest:
            return 0.0
        return max(0.0, rest[0] * self.factor - running_s) + sum(rest[1:]) * self.factor


def duration(seconds: float) -> str:
    """In words, rounded to what matters."""
    if seconds >= _HOUR_S:
        return f"{int(seconds // _HOUR_S)} h {int(seconds % _HOUR_S // _MINUTE_S)} min"
    if seconds >= 2 * _MINUTE_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    return f"{seconds:.0f} s"
