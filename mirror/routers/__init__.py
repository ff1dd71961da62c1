"""Routers: the contract of discovery, which `swim` and, for comparison with it, `dht` implement.

Who looks for content needs a `Router`: who may hold a key, and what this node holds. Who divides work among the members
needs `Rings`: which of them serve as homes. Who shows the cluster to people needs `Statuses`. A part asks for the one
that it uses; an implementation has all three, as `Discovery`. One suite (tests/contract) runs over all implementations.

A key is 32 bytes: `Digest.key` or `Reference.key`. Nothing of SWIM crosses this contract. Some routers know at
once who holds a key, others have to ask: `Router.look_up` is for both, so that who looks need not know which it has.
"""

import enum
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import msgspec

Record = TypeVar("Record")

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


def is_member_name(text: str) -> bool:
    """Whether a text can be a member's name.

    Such a name can stand in an HTTP header, in a list with commas, and in a line of a log.
    """
    return _NAME.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node, as a source of content.

    Args:
        name: unique in the cluster.
        host: IP address of its peer endpoint.
        port: TCP port of its peer endpoint.
        tls: whether it says that it speaks TLS there.
    """

    name: str
    host: str
    port: int
    tls: bool = False

    @property
    def address(self) -> str:
        """Host and port of its peer endpoint, as a URL has them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The base of its peer endpoint, without a trailing slash."""
        return f"{'https' if self.tls else 'http'}://{self.address}"


class Serves(enum.StrEnum):
    """Whether a member serves as a home; the value stands in its metadata and on the status endpoint."""

    YES = "yes"
    """It has a place on rings that are made now."""
    NEW = "new"
    """It has not been up for long, so it has a place only on rings that are older."""
    NO = "no"
    """It declines, so it is asked on no ring, however old."""


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """A member as people see it on the status endpoint. No decision rests on it.

    Args:
        peer: the member.
        state: alive, suspect, dead or left.
        keys: number of keys that it says it holds.
        itself: whether it is this node.
        rtt_s: round-trip time of a packet, s; None if it is not known.
        flapping: whether lookups leave it out at present, because it died and came back several times.
        home: whether it says that it serves as a home.
    """

    peer: Peer
    state: str
    keys: int
    itself: bool
    rtt_s: float | None = None
    flapping: bool = False
    home: Serves = Serves.YES


@dataclass(frozen=True, slots=True)
class RingSeat:
    """A member's place among the homes.

    Args:
        peer: the member.
        serves: whether it serves as a home. A new member does where most members are new.
    """

    peer: Peer
    serves: Serves = Serves.YES


class Router(Protocol):
    """Finds members that may hold a key, and tells them what this node holds."""

    def ready(self) -> bool:
        """Whether lookups give what the cluster knows; a lone node is ready at once."""
        ...

    def look_up(self, key: bytes) -> Awaitable[None] | None:
        """Have the others asked who may hold the key, where `locate` does not know that by itself.

        Returns:
            None if there is nothing to wait for: `locate` gives what can be known. Else what is done as soon as
            `locate` gives a holder, or nobody is left to ask, or after a time that the router bounds. It raises
            nothing, and need not be awaited: the question goes on without. Asking again soon costs nothing.
        """
        ...

    def locate(self, key: bytes) -> Sequence[Peer]:
        """Members that may hold the key, best first, without this node.

        Reads local memory: it sends no packet and does not wait. A peer in the answer may not hold the key after all (a
        false positive costs one fast 404). A peer that is missing may have got the content a moment ago, or `look_up`
        has not heard of it yet.
        """
        ...

    def advertise(self, keys: Collection[bytes]) -> None:
        """Record that this node can serve these keys now; the others learn of it within a moment."""
        ...

    def withdraw(self, keys: Collection[bytes]) -> None:
        """Record that this node no longer serves these keys."""
        ...

    def members(self) -> Sequence[Peer]:
        """All other nodes that are believed to be up, those included that `locate` gives.

        Of a router without membership: those whom it knows.
        """
        ...


class Rings(Protocol):
    """Knows which members serve as homes, and tells them whether this node does."""

    def seats(self) -> Sequence[RingSeat]:
        """This node, all members that are believed to be up, and those that failed lately, which keep their places.

        A router that does not know all members gives this node alone: homes need that all agree who they are.
        """
        ...

    def set_serving(self, willing: bool) -> None:
        """Say whether this node serves as a home; the others learn of it within a moment."""
        ...


class Statuses(Protocol):
    """Shows the cluster to people."""

    def statuses(self) -> Sequence[MemberStatus]:
        """All known members, this node and dead ones included."""
        ...

    def alone(self) -> str:
        """What was tried and what came back, while this node looks for others and reaches none; else nothing."""
        ...


class Topic(enum.StrEnum):
    """What a note is about; the value goes with it."""

    BUDGETS = "budgets"
    """What registries let the members ask."""
    OUTAGES = "outages"
    """Which registries cannot be reached."""
    PINS = "pins"
    """What is to be kept, and how often."""
    TAGS = "tags"
    """What the cluster's own people say that tags mean."""


