"""The cluster's keys: one seals, all of them open. So keys can change while the cluster runs.

To change keys without a gap: install the new one everywhere, then use it everywhere, then remove the old one
everywhere. Packets name a key by an id from which nothing else about the key can be learnt.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final

from ..errors import ConfigError

KEY_BYTES: Final = 32
ID_BYTES: Final = 4
KEYS_MAX: Final = 16
"""Keys in a ring: far more than a change of keys needs, and their ids fit one short message."""


class Keyring:
    """Keys of 32 bytes by their ids. In a cluster that seals nothing it is empty and stays empty.

    Args:
        keys: the first one is the primary, which seals.

    Raises:
        ConfigError: a key has another length, two of them are equal, or there are more than 16.
    """

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        if any(len(key) != KEY_BYTES for key in keys):
            raise ConfigError(f"a cluster key has {KEY_BYTES} bytes")
        self._keys = {key_id(key): key for key in keys}
        if len(self._keys) != len(keys):
            raise ConfigError("a cluster key is given twice")
        if len(keys) > KEYS_MAX:
            raise ConfigError(f"{len(keys)} cluster keys are given, at most {KEYS_MAX} are allowed")
        self.primary = key_id(keys[0]) if keys else b""

    def __bool__(self) -> bool:
        return bool(self._keys)

    def __iter__(self) -> Iterator[bytes]:
        """The keys themselves, the primary first."""
        yield from sorted(self._keys.values(), key=lambda key: key_id(key) != self.primary)

    @property
    def ids(self) -> tuple[bytes, ...]:
        """The ids of all keys, the primary's first."""
        return tuple(map(key_id, self))

    def get(self, identity: bytes) -> bytes | None:
        """The key of that id."""
        return self._keys.get(identity)

    def install(self, key: bytes) -> None:
        """Add a key that opens; a known one is fine.

        Raises:
            ConfigError: the ring is full, or nothing is sealed here.
        """
        if not self._keys:
            raise ConfigError("this node seals nothing, so it takes no keys from others; give it a key file")
        if len(key) != KEY_BYTES:
            raise ConfigError(f"a cluster key has {KEY_BYTES} bytes")
        if len(self._keys) >= KEYS_MAX and key_id(key) not in self._keys:
            raise ConfigError(f"the keyring is full with {KEYS_MAX} keys; remove one first")
        self._keys[key_id(key)] = key

    def use(self, identity: bytes) -> None:
        """Make a key the primary.

        Raises:
            ConfigError: it is not installed.
        """
        if identity not in self._keys:
            raise ConfigError(f"key {identity.hex()} is not installed; install it first")
        self.primary = identity

    def remove(self, identity: bytes) -> None:
        """Drop a key; an unknown one is fine.

        Raises:
            ConfigError: it is the primary.
        """
        if identity == self.primary:
            raise ConfigError(f"key {identity.hex()} is the one that seals; use another one first")
        self._keys.pop(identity, None)


def key_id(key: bytes) -> bytes:
    """The 4 bytes by which packets name a key."""
    return hashlib.sha256(b"skvaller gossip key id" + key).digest()[:ID_BYTES]
