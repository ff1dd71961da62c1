"""What one node counts. All counters are there from the start: one that appears late hides its first step."""

import enum
from dataclasses import dataclass, field
from typing import get_args

from ..core.errors import Rejection
from ..core.events import Event, Rejected


class Direction(enum.StrEnum):
    """Which way a datagram went; the values are labels of metrics."""

    SENT = "sent"
    RECEIVED = "received"


class Failure(enum.StrEnum):
    """What went wrong on this node itself; the values are labels of metrics."""

    SEND = "send"
    """A datagram was not sent: the buffer is full, or there is no route. To the protocol that is loss."""
    RECEIVE = "receive"
    """The kernel reported an ICMP error about an earlier datagram."""
    DIAL = "dial"
    """A stream could not be opened, or was cut."""
    STREAM_REFUSED = "streams_refused"
    """A stream was refused: as many are open as are allowed."""
    KEY_FILE = "key_file"
    """Keys changed and could not be written to the key file."""
    SNAPSHOT = "snapshot"
    """The snapshot could not be read or written."""


@dataclass(slots=True)
class Counters:
    """Totals since the start of a node.

    Args:
        datagrams: by direction.
        bytes: of datagrams, without the heads of UDP and IP, by direction.
        events: by the type of the event.
        rejected: what was received and dropped, by reason.
        failures: by kind.
        streams: conversations over TCP, opened by this node and by others.
        stalls: times that the event loop ran late by a quarter of a second or more.
    """

    datagrams: dict[Direction, int] = field(default_factory=lambda: dict.fromkeys(Direction, 0))
    bytes: dict[Direction, int] = field(default_factory=lambda: dict.fromkeys(Direction, 0))
    events: dict[type[Event], int] = field(default_factory=lambda: dict.fromkeys(get_args(Event), 0))
    rejected: dict[Rejection, int] = field(default_factory=lambda: dict.fromkeys(Rejection, 0))
    failures: dict[Failure, int] = field(default_factory=lambda: dict.fromkeys(Failure, 0))
    streams: int = 0
    stalls: int = 0

    def note_datagram(self, direction: Direction, size_bytes: int) -> None:
        """Count a datagram."""
        self.datagrams[direction] += 1
        self.bytes[direction] += size_bytes

    def note_failure(self, failure: Failure) -> None:
        """Count something that did not work."""
        self.failures[failure] += 1

    def note_event(self, event: Event) -> None:
        """Count an event, and why something was rejected."""
        self.events[type(event)] += 1
        if isinstance(event, Rejected):
            self.rejected[event.reason] += 1
