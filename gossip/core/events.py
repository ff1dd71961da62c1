"""What a node tells its application. All values are frozen and carry what a listener needs; none asks for an answer."""

from dataclasses import dataclass

from .members import Address, Member


@dataclass(frozen=True, slots=True)
class MemberJoined:
    """A member appeared, or came back after it was dead or had left."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberUpdated:
    """A live member's address, metadata or run changed."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberSuspected:
    """A member did not answer; it has some seconds to refute."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberRecovered:
    """A suspect refuted."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberFailed:
    """A suspect did not refute in time."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberLeft:
    """A member said goodbye."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberForgotten:
    """A dead or departed member's address and filter were dropped."""

    member: Member


@dataclass(frozen=True, slots=True)
class FilterChanged:
    """A newer version of a member's filter is in the directory."""

    name: str
    generation: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Refuted:
    """Others suspected this node; it told them otherwise."""

    incarnation: int


@dataclass(frozen=True, slots=True)
class Paused:
    """This node was not run for that long beyond its next deadline; it judges nobody by that time."""

    duration_s: float


@dataclass(frozen=True, slots=True)
class NameConflict:
    """Another node at this address uses this node's name."""

    address: Address


@dataclass(frozen=True, slots=True)
class Rejected:
    """Something received was dropped. Reasons: those of `WireError`, and unknown, self, stray."""

    reason: str
    source: Address


Event = (
    MemberJoined
    | MemberUpdated
    | MemberSuspected
    | MemberRecovered
    | MemberFailed
    | MemberLeft
    | MemberForgotten
    | FilterChanged
    | Refuted
    | Paused
    | NameConflict
    | Rejected
)
