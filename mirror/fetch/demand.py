"""Demand: which bytes of a blob its readers need, and for whom. The spool states it, the plan meets it."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..oci.ranges import RangeSet


class Audience(enum.Enum):
    """For whom a reader reads."""

    LOCAL = enum.auto()
    """A client of this node that wants the whole. It gets what members sent when others vouch for it, and the last
    piece when the digest is right."""
    LAZY = enum.auto()
    """A client of this node that reads ranges by themselves, as lazily pulling runtimes do. It gets them as a client
    does, but for the last piece, which does not wait; and no more of the blob is fetched for it."""
    MEMBER = enum.auto()
    """Another member, which takes this node for a home. It gets every byte as it comes: it checks the whole itself."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What is needed of one blob, and what of it has arrived.

    Args:
        local: ranges that readers on this node need, of whom some want the whole.
        members: ranges that other members need, which take this node for their home.
        present: ranges that have arrived.
        heads: offsets at which readers on this node wait now; these bytes are fetched first.
        lazy: ranges that readers on this node read by themselves.
    """

    local: RangeSet
    members: RangeSet
    present: RangeSet = field(default_factory=RangeSet)
    heads: Sequence[int] = ()
    lazy: RangeSet = field(default_factory=RangeSet)

    @property
    def needed(self) -> RangeSet:
        """What anybody needs."""
        return self.local | self.members | self.lazy

    def lacks(self, *, is_sized: bool) -> bool:
        """Whether anything is needed that is not here. Before the size is known, nothing is here."""
        return any(part - self.present if is_sized else part for part in (self.local, self.members, self.lazy))
