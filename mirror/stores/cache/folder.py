"""The cache's folder: where each file is, and what a start does to all of them.

    <folder>/blobs/sha256/ab/abcdef…   complete and verified; the time of access is when a client of this node
                                      last used it, or 0 if none did; beside that a folder for sha512
    <folder>/proofs/ab/abcdef…         its proof: see `stores.proofs`
    <folder>/proofs/ab/abcdef….<boot>  the same, which only this boot of the machine may believe: see `records`
    <folder>/private/ab/abcdef…        its mark, if it needed credentials where it came from: see `marks`
    <folder>/spool/abcdef…             arriving, or left partial by a fetch that ended
    <folder>/spool/abcdef….ranges     what is there beyond that: see `ranges`
    <folder>/spool/abcdef….pieces      its journal: the size, then the sha256 of everything up to the end of each piece
    <folder>/spool/upload-4f3a…        arriving from a client that says at the end what it is: see `uploads`
    <folder>/spool/discarded-7         about to be deleted
    <folder>/tags/<hex>                what a tag was last known to mean

Each name is made from a parsed digest or from a hash, never from a client's text. Methods block, so they run in
threads, unless their docstring names the event loop.
"""

import asyncio
import contextlib
import functools
import itertools
import logging
import os
import stat
import threading
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ...errors import DigestInvalid
from ...oci.digest import Algorithm, Digest
from ..proofs import Proof
from .journal import read_size

log = logging.getLogger(__name__)

_changes = ThreadPoolExecutor(1, thread_name_prefix="cache files")
"""Deletes files and keeps proofs, in turn. Not one of the loop's own threads: these may wait for space."""


@dataclass(frozen=True, slots=True)
class Found:
    """A complete blob, as a start finds it.

    Args:
        used_unix_s: when a client of this node last used it, Unix time; 0 if only other members asked for it.
        name: the hex of its digest.
        size: in bytes.
        is_proven: whether a proof of it is here; then it was found right before it became a blob.
        is_synced: whether that proof outlasts a power failure.
    """

    used_unix_s: float
    name: str
    size: int
    is_proven: bool
    is_synced: bool = False


@dataclass(frozen=True, slots=True)
class Left:
    """A partial blob that a fetch left.

    Args:
        size: of the blob, in bytes.
        reserved: bytes that it takes on the disk.
    """

    size: int
    reserved: int


class Ground:
    """The folders in which the files are.

    Args:
        path: of the one that holds the others.
        folders: all of them, each after the one that holds it.
        probe: a file that may be made and deleted at any time.
    """

    def __init__(self, path: Path, folders: Sequence[Path], probe: Path) -> None:
        self._path = path
        self._folders = folders
        self._probe = probe
        self._made: list[tuple[int, int]] = []
        """Device and inode of each folder, as it was made or found."""

    def make(self) -> None:
        """Make what is missing; nobody but this user may look into it, for names tell what runs here."""
        for folder in self._folders:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path.chmod(0o700)  # an earlier version may have made it
        self.probe()
        self._made = [_identity(folder) for folder in self._folders]

    def probe(self) -> None:
        """Make a file and delete it; raises now what would else be raised by the next fetch."""
        self._probe.write_bytes(b"")
        self._probe.unlink()

    def is_whole(self) -> bool:
        """Whether all folders are what they were; else somebody removed one, or another has taken its place."""
        try:
            return [_identity(folder) for folder in self._folders] == self._made
        except FileNotFoundError:
            return False

    def free_bytes(self) -> int:
        """Bytes that the disk has left for this user."""
        status = os.statvfs(self._path)
        return status.f_bavail * status.f_frsize


