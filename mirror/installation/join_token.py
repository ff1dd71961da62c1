"""A join token: what a new node has to know of a cluster, in one line of text.

It has the addresses of nodes, the cluster's keys, and the settings that all nodes have alike. So it is a secret, as
the key file is, and good as long as the keys are: whoever has it is a member. No time is set to it, for whoever read
the key out of it would not be bound by that.
"""

import base64
import binascii
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ..addresses import Address
from ..config import AgentConfig, advertised_address, parse_seed
from ..errors import ConfigError
from .places import SETTINGS_FILE

ALIKE: Final = ("cluster", "sealing", "peer-tls", "gossip-profile", "router")
"""Settings that all nodes of a cluster have alike."""
TOKEN_MAX: Final = 8192
"""Bounds a token, in characters: 16 keys and a few addresses have under 2,000."""
_PREFIX: Final = "skvaller-join-1-"
_SUM_BYTES: Final = 4
_KEY_BYTES: Final = 32
_SEEDS_MAX: Final = 5
"""Bounds the nodes that a token names: one that answers is enough."""


@dataclass(frozen=True, slots=True)
class JoinToken:
    """What a new node has to know.

    Args:
        seeds: gossip addresses of nodes, HOST or HOST:PORT.
        keys: of the cluster, 32 bytes each; the one that seals first.
        settings: those of `ALIKE` that the cluster has set.
    """

    seeds: tuple[str, ...]
    keys: tuple[bytes, ...]
    settings: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"JoinToken(seeds={self.seeds}, {len(self.keys)} keys)"  # a key stands in no log and no trace

    @property
    def text(self) -> str:
        """One line, of letters, digits, `-` and `_`."""
        keys = [base64.b64encode(key).decode() for key in self.keys]
        told = {"seeds": self.seeds, "keys": keys, "settings": dict(self.settings)}
        content = json.dumps(told, separators=(",", ":")).encode()
        return _PREFIX + base64.urlsafe_b64encode(_sum(content) + content).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> "JoinToken":
        """Read a token.

        Raises:
            ConfigError: it is none, or a part of one. The message does not show it.
        """
        text = "".join(text.split())  # a terminal may have broken the line
        if not text.startswith(_PREFIX):
            raise ConfigError(f"join token: it must begin with {_PREFIX}; `skvaller join-token` prints one")
        rest = text.removeprefix(_PREFIX)
        try:
            content = base64.b64decode(rest + "=" * (-len(rest) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            content = b""
        told = content[_SUM_BYTES:]
        if not told or content[:_SUM_BYTES] != _sum(told):
            raise ConfigError("join token: a part of it is missing or was changed; copy the whole line again")
        try:
            return cls._of(json.loads(told))
        except (ValueError, TypeError, AttributeError, RecursionError):  # the sum is no proof of who made it
            raise ConfigError("join token: it is none that Skvaller has made; make it again") from None

    @classmethod
    def _of(cls, told: Mapping[str, object]) -> "JoinToken":
        """What was told; the sum says that it is as some Skvaller wrote it, but that may have been another version."""
        seeds, keys, settings = told.get("seeds"), told.get("keys"), told.get("settings")
        if not isinstance(seeds, list) or not isinstance(keys, list) or not isinstance(settings, dict):
            raise ConfigError("join token: it is of another version; make it with this one")
        if not set(settings) <= set(ALIKE):
            names = ", ".join(map(ascii, settings))
            raise ConfigError(f"join token: it has a setting that this version lacks, among {names}")
        decoded = tuple(base64.b64decode(key) for key in keys)
        if not seeds or not decoded or any(len(key) != _KEY_BYTES for key in decoded):
            raise ConfigError("join token: it has no address or no key; make it again with `skvaller join-token`")
        return cls(tuple(parse_seed(str(seed)) for seed in seeds), decoded, {k: str(v) for k, v in settings.items()})


def token_of(config: AgentConfig, written: Mapping[str, object]) -> JoinToken:
    """The token of the cluster that a node with these settings is in.

    Args:
        config: the settings.
        written: what of them stands in the file.

    Raises:
        ConfigError: the cluster has no key, or its file cannot be read.
        StartFailed: this node's address is not known.
    """
    from ..routers.swim import load_keys

    if config.key_file is None:
        raise ConfigError(
            f"key-file: {SETTINGS_FILE} names none, so this cluster has no key that a token could carry; "
            "name the address of a node with --join on the others"
        )
    own = str(Address(advertised_address(config), config.gossip.port))
    alike = {name: str(written[name]) for name in ALIKE if name in written}
    return JoinToken(tuple(dict.fromkeys((own, *config.join)))[:_SEEDS_MAX], tuple(load_keys(config.key_file)), alike)


def read_token(file: Path) -> JoinToken:
    """Read a token from a file.

    Raises:
        ConfigError: the file cannot be read, or has no token.
    """
    try:
        with file.open() as opened:
            return JoinToken.parse(opened.read(TOKEN_MAX))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(f"--join-token: cannot read {file}: {reason}") from None


def _sum(content: bytes) -> bytes:
    """What tells a token that was copied whole; no protection against people."""
    return zlib.crc32(content).to_bytes(_SUM_BYTES)
