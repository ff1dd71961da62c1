"""What was written into runtimes' files, so that it can be taken away: below the agent's data folder, in `configured`.

configured/containerd.json                       what was wanted, and what was added to which file
configured/containerd/etc/containerd/config.toml that file as it was
"""

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..errors import ConfigError
from ..fileio import read_small, replace
from . import Added, Wanted
from .host import Host, unreadable
from .writing import unwritable

FOLDER: Final = "configured"
_VERSION: Final = 1
"""Of the form of a record. A later form has to read this one: what was added has to go, years later as well."""
_MAX_BYTES: Final = 4 * 1024 * 1024
"""Bounds a record, in bytes; a host with mirrors of a hundred registries has 30 KiB."""
_LOCK_S: Final = 10.0
_LOCK_LOOK_S: Final = 0.05
"""Bound the wait for another command that writes, s, and the time between two looks: it takes some milliseconds."""


@dataclass(frozen=True, slots=True)
class Written:
    """What was done to one file.

    Args:
        added: what its runtime needs to take it away again.
        digest: sha256 of the text that was written, in hex: with it, nobody has changed the file since.
        existed: whether it was there before; then there is a copy.
        at_once: whether its runtime reads it at each pull.
    """

    added: Added
    digest: str
    existed: bool
    at_once: bool


@dataclass(frozen=True, slots=True)
class Record:
    """What was done to a runtime.

    Args:
        runtime: its name.
        wanted: whom it should ask.
        files: what was written, by path on the host.
        folders: those that were made, outermost first.
        restart: the command that nobody has run since; empty if none is needed.
    """

    runtime: str
    wanted: Wanted
    files: Mapping[str, Written] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()


class Records:
    """The records of a node.

    Who may write into the data folder, as the agent's own user, could put another folder into the place of this one,
    and so have root write what it likes. So the folder has to belong to root or to who reads it, lets nobody else
    write, and is held open.

    Args:
        data_dir: the agent's data folder.
    """

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir / FOLDER
        self._held: int | None = None

    def __del__(self) -> None:
        if self._held is not None:
            os.close(self._held)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one who writes; raise ConfigError if another does not end, or the folder cannot be made."""
        lock = self._made() / ".lock"
        try:
            fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            deadline = time.monotonic() + _LOCK_S
            while not _locks(fd):
                if time.monotonic() > deadline:
                    raise ConfigError(
                        f"{self.folder}: another `skvaller configure` is at work; wait until it has ended"
                    )
                time.sleep(_LOCK_LOOK_S)
            yield
        finally:
            os.close(fd)

    def names(self) -> list[str]:
        """The runtimes that have a record; raise ConfigError if the folder cannot be read."""
        place = self._place()
        return [] if place is None else sorted(path.stem for path in place.glob("*.json"))

    def read(self, runtime: str) -> Record | None:
        """The record of a runtime; None if there is none.

        Raises:
            ConfigError: it cannot be read, or is not in order.
        """
        place, name = self._place(), f"{runtime}.json"
        if place is None:
            return None
        try:
            content, _ = read_small(place / name, _MAX_BYTES)
            return _parsed(json.loads(content))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unreadable(str(self.folder / name), error) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            problem = f"this record is not in order: {error!r}; the copies of what was there are in {self.folder}"
            raise ConfigError(f"{self.folder / name}: {problem}") from None

    def copy(self, runtime: str, path: str) -> str:
        """A file of a runtime as it was; raise ConfigError if the copy cannot be read."""
        name = f"{runtime}/{path.lstrip('/')}"
        try:
            return ((self._place() or self.folder) / name).read_bytes().decode()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.folder / name}: the copy of {path} cannot be read: {error}") from None

    def write(self, record: Record, copies: Mapping[str, str]) -> None:
        """Write a record, and copies of files as they were, by path; other copies of this runtime stay.

        Raises:
            ConfigError: that fails.
        """
        place = self._made()
        try:
            for path, text in copies.items():
                copy = place / record.runtime / path.lstrip("/")
                copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                replace(copy, text.encode(), durably=True)
            replace(place / f"{record.runtime}.json", json.dumps(_shown(record), indent=2).encode(), durably=True)
        except OSError as error:
            raise self._unwritable(error) from None

    def forget(self, runtime: str) -> None:
        """Forget a runtime, with its copies."""
        if (place := self._place()) is not None:
            (place / f"{runtime}.json").unlink(missing_ok=True)
            shutil.rmtree(place / runtime, ignore_errors=True)

    def _made(self) -> Path:
        """The folder, made if it is missing."""
        try:
            self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from None
        return self._place() or self.folder

    def _place(self) -> Path | None:
        """The folder, held open; None if it is not there."""
        if self._held is None:
            try:
                held = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            except OSError as error:
                raise unreadable(str(self.folder), error) from None
            status = os.fstat(held)
            if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
                os.close(held)
                raise ConfigError(
                    f"{self.folder}: another user owns it or may write there, so it is not believed: move it away"
                )
            self._held = held
        return Path(f"/proc/self/fd/{self._held}")

    def _unwritable(self, error: OSError) -> ConfigError:
        return unwritable(Host(Path("/")), str(self.folder), error)


def digest_of(text: str) -> str:
    """By which a text is known again."""
    return hashlib.sha256(text.encode()).hexdigest()


def _locks(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _shown(record: Record) -> dict[str, Any]:
    wanted = record.wanted
    return {
        "version": _VERSION,
        "runtime": record.runtime,
        "url": wanted.url,
        "registries": list(wanted.registries),
        "every": wanted.every,
        "then": list(wanted.then),
        "files": {
            path: {"added": each.added, "digest": each.digest, "existed": each.existed, "at_once": each.at_once}
            for path, each in record.files.items()
        },
        "folders": list(record.folders),
        "restart": list(record.restart),
    }


def _parsed(read: dict[str, Any]) -> Record:
    if read["version"] > _VERSION:
        raise ValueError(f"it has version {read['version']}, of a newer skvaller")
    files = {
        path: Written(each["added"], each["digest"], each["existed"], each["at_once"])
        for path, each in read["files"].items()
    }
    wanted = Wanted(read["url"], tuple(read["registries"]), read["every"], tuple(read["then"]))
    return Record(read["runtime"], wanted, files, tuple(read["folders"]), tuple(read["restart"]))
