"""What nodes say to each other. All values are frozen; only module `codec` knows how they look as bytes.

A probe, when the direct answer does not come:

    A ── Ping ──────────────✕ C          A ── ProbeRequest ──▶ B ── Ping ──▶ C
                                         A ◀── Ack ─────────── B ◀── Ack ─── C     or Nack, if C does not answer B

A repair, when the fingerprints in two packets differ:

    A ── Buckets ──▶ B    A ◀── Entries of the differing buckets ── B      (Entries at once in small clusters)
    A ── Pull of what A lacks; Alive, Ops, Offer of what B lacks ──▶ B
"""

import enum
from dataclasses import dataclass

from .membership.member import Address, Span, State

KEY_BYTES = 8
BUCKETS = 32


class FilterKind(enum.IntEnum):
    """What members publish of their keys, the same in a whole cluster. The value is its bit on the wire."""

    BLOOM = 0
    """Bloom filters: a key takes some 2 bytes, and a few strange keys seem to be in."""
    EXACT = 1
    """The keys themselves, 8 bytes each, to compare Bloom filters with."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there? Answered by `Ack` to where the packet came from, if `target` is the receiver's name."""

    number: int
    target: str


@dataclass(frozen=True, slots=True)
class Ack:
    """The answer to the probe of that number, direct or relayed, with up to 64 bytes of the application's."""

    number: int
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """Probe `target` for me. The relay uses the address that it knows itself, so that nobody can aim it elsewhere."""

    number: int
    target: str


@dataclass(frozen=True, slots=True)
class Nack:
    """I am here, but the target of your request did not answer me. Source: Lifeguard section IV-A."""

    number: int


@dataclass(frozen=True, slots=True)
class Alive:
    """A member is there, with this address and metadata. Only the member itself starts this rumour."""

    name: str
    epoch: int
    incarnation: int
    address: Address
    metadata: bytes
    protocol: Span


@dataclass(frozen=True, slots=True)
class Suspect:
    """`accuser` could not reach a member."""

    name: str
    epoch: int
    incarnation: int
    accuser: str


@dataclass(frozen=True, slots=True)
class Dead:
    """A suspect did not refute in time, says `accuser`."""

    name: str
    epoch: int
    incarnation: int
    accuser: str


@dataclass(frozen=True, slots=True)
class Left:
    """A member said goodbye. Final within its epoch."""

    name: str
    epoch: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class Record:
    """Everything known of a member, for full exchanges over a stream."""

    name: str
    epoch: int
    incarnation: int
    state: State
    address: Address
    metadata: bytes
    protocol: Span


@dataclass(frozen=True, slots=True)
class Entry:
    """How much of a member one knows: its record's and its filter's version.

    Args:
        name: the member.
        epoch: its run.
        incarnation: in which it stated its record.
        generation: of its filter.
        sequence: how many keys the filter has in this generation.
    """

    name: str
    epoch: int
    incarnation: int
    generation: int
    sequence: int

    @property
    def filter_version(self) -> tuple[int, int, int]:
        """(epoch, generation, sequence): of two filters of one member the greater is newer."""
        return (self.epoch, self.generation, self.sequence)


@dataclass(frozen=True, slots=True)
class Ops:
    """Keys that a member added to its filter.

    Args:
        name: the member.
        epoch: its run.
        generation: of its filter.
        bits_log2: the filter has 2 ** bits_log2 bits; 64: it is the set of the keys themselves.
        start: the sequence before these keys; every generation starts empty at 0.
        keys: 8 bytes each.
    """

    name: str
    epoch: int
    generation: int
    bits_log2: int
    start: int
    keys: bytes

    @property
    def end(self) -> int:
        """The sequence after these keys."""
        return self.start + len(self.keys) // KEY_BYTES


@dataclass(frozen=True, slots=True)
class Offer:
    """The sender has this version of a filter, and gives it over streams only."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Buckets:
    """Fingerprints of the sender's view, 8 bytes for each of 32 buckets of names."""

    fingerprints: bytes


@dataclass(frozen=True, slots=True)
class Entries:
    """A part of the sender's view.

    Args:
        complete: bit i is set if every live member of bucket i is listed.
        entries: at most one per member.
    """

    complete: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Pull:
    """What the sender has of some members; it asks for the rest. All zeros: it does not know the member."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a filter, on streams only.

    Args:
        entry: the filter's version.
        bits_log2: the filter has 2 ** bits_log2 bits; 64: it is the set of the keys themselves, in ascending order.
        offset: of these bytes in the filter.
        bits: at most 64 KiB.
    """

    entry: Entry
    bits_log2: int
    offset: int
    bits: bytes


@dataclass(frozen=True, slots=True)
class Done:
    """The sender's turn on a stream is over."""


@dataclass(frozen=True, slots=True)
class NameClaim:
    """The sender claims its name from a receiver that has the same one.

    Args:
        started: the epoch with which the sender started; the one that started later gives way.
        token: random, so that a node recognises its own claim, whatever address it seems to come from. Its last bit
            says whether the sender is a newcomer, who gives way to one that is none, whatever their clocks say.
    """

    started: int
    token: int

    @property
    def order(self) -> tuple[int, int, int]:
        """Of two claims to one name the greater one gives way."""
        return (self.token & 1, self.started, self.token)


@dataclass(frozen=True, slots=True)
class UserMessage:
    """From one application to another: in a datagram, or up to 1 MiB over a stream."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Broadcast:
    """From one application to all, as a rumour.

    Args:
        origin: the member that sent it.
        epoch: its run.
        number: counts its broadcasts in this run, so that each is delivered once.
        payload: up to 512 bytes.
    """

    origin: str
    epoch: int
    number: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class UserState:
    """The application's state in a full exchange, up to 1 MiB."""

    payload: bytes


class KeyAction(enum.IntEnum):
    """What to do with a key of the cluster."""

    LIST = 0
    INSTALL = 1
    USE = 2
    REMOVE = 3


@dataclass(frozen=True, slots=True)
class KeyOrder:
    """Change the keyring, over sealed streams only.

    Args:
        action: what to do.
        key: 32 bytes to install; the id, 4 bytes, to use or remove; nothing to list.
    """

    action: KeyAction
    key: bytes


@dataclass(frozen=True, slots=True)
class KeyReport:
    """The keyring after an order.

    Args:
        ids: 4 bytes each, the one that seals first.
        refusal: why the order was not carried out; empty if it was.
    """

    ids: bytes
    refusal: str


Message = (
    Ping
    | Ack
    | ProbeRequest
    | Nack
    | Alive
    | Suspect
    | Dead
    | Left
    | Record
    | Ops
    | Offer
    | Buckets
    | Entries
    | Pull
    | Chunk
    | Done
    | NameClaim
    | UserMessage
    | Broadcast
    | UserState
    | KeyOrder
    | KeyReport
)


@dataclass(frozen=True, slots=True)
class Packet:
    """One datagram or stream frame.

    Args:
        sender: the sending member's name.
        epoch: its run.
        fingerprint: 8 bytes over the versions of everything that it knows.
        messages: in order.
    """

    sender: str
    epoch: int
    fingerprint: bytes
    messages: tuple[Message, ...]
