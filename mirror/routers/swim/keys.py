"""The cluster's keys, and errors of gossip as those of the mirror, which name the setting."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import gossip

from ...errors import ConfigError

key_id = gossip.key_id
KeyRefusal = gossip.GossipError


def load_keys(path: Path) -> list[bytes]:
    """Read the cluster's keys from a file; raise ConfigError if it is not valid."""
    with translated("key-file"):
        return gossip.load_keys(path)


@contextlib.contextmanager
def translated(setting: str = "gossip", into: type[ConfigError] = ConfigError) -> Iterator[None]:
    """Turn a ConfigError of gossip into one of the mirror, which names the setting."""
    try:
        yield
    except gossip.ConfigError as error:
        raise into(f"{setting}: {error}") from None
