"""The cluster's keys, in a file that only its owner can read."""

import base64
import binascii
import logging
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ..core.errors import ConfigError
from ..core.packets.keyring import KEY_BYTES, Keyring
from .counters import Counters, Failure
from .files import replace_file

log = logging.getLogger(__name__)

_FILE_MAX_BYTES: Final = 64 * 1024
"""Bytes of a key file that are read at all; 16 keys with some remarks have less than 4 KiB."""


def load_keys(path: str | Path) -> list[bytes]:
    """The keys in a file: one a line, 32 bytes in base64 or hex. Empty lines and lines with `#` first are skipped.

    The first key seals, all of them open. No message ever shows a key, or a part of one.

    Raises:
        ConfigError: the file cannot be read, others than its owner can, or a line is no key.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:  # a pipe must not block
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_FILE_MAX_BYTES + 1) if stat.S_ISREG(mode) else b""
    except OSError as error:
        raise ConfigError(f"key file {path}: {error.strerror}") from error
    if not stat.S_ISREG(mode) or len(text) > _FILE_MAX_BYTES:
        raise ConfigError(f"key file {path} must be a regular file of at most {_FILE_MAX_BYTES} bytes")
    if mode & 0o077:
        raise ConfigError(f"key file {path} can be read by others: run chmod 600 {path}")
    lines = enumerate(text.splitlines(), start=1)
    keys = [_key(line.strip(), f"{path}:{number}") for number, line in lines if _is_key_line(line)]
    if not keys:
        raise ConfigError(f"key file {path} has no key: write 32 bytes in base64 or hex on a line")
    if len(set(keys)) != len(keys):
        raise ConfigError(f"key file {path} has the same key twice")
    return keys


def save_keys(path: str | Path, keys: Iterable[bytes]) -> None:
    """Replace the file by these keys, the one that seals first. After a crash it is the old or the new file.

    Raises:
        ConfigError: the file cannot be written.
    """
    text = b"# the first key seals, all of them open\n"
    text += b"".join(base64.b64encode(key) + b"\n" for key in keys)
    try:
        replace_file(Path(path), text)
    except OSError as error:
        raise ConfigError(f"key file {path} cannot be written: {error.strerror}") from error


class KeyFile:
    """The file of a node whose keys may change while it runs.

    Args:
        path: of the file.
        keyring: the keys.
        counters: errors are counted there.
    """

    def __init__(self, path: Path, keyring: Keyring, counters: Counters) -> None:
        self._path = path
        self._keyring = keyring
        self._counters = counters

    def save(self) -> None:
        """Write the keys as they are now; an error is logged, for the cluster has changed its keys already."""
        try:
            save_keys(self._path, self._keyring)
        except ConfigError as error:
            self._counters.note_failure(Failure.KEY_FILE)
            log.error("gossip keys changed but were not saved: %s", error)


def _is_key_line(line: bytes) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith(b"#")


def _key(text: bytes, where: str) -> bytes:
    try:
        key = bytes.fromhex(text.decode()) if len(text) == 2 * KEY_BYTES else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{where}: a key is 32 bytes in base64 (44 characters) or hex (64)")
    return key
