"""The cache's folder: where each file is, and what a start and a stop do to all of them.

    <folder>/blobs/sha256/ab/abcdef…   complete and verified; the modification time is when it was last used
    <folder>/proofs/ab/abcdef…         the proof of a complete blob: see `stores.proofs`
    <folder>/spool/abcdef…             arriving, or left partial by a fetch that ended
    <folder>/spool/abcdef….pieces      its journal: the size, then the sha256 of everything up to the end of each piece
    <folder>/spool/discarded-7         about to be deleted
    <folder>/tags/<hex>                what a tag was last known to mean, one JSON object a file
    <folder>/running                   the boot in which an agent last had the folder open; gone after a clean stop

Each name is made from a parsed digest or from a hash, never from a client's text. Methods block, so they run in
threads, unless their docstring names the event loop.
"""

import asyncio
import contextlib
import hashlib
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ...errors import DigestInvalid
from ...oci.digest import Digest
from .journal import read_size

log = logging.getLogger(__name__)

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Folder:
    """The files of one cache.

    Args:
        path: made where missing; must be writable and on one file system.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tags = path / "tags"
        self._blobs = path / "blobs" / "sha256"
        self._proofs = path / "proofs"
        self._spool = path / "spool"
        self._running = path / "running"
        self._discarded = 0

    def blob(self, name: str) -> Path:
        """The file of a complete blob, named by the hex of its digest."""
        return self._blobs / name[:2] / name

    def proof(self, name: str) -> Path:
        """The record of the proof of a complete blob."""
        return self._proofs / name[:2] / name

    def partial(self, name: str) -> Path:
        """The file of a blob that is not complete."""
        return self._spool / name

    def journal(self, name: str) -> Path:
        """The journal of a blob that is not complete."""
        return self._spool / f"{name}.pieces"

    def open(self) -> bool:
        """Make what is missing, and mark the folder as in use.

        Returns:
            Whether its files can be trusted as they are: the last stop was clean, or only the process died. After a
            power failure they cannot: a file's name may have reached the disk before its bytes.
        """
        for part in (self._blobs, self._spool, self.tags):
            part.mkdir(parents=True, exist_ok=True)
        boot = _BOOT_ID.read_text() if _BOOT_ID.exists() else "unknown"
        trusted = not self._running.exists() or self._running.read_text() == boot
        self._running.write_text(boot)
        return trusted

    def close(self) -> None:
        """Write everything to disk, and mark the stop as clean."""
        os.sync()
        self._running.unlink(missing_ok=True)

    def blobs(self) -> Iterator[tuple[float, str, int]]:
        """Every complete blob as `(last used, name, size)`: Unix time in seconds, hex of the digest, bytes."""
        for entry in self._blobs.glob("??/*"):
            try:
                Digest.parse(f"sha256:{entry.name}")
                status = entry.stat()
                regular = stat.S_ISREG(status.st_mode)
            except (DigestInvalid, OSError):
                regular = False
            if not regular:
                log.warning("%s is no cached blob: ignored", entry)
                continue
            yield status.st_mtime, entry.name, status.st_size

    def partials(self) -> dict[str, int]:
        """Every partial blob that the next fetch can continue, with its size in bytes."""
        partials = {}
        for journal in sorted(self._spool.glob("*.pieces")):
            name = journal.name.removesuffix(".pieces")
            size, file = read_size(journal), self.partial(name)
            if file.is_file() and file.stat().st_size == size:
                partials[name] = size
        return partials

    def remove_leftovers(self, partials: dict[str, int]) -> None:
        """Delete everything in the spool except these partial blobs."""
        for leftover in self._spool.iterdir():
            if leftover.name.removesuffix(".pieces") not in partials:
                leftover.unlink()

    def sha256(self, name: str) -> str:
        """Read a complete blob; return the hexadecimal sha256 of what is there."""
        with self.blob(name).open("rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def publish(self, name: str) -> None:
        """Let a file that is complete become a blob, by one rename; on the event loop."""
        path = self.blob(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self.partial(name), path)
        _unlink(self.journal(name))

    def discard_blob(self, name: str) -> asyncio.Future[None]:
        """Delete a complete blob; on the event loop. The future is done when its bytes are free."""
        return self._discard(self.blob(name))

    def discard_partial(self, name: str) -> asyncio.Future[None]:
        """Delete a partial blob and its journal; on the event loop. The future is done when its bytes are free."""
        _unlink(self.journal(name))
        return self._discard(self.partial(name))

    def _discard(self, path: Path) -> asyncio.Future[None]:
        """Free the file's name at once, for the next file, and its bytes, which may take long, in a thread."""
        self._discarded += 1
        trash = self._spool / f"discarded-{self._discarded}"
        with contextlib.suppress(OSError):
            path.replace(trash)
        return asyncio.get_running_loop().run_in_executor(None, _unlink, trash)


def _unlink(path: Path) -> None:
    """Delete a file, if it is there and the disk allows it; what stays is deleted at the next start."""
    with contextlib.suppress(OSError):
        path.unlink()
