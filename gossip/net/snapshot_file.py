"""What a node remembers over a restart: the members it knew, and its own epoch.

With the addresses it finds the cluster again though its seeds may be gone. With the epoch a restart is newer than the
run before, though the wall clock may have been set back.

    {"epoch": 1700000000000, "members": ["10.0.0.1:7946", "[fd00::2]:7946"]}
"""

import asyncio
import ipaddress
import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ..core.errors import ConfigError
from ..core.membership.member import Address, State
from ..core.packets.codec import U64_MAX
from ..core.view import View
from .counters import Counters, Failure
from .files import replace_file
from .sockets import parse_address

log = logging.getLogger(__name__)

_INTERVAL_S: Final = 5.0
"""Seconds between two looks at whether members changed, and so between two writes."""
_FILE_MAX_BYTES: Final = 1024 * 1024
"""Bytes of a file that are read at all; the longest that is written has some 50 KiB."""
_ADDRESSES_MAX: Final = 1024
"""Addresses that are kept: one of them that answers is enough."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one run leaves to the next.

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


class SnapshotFile:
    """The snapshot of a running node: read at its start, written when it changed, and at its end.

    Args:
        path: of the file.
        counters: errors are counted there.
    """

    def __init__(self, path: Path, counters: Counters) -> None:
        self._path = path
        self._counters = counters
        self._loaded = Snapshot()

    @property
    def epoch(self) -> int:
        """The epoch of the run before, or 0."""
        return self._loaded.epoch

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Of the members that the run before knew."""
        return self._loaded.addresses

    def load(self) -> None:
        """Read the file. A damaged one is counted and logged, and the node starts without it."""
        try:
            self._loaded = load_snapshot(self._path)
        except ConfigError as error:
            self._counters.note_failure(Failure.SNAPSHOT)
            log.warning("gossip starts without its snapshot: %s", error)

    async def keep(self, view: Callable[[], View]) -> None:
        """Write the members that the node knows whenever they changed, until cancelled.

        A node that knows none writes nothing: the file still has the members that the run before knew.
        """
        written = Snapshot()
        while True:
            known = _known(view())
            if known != written and known.addresses:
                written = known
                await asyncio.to_thread(self._write, known)
            await asyncio.sleep(_INTERVAL_S)

    def save(self, view: View) -> None:
        """Write the members that the node knows now; if there are none, those that the run before knew."""
        known = _known(view)
        self._write(known if known.addresses else replace(known, addresses=self.addresses))

    def _write(self, known: Snapshot) -> None:
        try:
            save_snapshot(self._path, known.epoch, known.addresses)
        except OSError as error:
            self._counters.note_failure(Failure.SNAPSHOT)
            log.warning("gossip snapshot not written path=%s error=%s", self._path, error.strerror)


def _known(view: View) -> Snapshot:
    """The members that a node knows, the live ones and the latest of the dead first; not those that left."""
    members = sorted(view.members(), key=lambda member: (not member.live, -member.changed_at))
    return Snapshot(view.me.epoch, tuple(member.address for member in members if member.state is not State.LEFT))


def _address(text: object) -> Address:
    if not isinstance(text, str):
        raise TypeError("an address is text")
    host, port = parse_address(text)
    return Address(str(ipaddress.ip_address(host)), port)
