"""The libp2p key of a node, from which its id follows. It is kept, as Spegel does: records outlive a restart."""

import secrets
from pathlib import Path

from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.keys import KeyPair

from ...errors import ConfigError
from ...fileio import read_small, replace

SEED_BYTES = 32
"""Length of an ed25519 seed."""


def load_or_make(path: Path) -> KeyPair:
    """The key of a file, which is made if it is missing.

    Raises:
        ConfigError: the file is not such a key, or cannot be read or made.
    """
    try:
        if not path.exists():
            replace(path, secrets.token_bytes(SEED_BYTES), durably=True)
        seed, _ = read_small(path, SEED_BYTES)
    except (OSError, ValueError) as error:
        raise ConfigError(f"data-dir: cannot read the DHT's key {path}: {error}") from None
    if len(seed) != SEED_BYTES:
        raise ConfigError(
            f"data-dir: {path} is not the DHT's key, which has {SEED_BYTES} bytes; remove it for a new one"
        )
    return create_new_key_pair(seed)
