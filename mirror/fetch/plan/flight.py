"""Flights: requests on their way, and what is left of those that ended."""

from dataclasses import dataclass, field

from ...oci.ranges import RangeSet
from ...sources import UPSTREAM, Role

EARLIER = "(an earlier fetch)"
"""The maker of what was here from the start; no member can have this name."""


@dataclass(slots=True, eq=False)
class Flight:
    """One request to one source, on its way.

    Args:
        source: a member's name, or `upstream`.
        role: as what the source is asked.
        start: first byte asked for.
        stop: end of what is asked for; None for all there is, while the size is not known.
        began_at: monotonic seconds.
        own: whether it counts in this node's own window, rather than being flown for others alone.
        avoid: members whose word on these bytes is in doubt.
        position: end of what has arrived; whoever carries the flight out moves it.
        first_at: when its first byte came, monotonic seconds.
        origin: who brought it to the source, where that is known and another.
        sampled: whether its pace was noted on the way.
        written: what of that was not here before; whoever carries the flight out notes it. None: all of it.
    """

    source: str
    role: Role
    start: int
    stop: int | None
    began_at: float
    own: bool = True
    avoid: tuple[str, ...] = ()
    position: int = field(init=False)
    first_at: float | None = None
    origin: str | None = None
    sampled: bool = False
    written: RangeSet | None = None

    def __post_init__(self) -> None:
        self.position = self.start

    def __str__(self) -> str:
        return f"{self.start}-{self.stop} at {self.position} role={self.role.value} source={self.source}"

    @property
    def direct(self) -> bool:
        """Whether it waits for no other node's flight."""
        return not self.role.waits_for_others

    def rate(self, now: float) -> float:
        """Bytes per second since it was asked for."""
        return (self.position - self.start) / max(now - self.began_at, 1e-4)

    def rows(self) -> list["Row"]:
        """What it has brought."""
        maker = self.source if self.origin in (None, UPSTREAM) else self.origin
        assert maker is not None
        written = RangeSet((self.start, self.position)) if self.written is None else self.written
        return [Row(start, stop, self.source, maker) for start, stop in written]


@dataclass(frozen=True, slots=True)
class Row:
    """Who brought `[start, stop)`: a row for every flight that has ended.

    Args:
        start: first byte.
        stop: end.
        source: who sent it to this node.
        maker: whose word it is: the member that the source has it from, or the source.
    """

    start: int
    stop: int
    source: str
    maker: str
