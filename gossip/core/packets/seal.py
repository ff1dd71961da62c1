"""The outermost layer of every datagram and stream frame: which protocol, which cluster, and whether it is sealed.

    first byte          = version of the protocol << 4 | kind of filters << 1 | 1 if sealed
    plain               = first byte, 4 bytes of sha256(label), packet
    sealed datagram     = first byte, key id (4), run (12), counter (8), AES-256-GCM(packet) with its tag (16)
    sealed frame        = first byte, key id (4), AES-256-GCM(packet) with its tag (16)

Every process draws a run of 12 random bytes when it starts, and seals under a key of its own, HKDF-SHA256(cluster key,
run), with a counter as the nonce: no nonce can ever be used twice under one key, whatever the number of nodes. The
counter lets the receiver drop what it has seen before (module `replay`). A stream has its own keys, derived from
random bytes of both ends: no frame fits another stream, another place in its own, or the other direction.

A packet says of which kind the filters of its cluster are, so that no node takes one kind for the other.

The associated data are everything before the ciphertext, and the label. The key id picks the one key to try.

Source: NIST SP 800-38D section 8.2.1 (deterministic nonces); RFC 5869 (HKDF).
"""

import enum
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..errors import Rejection, WireError
from ..membership.member import Span
from ..messages import FilterKind, KeyAction
from .keyring import ID_BYTES, KEY_BYTES, Keyring

RUN_BYTES: Final = 12
GREETING_BYTES: Final = 17
_COUNTER_BYTES: Final = 8
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_HEAD_BYTES: Final = 1 + ID_BYTES
_CIPHERS_MAX: Final = 16384
"""Derived ciphers that are kept, one per key and run that was heard of: two for each of the most members by default."""


class Sealing(enum.Enum):
    """What a node with keys sends and accepts: the steps from a plain cluster to a sealed one, each on all nodes."""

    ALLOW = "allow"  # sends plain packets, accepts both
    PREFER = "prefer"  # sends sealed packets, accepts both
    REQUIRE = "require"  # sends and accepts sealed packets only


@dataclass(frozen=True, slots=True)
class Opened:
    """A datagram without its seal.

    Args:
        packet: what was inside.
        run: of the process that sealed it; None if it came plain.
        counter: of the packet within the run.
    """

    packet: bytes
    run: bytes | None = None
    counter: int = 0