NOTE_MAX_BYTES: Final = 480
"""Bounds one note, in bytes: gossip takes 512 as one rumour, and the topic has to fit as well."""
NOTES_MAX_BYTES: Final = 256 * 1024
"""Bounds all that one member tells another of one topic, in bytes: gossip takes 1 MiB for all topics."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Who cares about a topic.

    Args:
        heard: is called with each note, and with the state of other members.
        state: gives all that another member should know, up to `NOTES_MAX_BYTES`: in the form of a note, for `heard`
            takes both. It is asked for in the middle of gossip's own steps, so it has to return within a millisecond.
    """

    heard: Callable[[bytes], object]
    state: Callable[[], bytes]


def read_note(note: bytes, record: type[Record], records_max: int) -> list[Record]:
    """Read a note that is a list of records in MessagePack; one that is none says nothing.

    Args:
        note: what another member says, or its whole state.
        record: their form; whether a record can be so is for the reader to judge.
        records_max: bounds those that are read.
    """
    try:
        records = msgspec.msgpack.decode(note, type=list[record])  # type: ignore[valid-type]
    except (ValueError, RecursionError):
        return []
    return records[:records_max]


class Notes(Protocol):
    """Passes small notes on to all members, where the implementation can; else nobody hears of them.

    A note is a rumour: most members get it at once, none twice. Members also tell each other their whole state, when
    they meet anew and once in a while, so that in the end all know the same.
    """

    def tell(self, topic: Topic, note: bytes) -> None:
        """Tell all other members up to `NOTE_MAX_BYTES`; a longer note, or one of a node that has left, is dropped."""
        ...

    async def follow(self, listeners: Mapping[Topic, Listener]) -> None:
        """Take in what others tell, until cancelled; topics without a listener are passed over."""
        ...


class NoNotes:
    """`Notes` where there are no members who could be told."""

    def tell(self, topic: Topic, note: bytes) -> None:
        """Do nothing."""

    async def follow(self, listeners: Mapping[Topic, Listener]) -> None:
        """Return at once: nobody tells anything."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a member's gossip is, UDP and TCP, and what state it has."""

    host: str
    port: int
    state: str


class Datagrams(Protocol):
    """Single datagrams between two nodes, as gossip sends them: they show what the network lets through."""

    def place(self, name: str) -> Place | None:
        """Where a member's gossip is, dead ones included; None for a name that is not known."""
        ...

    def send(self, name: str, payload: bytes, *, fill: bool = False) -> None:
        """Send a few bytes to a member; to one that is not known, nothing.

        Args:
            name: of the member.
            payload: under 64 bytes.
            fill: whether random bytes follow it, until the datagram is as large as any that gossip sends.
        """
        ...

    async def follow(self, heard: Callable[[str, bytes], object]) -> None:
        """Call `heard` with the sender's name and what came, until cancelled."""
        ...

    @property
    def namesake(self) -> str:
        """The address of another node that claimed this node's name; empty if none did."""
        ...


class Discovery(Router, Rings, Statuses, Protocol):
    """What an implementation offers to the agent, which hands each part what it needs of it."""
