"""What a node tells its application. All values are frozen and carry what a listener needs; none asks for an answer."""

from dataclasses import dataclass

from .errors import Rejection
from .membership.member import Address, Member


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
    """The address and the filter of a dead or departed member were dropped."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberUnreached:
    """Others speak of this member, but it did not answer this node at that address: to this node it is none."""

    member: Member


@dataclass(frozen=True, slots=True)
class FilterChanged:
    """A newer version of a member's filter is in the directory."""

    name: str
    generation: int
    sequence: int


@dataclass(frozen=True, slots=True)
class FilterFull:
    """This node was to advertise more keys than its largest filter has room for.

    Args:
        left_out: keys of this call that are not advertised: lookups of others do not find them here.
        room: how many keys there may be.
    """

    left_out: int
    room: int


@dataclass(frozen=True, slots=True)
class Refuted:
    """Others suspected this node; it refuted that under this incarnation."""

    incarnation: int


@dataclass(frozen=True, slots=True)
class Paused:
    """This node ran this much later than its next deadline; it judges no member by that time."""

    duration_s: float


@dataclass(frozen=True, slots=True)
class NameConflict:
    """Another node at this address uses this node's name.

    Args:
        address: of the other.
        gives_way: whether this node started later and therefore takes no part any more.
    """

    address: Address
    gives_way: bool


@dataclass(frozen=True, slots=True)
class MemberFlapping:
    """A member died and came back too often: lookups leave it out until `counts_again_at`, monotonic time, s."""

    member: Member
    counts_again_at: float


@dataclass(frozen=True, slots=True)
class MemberSteady:
    """A member that had flapped has been steady since: lookups count it again."""

    member: Member


@dataclass(frozen=True, slots=True)
class Answered:
    """A member answered a ping of this node directly.

    Args:
        member: who answered.
        number: of the ping, as `Node.ping` gave it; others are the failure detector's own.
        rtt_s: time from the ping to the answer.
        payload: what the other application attached.
    """

    member: Member
    number: int
    rtt_s: float
    payload: bytes


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """The application of another member sent this to this node alone."""

    sender: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class BroadcastReceived:
    """The application of another member sent this to all; each is received once."""

    sender: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class StateReceived:
    """The state of another member's application, in a full exchange."""

    sender: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class KeysChanged:
    """The keyring changed; `ids` are 4 bytes each, the one that seals first."""

    ids: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """Something received was dropped."""

    reason: Rejection
    source: Address


Event = (
    MemberJoined
    | MemberUpdated
    | MemberSuspected
    | MemberRecovered
    | MemberFailed
    | MemberLeft
    | MemberForgotten
    | MemberUnreached
    | FilterChanged
    | FilterFull
    | Refuted
    | Paused
    | NameConflict
    | MemberFlapping
    | MemberSteady
    | Answered
    | MessageReceived
    | BroadcastReceived
    | StateReceived
    | KeysChanged
    | Rejected
)