class Seal:
    """Wraps and unwraps the packets of one process.

    Args:
        label: the cluster's name.
        keyring: empty: plain packets only.
        protocol: the versions that this node understands.
        entropy: gives that many unpredictable bytes, never the same ones twice.
        sealing: what is sent and accepted, with keys.
        filters: the kind of filters that members of this cluster publish.

    `version` is the version of the protocol in which packets are sent; the node sets it. `ciphers` are derived ciphers
    by key id and run; nodes that share a process may share them.
    """

    def __init__(
        self,
        label: str,
        keyring: Keyring,
        protocol: Span,
        entropy: Callable[[int], bytes],
        sealing: Sealing = Sealing.REQUIRE,
        filters: FilterKind = FilterKind.BLOOM,
    ) -> None:
        self.keyring = keyring
        self.version = protocol.high
        self.label = label.encode()
        self._label_hash = hashlib.sha256(self.label).digest()[:ID_BYTES]
        self.protocol = protocol
        self._entropy = entropy
        self._filters = filters
        self._plain_is_fine = not keyring or sealing is not Sealing.REQUIRE
        self.speaks_sealed = bool(keyring) and sealing is not Sealing.ALLOW
        self.run = entropy(RUN_BYTES) if keyring else b""
        self._counter = 0
        self.ciphers: dict[bytes, AESGCM] = {}

    @property
    def overhead(self) -> int:
        """Bytes that wrapping a datagram adds, at most."""
        return _HEAD_BYTES + (RUN_BYTES + _COUNTER_BYTES + _TAG_BYTES if self.keyring else 0)

    def draw(self) -> int:
        """A number of 32 bits that nobody can guess."""
        return int.from_bytes(self._entropy(4), "big")

    def wrap(self, packet: bytes) -> bytes:
        """The datagram to send."""
        if not self.speaks_sealed:
            return self.wrap_plain(packet, self.version)
        counter = self._counter.to_bytes(_COUNTER_BYTES, "big")
        self._counter += 1
        identity = self.keyring.primary
        head = self.first_byte(self.version, sealed=True) + identity + self.run + counter
        cipher = self.ciphers.get(identity + self.run)
        if cipher is None:
            cipher = self.derive(identity, self.run)
            self._keep(identity + self.run, cipher)
        return head + cipher.encrypt(_nonce(counter), packet, head + self.label)

    def unwrap(self, datagram: bytes) -> Opened:
        """The packet inside.

        Raises:
            WireError: it is not of this cluster; the reason is size, version, kind, cluster, key or seal.
        """
        if not self.is_sealed(datagram):
            return Opened(self.unwrap_plain(datagram))
        end = _HEAD_BYTES + RUN_BYTES + _COUNTER_BYTES
        if len(datagram) <= end + _TAG_BYTES:
            raise WireError(Rejection.SIZE, "shorter than a header")
        identity, run = datagram[1:_HEAD_BYTES], datagram[_HEAD_BYTES : _HEAD_BYTES + RUN_BYTES]
        counter = datagram[end - _COUNTER_BYTES : end]
        known = self.ciphers.get(identity + run)
        cipher = known or self.derive(identity, run)
        packet = _open(cipher, _nonce(counter), datagram[end:], datagram[:end] + self.label)
        if known is None:
            self._keep(identity + run, cipher)
        return Opened(packet, run, int.from_bytes(counter, "big"))

    def change_keys(self, action: KeyAction, key: bytes) -> None:
        """Change the keyring, and forget what was derived from a key that is gone.

        Args:
            action: what to do.
            key: 32 bytes to install; the id, 4 bytes, to use or remove.

        Raises:
            ConfigError: the keyring refuses; the message says why.
        """
        match action:
            case KeyAction.LIST:
                pass
            case KeyAction.INSTALL:
                self.keyring.install(key)
            case KeyAction.USE:
                self.keyring.use(key)
            case KeyAction.REMOVE:
                self.keyring.remove(key)
                self.ciphers = {name: it for name, it in self.ciphers.items() if not name.startswith(key)}

    def channel(self, *, dialled: bool) -> "Channel":
        """The seal of a new stream."""
        span = bytes((self.protocol.low << 4 | self.protocol.high,))
        return Channel(self, span + self._entropy(GREETING_BYTES - 1), dialled=dialled)

    def wrap_plain(self, packet: bytes, version: int) -> bytes:
        """A packet without a seal, in a version of the protocol."""
        return self.first_byte(version, sealed=False) + self._label_hash + packet

    def first_byte(self, version: int, *, sealed: bool) -> bytes:
        """What every payload begins with."""
        return bytes((version << 4 | self._filters << 1 | sealed,))

    def is_sealed(self, payload: bytes) -> bool:
        """Whether these bytes are sealed.

        Raises:
            WireError: they are not acceptable either way; the reason is size, version, kind or seal.
        """
        if len(payload) <= _HEAD_BYTES:
            raise WireError(Rejection.SIZE, "shorter than a header")
        version, kind, sealed = payload[0] >> 4, payload[0] >> 1 & 7, bool(payload[0] & 1)
        if version not in self.protocol or kind > max(FilterKind):
            raise WireError(Rejection.VERSION, f"version {version} of the protocol, this node speaks {self.protocol}")
        if kind != self._filters:
            raise WireError(Rejection.KIND, f"of a cluster with filters of another kind, {FilterKind(kind).name}")
        if sealed and not self.keyring:
            raise WireError(Rejection.SEAL, "sealed where plain packets are spoken")
        if not sealed and not self._plain_is_fine:
            raise WireError(Rejection.SEAL, "plain where sealed packets are spoken")
        return sealed

    def unwrap_plain(self, payload: bytes) -> bytes:
        """The packet in a payload that is not sealed.

        Raises:
            WireError: it is of another cluster.
        """
        if payload[1:_HEAD_BYTES] != self._label_hash:
            raise WireError(Rejection.CLUSTER, "of a cluster with another label")
        return payload[_HEAD_BYTES:]

    def derive(self, identity: bytes, salt: bytes, info: bytes = b"datagrams") -> AESGCM:
        """The cipher of a run or of one direction of a stream, under the key of that id.

        Raises:
            WireError: this node does not have the key.
        """
        key = self.keyring.get(identity)
        if key is None:
            raise WireError(Rejection.KEY, f"sealed with the key {identity.hex()}, which this node does not have")
        return AESGCM(HKDF(SHA256(), KEY_BYTES, salt, b"skvaller gossip " + info).derive(key))

    def _keep(self, name: bytes, cipher: AESGCM) -> None:
        if len(self.ciphers) >= _CIPHERS_MAX:
            del self.ciphers[next(iter(self.ciphers))]
        self.ciphers[name] = cipher


