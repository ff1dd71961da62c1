"""Whether upstream may still be asked for a blob: a value, and its transitions."""

import enum
import math
from dataclasses import dataclass, replace

from ...errors import Reason
from ...sources.failures import CONSEQUENCES


class Denial(enum.Enum):
    """Who says that upstream has no such content."""

    NOBODY = "nobody"
    A_HOME = "a home"
    """This node then asks upstream itself before it asks more homes: the home may have other credentials, or lie."""
    UPSTREAM = "upstream"
    """This node then asks no home at all, for each would ask upstream the same."""


@dataclass(frozen=True, slots=True)
class UpstreamState:
    """What one fetch knows about upstream.

    Args:
        tries_max: failures in a row that it may have; 0 if this node must not ask it at all.
        tries_left: how many of those are left; at 0 it is not asked.
        denial: who says that it has no such content.
        serves_ranges: whether it does, as far as is known. If not, the ring's first member is the home of the whole.
        rests_until: when it may be asked again, monotonic seconds.
        is_resting: whether that is still to come.
    """

    tries_max: int
    tries_left: int
    denial: Denial = Denial.NOBODY
    serves_ranges: bool = True
    rests_until: float = -math.inf
    is_resting: bool = False

    @property
    def may_be_asked(self) -> bool:
        """Whether it has tries left, and does not rest."""
        return self.tries_left > 0 and not self.is_resting

    def at(self, now: float) -> "UpstreamState":
        """As of now, monotonic seconds: its rest may be over."""
        return replace(self, is_resting=False) if self.is_resting and now >= self.rests_until else self

    def resting(self, until: float) -> "UpstreamState":
        """It is not asked for a moment: it gives no sign of life, or another member asks it for the whole."""
        return replace(self, is_resting=True, rests_until=until)

    def rested(self) -> "UpstreamState":
        """It may be asked again."""
        return replace(self, is_resting=False)

    def landed(self) -> "UpstreamState":
        """It delivered: it has the content, and all its tries again."""
        denial = Denial.NOBODY if self.denial is Denial.A_HOME else self.denial
        return replace(self, tries_left=self.tries_max, denial=denial)

    def failed(self, reason: Reason, *, progressed: bool) -> "UpstreamState":
        """It did not deliver all that it was asked for.

        Args:
            reason: why.
            progressed: whether bytes worth the name came.
        """
        if not CONSEQUENCES[reason].retried:
            return replace(self, tries_left=0)
        return replace(self, tries_left=(self.tries_max if progressed else self.tries_left) - 1)

    def denied(self, by: Denial) -> "UpstreamState":
        """Somebody says that it has no such content."""
        return replace(self, denial=by)

    def without_ranges(self) -> "UpstreamState":
        """It answered a range with everything."""
        return replace(self, serves_ranges=False)

    def tried_once_more(self) -> "UpstreamState":
        """Bytes turned out wrong: it may be asked once more, even if it failed before."""
        return replace(self, tries_left=max(self.tries_left, min(self.tries_max, 1)))

    def renewed(self) -> "UpstreamState":
        """Another repository is asked for from now on: what was said of the last one does not hold for it."""
        return replace(self, tries_left=self.tries_max, denial=Denial.NOBODY, is_resting=False)

    def halted(self) -> "UpstreamState":
        """From now on nobody is asked."""
        return replace(self, tries_left=0)
