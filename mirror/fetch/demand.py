"""Demand: which bytes of a blob its readers need. The spool states it, the plan meets it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..oci.ranges import RangeSet


@dataclass(frozen=True, slots=True)
class Demand:
    """What is needed of one blob, and what of it has arrived.

    Args:
        local: needed by readers on this node.
        members: needed by other members, which take this node for the home of these bytes.
        present: has arrived.
        heads: offsets at which readers on this node wait now; these bytes are fetched first.
    """

    local: RangeSet
    members: RangeSet
    present: RangeSet = field(default_factory=RangeSet)
    heads: Sequence[int] = ()
