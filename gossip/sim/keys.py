"""Keys: those with which a simulated cluster seals, which change step by step, and those that its hosts hold."""

import hashlib
import random

from ..core.messages import KeyAction
from ..core.packets.keyring import KEY_BYTES, Keyring, key_id


class ClusterKeys:
    """With which keys packets are sealed.

    Args:
        keys: none: packets are plain.
    """

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self._keys = keys
        self._using_new = False

    def ring(self) -> Keyring:
        """The keyring of a node that starts now."""
        return Keyring(self._keys[::-1] if self._using_new else self._keys)

    def next_step(self, rng: random.Random) -> tuple[KeyAction, bytes] | None:
        """The next step on all nodes: install a new key, use it, remove the old one; None where packets are plain.

        Returns:
            The action, and the key to install or the id of the key to use or remove.
        """
        if not self._keys:
            return None
        old, *new = self._keys
        if not new:
            fresh = rng.randbytes(KEY_BYTES)
            self._keys = (old, fresh)
            return KeyAction.INSTALL, fresh
        if not self._using_new:
            self._using_new = True
            return KeyAction.USE, key_id(new[0])
        self._keys, self._using_new = (new[0],), False
        return KeyAction.REMOVE, key_id(old)


def keys_of(seed: int, first: int, count: int) -> list[bytes]:
    """Some keys to hold, of 32 bytes: those numbered `first` and so on, of a series that the seed names."""
    return [hashlib.sha256(f"{seed}/{first + i}".encode()).digest() for i in range(count)]