class Folder:
    """The files of one cache.

    Args:
        path: made where missing; must be writable and on one file system.
        on_discarded: is called with the names of complete blobs that go.
    """

    def __init__(self, path: Path, on_discarded: Callable[[Sequence[str]], None] = lambda names: None) -> None:
        self.path = path
        self._on_discarded = on_discarded
        self.tags = path / "tags"
        self._blobs = {algorithm: path / "blobs" / algorithm for algorithm in Algorithm}
        self._blobs_paths = {algorithm.digits: str(folder) for algorithm, folder in self._blobs.items()}
        """By the length of the names in it."""
        self._proofs = path / "proofs"
        self.private = path / "private"
        self._spool = path / "spool"
        self._serial = itertools.count(1)
        self._doomed: set[str] = set()
        """Complete blobs that are to be deleted."""
        self._renaming = threading.Lock()
        """Held for a rename: whether a name is doomed, and which file has it, change together."""
        self._last_change: asyncio.Future[None] | None = None
        self.ground = Ground(
            path,
            (path, *self._blobs.values(), self._proofs, self.private, self._spool, self.tags),
            self._spool / "discarded-0",
        )

    def blob(self, name: str) -> Path:
        """The file of a complete blob, named by the hex of its digest."""
        return Path(self.blob_path(name))

    def blob_path(self, name: str) -> str:
        """The same as text, for every request needs it: making a `Path` takes longer than opening the file."""
        return f"{self._blobs_paths[len(name)]}/{name[:2]}/{name}"

    def proof(self, name: str) -> Path:
        """The record of the proof of a complete blob."""
        return self._proofs / name[:2] / name

    def proof_of_this_boot(self, name: str) -> Path:
        """The same, while the blob may not be on the disk; another boot of the machine has another name for it."""
        return self._proofs / name[:2] / f"{name}.{boot_id()}"

    def mark(self, name: str) -> Path:
        """The mark of a blob, complete or not."""
        return self.private / name[:2] / name

    def partial(self, name: str) -> Path:
        """The file of a blob that is not complete."""
        return self._spool / name

    def ranges(self, name: str) -> Path:
        """What is there of a blob that is not complete, beyond what its journal says."""
        return self._spool / f"{name}.ranges"

    def journal(self, name: str) -> Path:
        """The journal of a blob that is not complete."""
        return self._spool / f"{name}.pieces"

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those complete blobs whose files are gone."""
        return [name for name in names if not os.path.lexists(self.blob_path(name))]

    def blobs(self) -> Iterator[Found]:
        """Every complete blob, in no order."""
        entries = ((algorithm, entry) for algorithm, path in self._blobs.items() for entry in path.glob("??/*"))
        for algorithm, entry in entries:
            try:
                Digest.parse(f"{algorithm}:{entry.name}")
                status = entry.stat()
                regular = stat.S_ISREG(status.st_mode)
            except (DigestInvalid, OSError):
                regular = False
            if not regular:
                log.warning("%s is no cached blob: ignored", entry)
                continue
            is_synced = _is_proof(self.proof(entry.name), status.st_size)
            is_proven = is_synced or _is_proof(self.proof_of_this_boot(entry.name), status.st_size)
            yield Found(status.st_atime, entry.name, status.st_size, is_proven, is_synced)

    def partials(self) -> dict[str, Left]:
        """Every partial blob that the next fetch can continue."""
        partials: dict[str, Left] = {}
        for journal in sorted(self._spool.glob("*.pieces")):
            name = journal.name.removesuffix(".pieces")
            size, file = read_size(journal), self.partial(name)
            if file.is_file() and (status := file.stat()).st_size == size:
                partials[name] = Left(size, min(size, status.st_blocks * 512))
        return partials

    def remove_leftovers(self, partials: Collection[str], blobs: Collection[str]) -> None:
        """Delete what is in the spool but these partial blobs, and all proofs and marks but those that count."""
        for leftover in self._spool.iterdir():
            if leftover.name.removesuffix(".pieces").removesuffix(".ranges") not in partials:
                leftover.unlink()
        for proof in self._proofs.glob("??/*"):
            if proof.stem not in blobs or proof.suffix not in ("", f".{boot_id()}"):
                _unlink(proof)
        for mark in marks_in(self.private):
            if mark.name not in blobs and mark.name not in partials:
                _unlink(mark)

    def publish(self, name: str, arrived_as: str | None = None) -> None:
        """Let a file that is complete become a blob, by one rename; on the event loop.

        Args:
            name: of the blob.
            arrived_as: the name of the file, if that is another.
        """
        path, arrived_as = self.blob(name), arrived_as or name
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._renaming:
            os.replace(self.partial(arrived_as), path)
            self._doomed.discard(name)
        _unlink(self.journal(arrived_as))

    def discard_blobs(self, names: Sequence[str]) -> asyncio.Future[None]:
        """Delete complete blobs and their proofs in a thread; called on the event loop.

        A new blob of one of these names may be published at any moment: then that one stays.

        Returns:
            Is done when their bytes are free.
        """
        self._doomed.update(names)
        self._on_discarded(names)
        return self.in_turn(lambda: self._delete(names))

    def _delete(self, names: Sequence[str]) -> None:
        for name in names:
            with self._renaming:
                if name not in self._doomed:
                    continue
                self._doomed.discard(name)
                aside = self._put_aside(self.blob(name))
                _unlink(self.proof(name))
                _unlink(self.proof_of_this_boot(name))
                if not os.path.lexists(self.partial(name)):  # it may be arriving anew
                    _unlink(self.mark(name))
            _unlink(aside)

    def discard_partial(self, name: str) -> asyncio.Future[None]:
        """Delete a partial blob and its journal; on the event loop. The future is done when its bytes are free."""
        _unlink(self.journal(name))
        _unlink(self.ranges(name))
        aside = self._put_aside(self.partial(name))
        is_of_blob = len(name) in self._blobs_paths  # else it is an upload, of which nobody knows yet what it is

        def delete() -> None:
            with self._renaming:
                if is_of_blob and not self.partial(name).exists() and not self.blob(name).exists():
                    _unlink(self.mark(name))
            _unlink(aside)

        return self.in_turn(delete)

    def in_turn(self, work: Callable[[], object]) -> asyncio.Future[None]:
        """Do short work on files in a thread, after all that was asked for earlier; on the event loop."""

        def run() -> None:
            work()

        future = asyncio.get_running_loop().run_in_executor(_changes, run)
        self._last_change = future
        return future

    async def settled(self) -> None:
        """Wait until all of that is done."""
        if self._last_change is not None:
            await asyncio.gather(self._last_change, return_exceptions=True)

    def _put_aside(self, path: Path) -> Path:
        """Free a file's name at once, for the next file; its bytes, whose freeing may take long, are freed later."""
        trash = self._spool / f"discarded-{next(self._serial)}"
        with contextlib.suppress(OSError):
            path.replace(trash)
        return trash


def marks_in(private: Path) -> Iterator[Path]:
    """Every mark in the folder of marks, in no order."""
    for path in private.glob("??/*"):
        if path.suffix:  # being written when the process was killed
            _unlink(path)
        else:
            yield path


def _is_proof(path: Path, size: int) -> bool:
    """Whether there is a proof of a file of this size, all of it right."""
    try:
        return Proof.read(path, size) is not None
    except OSError:
        return False


@functools.cache
def boot_id() -> str:
    """What tells this boot of the machine from all others; where the kernel does not say, this process from others."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return str(uuid.uuid4())


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def open_quietly(path: str | Path, flags: int) -> int:
    """Open a file; that it is read leaves its time of access alone, where this user may have it so."""
    try:
        return os.open(path, flags | os.O_CLOEXEC | os.O_NOATIME, 0o600)
    except PermissionError:
        return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _unlink(path: Path) -> None:
    """Delete a file, if it is there and the disk allows it; what stays is deleted at the next start."""
    with contextlib.suppress(OSError):
        path.unlink()
