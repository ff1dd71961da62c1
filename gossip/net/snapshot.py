"""What a node remembers over a restart: whom it knew, and its own epoch.

With the addresses it finds the cluster again though its seeds may be gone. With the epoch a restart is newer than the
run before, though the wall clock may have been set back.

    {"epoch": 1700000000000, "members": ["10.0.0.1:7946", "[fd00::2]:7946"]}
"""

import ipaddress
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..core.errors import ConfigError
from ..core.members import Address
from ..core.wire import U64_MAX
from .files import replace_file
from .sockets import parse_address

_FILE_MAX_BYTES: Final = 1024 * 1024
_ADDRESSES_MAX: Final = 1024


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One run's memory.

    Args:
        epoch: of that run, or 0.
        addresses: of the members it knew, the live ones first.
    """

    epoch: int = 0
    addresses: tuple[Address, ...] = ()


def load_snapshot(path: Path) -> Snapshot:
    """Read a snapshot; a file that is not there is an empty one.

    Raises:
        ConfigError: the file cannot be read, or is no snapshot; it may be deleted without harm.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(_FILE_MAX_BYTES + 1)
    except FileNotFoundError:
        return Snapshot()
    except OSError as error:
        raise ConfigError(f"snapshot {path} cannot be read: {error.strerror}") from error
    try:
        if len(text) > _FILE_MAX_BYTES:
            raise ValueError
        document = json.loads(text)
        epoch, members = document["epoch"], document["members"]
        if type(epoch) is not int or not 0 <= epoch < U64_MAX or type(members) is not list:
            raise ValueError
        addresses = tuple(_address(member) for member in members[:_ADDRESSES_MAX])
    except (ValueError, TypeError, KeyError, RecursionError, ConfigError) as error:
        raise ConfigError(
            f"snapshot {path} is damaged; it may be deleted, seeds are enough to find the others"
        ) from error
    return Snapshot(epoch, addresses)


def save_snapshot(path: Path, epoch: int, addresses: Iterable[Address]) -> None:
    """Replace the snapshot.

    Raises:
        OSError: it cannot be written.
    """
    members = [str(address) for address in addresses][:_ADDRESSES_MAX]
    replace_file(path, json.dumps({"epoch": epoch, "members": members}, indent=1).encode())


def _address(text: object) -> Address:
    if not isinstance(text, str):
        raise TypeError("an address is text")
    host, port = parse_address(text)
    return Address(str(ipaddress.ip_address(host)), port)
