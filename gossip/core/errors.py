"""What can go wrong in gossip, by whose fault it is.

GossipError
├── ConfigError   the caller's: a setting, a name or a key file is wrong; the message says what is allowed
├── StateError    the caller's: an intent that the node's state does not allow
├── DeliveryError nobody's: a member did not answer, or refused; the message names it
└── WireError     the network's: bytes that are no valid packet; counted by `reason`, never seen by callers
"""


class GossipError(Exception):
    """Base of all errors that gossip raises on purpose."""


class ConfigError(GossipError):
    """A setting is wrong; the message names it, its value and what is allowed."""


class StateError(GossipError):
    """The node cannot do this now: it has left, or was never started."""


class DeliveryError(GossipError):
    """A member did not get or not answer what was sent to it, or refused it; the message names it and says why."""


class WireError(GossipError):
    """Received bytes are no packet of ours.

    Args:
        reason: one word for counters, from a closed set: size, version, cluster, key, seal, replay, allow, veto, self,
            zstd, cbor, schema, order.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
