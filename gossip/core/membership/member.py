"""A member as a value, and which of two statements about a member holds.

Statements about one member are totally ordered by `precedence`. A table keeps the greatest, so that merging is
commutative, associative and idempotent: the order of arrival, duplicates and detours do not matter.

    (epoch, has left, incarnation, rank of state)

- epoch: one run of the process. A restart wins over everything said about the run before.
- left is final within an epoch: no suspicion and no verdict can turn a goodbye into a failure.
- incarnation: only the member itself raises it, to refute what is said about it, or to change its metadata.
- at equal incarnation the worse state wins: suspect over alive, dead over suspect.

Source: SWIM section 4.2, with the epoch put in front.
"""

import enum
import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from ..errors import ConfigError

NAME_MAX_BYTES: Final = 128
"""Bytes of a name in UTF-8; a DNS label has 63."""
METADATA_MAX_BYTES: Final = 512
"""Bytes that an application attaches to a member: with the longest name they fit the smallest datagram, 1024 bytes."""


class Address(NamedTuple):
    """Where a node's gossip listens: an IP address in its canonical text form, and a port for UDP and TCP."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Span(NamedTuple):
    """Versions of the protocol, 1 to 15, from `low` to `high`, both included."""

    low: int
    high: int

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low} to {self.high}"

    def __contains__(self, version: object) -> bool:
        return isinstance(version, int) and self.low <= version <= self.high

    def __and__(self, other: "Span") -> "Span":
        """What both have; empty (`low` above `high`) if they have nothing in common."""
        return Span(max(self.low, other.low), min(self.high, other.high))


PROTOCOL: Final = Span(1, 1)
"""What this code speaks."""


@lru_cache(maxsize=16384)
def pack_address(address: Address) -> bytes:
    """4 or 16 bytes of IP address, then 2 bytes of port, big-endian."""
    return ipaddress.ip_address(address.host).packed + address.port.to_bytes(2, "big")


@lru_cache(maxsize=16384)
def unpack_address(packed: bytes) -> Address:
    """The inverse of `pack_address`; `packed` has 6 or 18 bytes."""
    return Address(str(ipaddress.ip_address(packed[:-2])), int.from_bytes(packed[-2:], "big"))


class State(enum.IntEnum):
    """What is believed of a member, in the order of precedence at equal incarnation."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3


class Precedence(NamedTuple):
    """Of two statements about one member the greater holds."""

    epoch: int
    left: bool
    incarnation: int
    state: State


@dataclass(frozen=True, slots=True)
class Member:
    """One node, as another sees it at some moment: a value that never changes under its reader.

    Args:
        name: unique in the cluster, 1 to 128 bytes of UTF-8.
        address: of its gossip.
        epoch: the run of the process, milliseconds of wall-clock time at its start or more.
        incarnation: raised by the member itself within its epoch.
        state: what is believed.
        metadata: up to 512 bytes that the application attaches.
        changed_at: monotonic time of the last change of state, s.
        recorded: the incarnation that stated this address and metadata; below `incarnation` while only accusations
            against a newer one were heard.
        protocol: versions of the protocol that it understands.
    """

    name: str
    address: Address
    epoch: int
    incarnation: int
    state: State
    metadata: bytes
    changed_at: float
    recorded: int = 0
    protocol: Span = PROTOCOL

    @property
    def precedence(self) -> Precedence:
        """Where this statement stands in the order."""
        return Precedence(self.epoch, self.state is State.LEFT, self.incarnation, self.state)

    @property
    def live(self) -> bool:
        """Whether the member takes part: alive or suspect."""
        return self.state <= State.SUSPECT


def check_name(name: str) -> str:
    """The name itself.

    Raises:
        ConfigError: it is empty, too long, or has control characters.
    """
    if not is_name(name):
        raise ConfigError(f"name {name!r} must be 1 to {NAME_MAX_BYTES} bytes of UTF-8 without control characters")
    return name


def check_metadata(metadata: bytes) -> bytes:
    """The metadata itself.

    Raises:
        ConfigError: it is too long.
    """
    if len(metadata) > METADATA_MAX_BYTES:
        raise ConfigError(f"metadata has {len(metadata)} bytes, at most {METADATA_MAX_BYTES} are allowed")
    return metadata


def is_name(name: str) -> bool:
    """Whether this can be a member's name."""
    return name.isprintable() and 1 <= len(name.encode("utf-8", "replace")) <= NAME_MAX_BYTES
