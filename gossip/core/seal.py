"""The outermost layer of every datagram and stream frame: which cluster, and whether it is sealed.

    plain    = 0x10, 4 bytes of sha256(label), packet
    sealed   = 0x11, 4 bytes of key id, 12 bytes of nonce, AES-256-GCM(packet) with its 16-byte tag

The associated data of a seal is the header, the carrier (datagram or stream) and the label: a packet cannot be carried
over from another cluster, or from one carrier to the other. The key id picks the one key to try. With keys, plain
packets are dropped unread; without, sealed ones are. Nonces are injected, for they must be unique and this is the core.
"""

import enum
import hashlib
from collections.abc import Callable, Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .errors import ConfigError, WireError

PLAIN: Final = 0x10  # version 1 in the upper half
SEALED: Final = 0x11
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
ID_BYTES: Final = 4


class Carrier(enum.Enum):
    """What carries a packet; part of the associated data."""

    DATAGRAM = b"D"
    STREAM = b"S"


class Seal:
    """Wraps and unwraps packets.

    Args:
        label: the cluster's name.
        keys: 32 bytes each; the first one seals, all of them open. None: plain packets.
        nonces: gives 12 bytes, never the same ones twice under one key; not called without keys.

    Raises:
        ConfigError: a key has another length, or two of them are equal.
    """

    def __init__(self, label: str, keys: Sequence[bytes], nonces: Callable[[], bytes]) -> None:
        if any(len(key) != KEY_BYTES for key in keys):
            raise ConfigError(f"a cluster key has {KEY_BYTES} bytes")
        self._label = label.encode()
        self._nonces = nonces
        self._ciphers = {key_id(key): AESGCM(key) for key in keys}
        if len(self._ciphers) != len(keys):
            raise ConfigError("a cluster key is given twice")
        self._primary = key_id(keys[0]) if keys else None
        self._plain_head = bytes((PLAIN,)) + hashlib.sha256(self._label).digest()[:ID_BYTES]

    @property
    def overhead(self) -> int:
        """Bytes that wrapping adds."""
        return 1 + ID_BYTES + (NONCE_BYTES + TAG_BYTES if self._primary else 0)

    def wrap(self, packet: bytes, carrier: Carrier) -> bytes:
        """The bytes to send."""
        if self._primary is None:
            return self._plain_head + packet
        head = bytes((SEALED,)) + self._primary
        nonce = self._nonces()
        return head + nonce + self._ciphers[self._primary].encrypt(nonce, packet, self._associated(head, carrier))

    def unwrap(self, payload: bytes, carrier: Carrier) -> bytes:
        """The packet inside.

        Raises:
            WireError: it is not of this cluster; the reason is size, version, cluster, key or seal.
        """
        head = payload[: 1 + ID_BYTES]
        if len(payload) <= self.overhead:
            raise WireError("size", "shorter than a header")
        if head[0] not in (PLAIN, SEALED):
            raise WireError("version", "another version of the protocol")
        if (head[0] == SEALED) is (self._primary is None):
            raise WireError("seal", "sealed where plain packets are spoken, or plain where sealed ones are")
        if self._primary is None:
            return self._unwrap_plain(head, payload)
        cipher = self._ciphers.get(head[1:])
        if cipher is None:
            raise WireError("key", "sealed with a key that this node does not have")
        nonce, sealed = payload[len(head) : len(head) + NONCE_BYTES], payload[len(head) + NONCE_BYTES :]
        try:
            return cipher.decrypt(nonce, sealed, self._associated(head, carrier))
        except InvalidTag as error:
            raise WireError("seal", "the seal is broken, or of another cluster") from error

    def _unwrap_plain(self, head: bytes, payload: bytes) -> bytes:
        if head != self._plain_head:
            raise WireError("cluster", "of a cluster with another label")
        return payload[len(head) :]

    def _associated(self, head: bytes, carrier: Carrier) -> bytes:
        return head + carrier.value + self._label


def key_id(key: bytes) -> bytes:
    """The 4 bytes by which packets name a key; they tell nothing else about it."""
    return hashlib.sha256(b"skvaller gossip key id" + key).digest()[:ID_BYTES]
