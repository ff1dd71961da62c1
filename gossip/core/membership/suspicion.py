"""How long a suspect may defend itself.

A suspicion starts long and gets shorter with each further member that confirms it: one slow accuser alone cannot make
others believe in a death quickly, several independent ones can.

    minimum = suspicion_mult * max(1, log10 n) * probe_interval       n counts live members only
    maximum = suspicion_max_mult * minimum
    timeout(c) = maximum - ln(c + 1) / ln(k + 1) * (maximum - minimum)

Source: Lifeguard section IV-B; memberlist suspicion.go.
"""

import math
from dataclasses import dataclass, field

from ..config import GossipConfig


@dataclass(slots=True)
class Suspicion:
    """One running suspicion.

    Args:
        started_at: monotonic time, s; moved later by pauses of this node's own.
        minimum_s: its duration once enough members have confirmed.
        maximum_s: its duration while none has.
        wanted: confirmations, the accuser not counted, that bring it down to the minimum.
        accuser: who began it.
        not_before: the deadline is never earlier, whoever confirms. A node that stood still reads the accusations of
            that time first, and the suspect's refutation perhaps after them.
    """

    started_at: float
    minimum_s: float
    maximum_s: float
    wanted: int
    accuser: str
    not_before: float = -math.inf
    confirmers: set[str] = field(default_factory=set)

    def confirm(self, accuser: str) -> bool:
        """Note another accuser. Returns whether it was new and counts, so that it is worth passing on."""
        if len(self.confirmers) >= self.wanted or accuser == self.accuser or accuser in self.confirmers:
            return False
        self.confirmers.add(accuser)
        return True

    @property
    def deadline(self) -> float:
        """When the suspect is declared dead unless it refutes, s."""
        return max(self.not_before, self.started_at + self._timeout_s)

    @property
    def _timeout_s(self) -> float:
        if self.wanted == 0:
            return self.minimum_s
        share = math.log(len(self.confirmers) + 1) / math.log(self.wanted + 1)
        return max(self.minimum_s, self.maximum_s - share * (self.maximum_s - self.minimum_s))


def suspect(config: GossipConfig, live_count: int, accuser: str, now: float) -> Suspicion:
    """A new suspicion in a cluster of `live_count` members, this node included."""
    minimum_s = config.suspicion_mult * max(1.0, math.log10(max(1, live_count))) * config.probe_interval_s
    wanted = max(0, config.suspicion_mult - 2)
    if live_count - 2 < wanted:
        wanted = 0
    return Suspicion(now, minimum_s, minimum_s * config.suspicion_max_mult, wanted, accuser)