class Channel:
    """The seal of one stream, on one of its ends.

    Both ends begin with a greeting, the acceptor first: a byte with the versions of the protocol that it understands
    (lowest << 4 | highest), and 16 random bytes. The dialler speaks the highest that both understand. The acceptor
    answers as it is spoken to: plain or sealed, and with the same key.

    Args:
        seal: of this process.
        greeting: this end's.
        dialled: whether this end opened the stream.
    """

    def __init__(self, seal: Seal, greeting: bytes, *, dialled: bool) -> None:
        self.greeting = greeting
        self._seal = seal
        self._dialled = dialled
        self._sealed = seal.speaks_sealed
        self._identity = seal.keyring.primary
        self._theirs = b""
        self._version = seal.version
        self._said = self._heard = 0
        self._ciphers: dict[tuple[bytes, bool], AESGCM] = {}

    @property
    def sealed(self) -> bool:
        """Whether what this end sends is sealed."""
        return self._sealed

    def greet(self, theirs: bytes) -> None:
        """Take the other end's greeting.

        Raises:
            WireError: the two ends have no version of the protocol in common.
        """
        self._theirs = theirs
        span = Span(theirs[0] >> 4, theirs[0] & 15)
        self._version = (self._seal.protocol & span).high
        if self._version not in self._seal.protocol or self._version not in span:
            raise WireError(
                Rejection.VERSION, f"the other end speaks {span} of the protocol, this node {self._seal.protocol}"
            )

    def wrap(self, packet: bytes) -> bytes:
        """The payload of the next frame."""
        if not self._sealed:
            return self._seal.wrap_plain(packet, self._version)
        head = self._seal.first_byte(self._version, sealed=True) + self._identity
        nonce = _nonce(self._said.to_bytes(_COUNTER_BYTES, "big"))
        self._said += 1
        return head + self._cipher(self._identity, ours=True).encrypt(nonce, packet, head + self._seal.label)

    def unwrap(self, payload: bytes) -> bytes:
        """The packet in the payload of the next frame from the other end.

        Raises:
            WireError: it holds no packet for this end; the reason is size, version, kind, cluster, key or seal.
        """
        sealed = self._seal.is_sealed(payload)
        if self._dialled and sealed is not self._sealed:
            raise WireError(Rejection.SEAL, "the answer is not sealed as the question was")
        self._sealed = sealed
        if not sealed:
            return self._seal.unwrap_plain(payload)
        if len(payload) <= _HEAD_BYTES + _TAG_BYTES:
            raise WireError(Rejection.SIZE, "shorter than a header")
        head = payload[:_HEAD_BYTES]
        self._identity = head[1:]
        nonce = _nonce(self._heard.to_bytes(_COUNTER_BYTES, "big"))
        self._heard += 1
        cipher = self._cipher(self._identity, ours=False)
        return _open(cipher, nonce, payload[_HEAD_BYTES:], head + self._seal.label)

    def _cipher(self, identity: bytes, *, ours: bool) -> AESGCM:
        cipher = self._ciphers.get((identity, ours))
        if cipher is None:
            by_dialler = ours is self._dialled
            greetings = (self._theirs, self.greeting) if self._dialled else (self.greeting, self._theirs)
            info = b"stream of its dialler" if by_dialler else b"stream of its acceptor"
            cipher = self._ciphers[identity, ours] = self._seal.derive(identity, b"".join(greetings), info)
        return cipher


def _nonce(counter: bytes) -> bytes:
    return counter.rjust(_NONCE_BYTES, b"\0")


def _open(cipher: AESGCM, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
    try:
        return cipher.decrypt(nonce, sealed, associated)
    except InvalidTag as error:
        raise WireError(Rejection.SEAL, "the seal is broken, of another cluster, or of another stream") from error
