"""What can go wrong in gossip, by whose fault it is.

GossipError
├── ConfigError   the caller's: a setting, a name or a key file is wrong; the message says what is allowed
├── StateError    the caller's: the state of the node does not allow this call
├── DeliveryError none's: a member did not answer, or refused; the message names it
└── WireError     the network's: bytes that are no valid packet; counted by `reason`, never raised to an application
"""

import enum


class GossipError(Exception):
    """The base of all errors that gossip raises on purpose."""


class ConfigError(GossipError):
    """A setting is wrong; the message names it, its value and what is allowed."""


class StateError(GossipError):
    """The node cannot do this now: it has left the cluster, or it is not running."""


class DeliveryError(GossipError):
    """A message did not reach a member, or the member did not answer or refused; the message names it and says why."""


class Rejection(enum.StrEnum):
    """Why something received was dropped; the values are labels of metrics."""

    SIZE = "size"
    """Too long, too short, or more than a bound allows."""
    VERSION = "version"
    """A version of the protocol, or a compression, that this node does not speak."""
    CLUSTER = "cluster"
    """Of a cluster with another label."""
    KIND = "kind"
    """Of a cluster whose members publish another kind of filter."""
    KEY = "key"
    """Sealed with a key that this node does not have."""
    SEAL = "seal"
    """The seal is broken, or is missing where it is required."""
    REPLAY = "replay"
    """This packet was received before."""
    ALLOW = "allow"
    """From an address outside of the allowed networks."""
    VETO = "veto"
    """The application refused it."""
    SELF = "self"
    """The sender uses this node's own name."""
    ZSTD = "zstd"
    """It does not decompress."""
    CBOR = "cbor"
    """It is not CBOR in the one encoding that the protocol allows."""
    SCHEMA = "schema"
    """A message has a wrong kind, type, length or range."""
    ORDER = "order"
    """A message that is not allowed here, or not yet."""
    FILTER = "filter"
    """A filter that is larger than this node allows, or than its keys need, or that is full."""


class WireError(GossipError):
    """Received bytes are no packet of ours.

    Args:
        reason: why; metrics count by it.
        message: the same in words, for logs.
    """

    def __init__(self, reason: Rejection, message: str) -> None:
        super().__init__(message)
        self.reason = reason
