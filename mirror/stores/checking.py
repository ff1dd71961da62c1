"""Checking: bytes of files are checked before they leave, again each time they come from the disk.

The kernel says which bytes are in its page cache. What is there, and was checked since the file was last changed,
leaves as it is; everything else is read and compared with the file's proof in a thread. Then it is in the page cache.

A file whose proof is not known is hashed as a whole first, which makes the proof. A hash that nobody waits for any more
stops, and whoever asks next goes on from there. What is known is kept in memory, a bounded amount; what was forgotten
costs one more check. Whoever reads a file keeps what is known of it to the end, for the file may have lost its name,
and its record, meanwhile.

Between a check and the moment when the kernel sends the bytes, pages may leave the page cache and be read once more.
That takes a machine short of memory and a disk that gives other bytes the second time.
"""

import asyncio
import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import xxhash

from ..errors import Corrupt, StorageFailed
from ..fileio import EndedEarly, cached, read_parts, tells_of_file, to_its_end
from ..oci.digest import Digest
from ..settings import CheckSettings
from .proofs import ContentHasher, Proof, block_count, block_size
from .shared import Shared

T = TypeVar("T")

_THREADS = 4
"""Bounds the reads of cold bytes at once: more than one disk answers at a time, and few enough for the interpreter."""

_HASHES = 2
"""Bounds the files that are hashed as a whole at once. Each takes seconds: checks, which take milliseconds, never wait
behind them."""

_BEGUN_MAX = 16
"""Bounds the hashes that were begun and are kept for whoever asks next. Each takes some MB at most."""

_threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="check")
_hash_threads = ThreadPoolExecutor(_HASHES, thread_name_prefix="hash")
_idle_thread = ThreadPoolExecutor(1, thread_name_prefix="scrub", initializer=lambda: _give_way())
"""For reading that nobody waits for."""


class Identity(tuple[int, int, int, int]):
    """What tells one state of a file from another: device, inode, size in bytes, time of its last change in ns.

    The time is ctime, which no program can set back.
    """

    __slots__ = ()

    @classmethod
    def of(cls, file: int | Path) -> "Identity":
        """Of an open file, or of the one that has a name now."""
        status = os.stat(file)
        return cls((status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns))

    @property
    def size(self) -> int:
        """In bytes."""
        return self[2]

    def is_same_file(self, other: "Identity") -> bool:
        """Whether both are states of one file; as long as it is open, no other file has its inode."""
        return self[:2] == other[:2]


class Records(Protocol):
    """Where a store keeps proofs over a restart."""

    def load(self, digest: Digest, size: int) -> Proof | None:
        """The proof of some content; None if there is none, or it is damaged. Blocks; called in threads."""
        ...

    def save(self, digest: Digest, proof: Proof) -> None:
        """Keep a proof of what the store still has, as far as the disk allows it. On the event loop; never waits."""
        ...


class Nowhere:
    """The records of a store that keeps none."""

    def load(self, digest: Digest, size: int) -> Proof | None:
        """Know nothing."""
        return None

    def save(self, digest: Digest, proof: Proof) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a store is told about its files; the calls come on the event loop, while the file is open.

    Args:
        corrupt: a file, as it was when it was looked at, is not the content of a digest; and what is wrong with it.
        failed: the disk did not give a file. Of errors that say nothing of the file the store is not told.
    """

    corrupt: Callable[[Digest, Identity, str], None]
    failed: Callable[[Digest, OSError], None]


@dataclass(slots=True)
class _Known:
    """What is known of one file: its proof, and a byte for each block that says whether it was checked (1) or not."""

    identity: Identity
    proof: Proof
    checked: bytearray

    @property
    def memory_bytes(self) -> int:
        return 300 + len(self.checked) + len(self.proof.blocks) + 70 * len(self.proof.prefixes)


class Checker:
    """Checks the files of one store.

    Args:
        findings: is told what is wrong with a file.
        records: keeps proofs over a restart.
        settings: bounds.
    """

    def __init__(self, findings: Findings, records: Records, settings: CheckSettings) -> None:
        self._findings = findings
        self._records = records
        self._settings = settings
        self._known: OrderedDict[Digest, _Known] = OrderedDict()
        """The least recently used first."""
        self._known_bytes = 0
        self._hashing: Shared[tuple[Digest, Identity], _Known] = Shared()
        self._begun: OrderedDict[tuple[Digest, Identity], ContentHasher] = OrderedDict()
        """How far files were hashed; the one that stopped first comes first."""

    async def close(self) -> None:
        """Stop hashing files."""
        await self._hashing.close()

    def know(self, digest: Digest, identity: Identity, proof: Proof) -> None:
        """Take note of the proof of a file that was hashed just now, and found right."""
        self._remember(digest, _Known(identity, proof, bytearray(b"\1" * block_count(proof.size))))

    def touched(self, digest: Digest, before: Identity, after: Identity) -> None:
        """Take note that the store itself changed a file's times, and nothing else."""
        known = self._known.get(digest)
        if known is not None and known.identity == before:
            known.identity = after

    def forget(self, digest: Digest) -> None:
        """Forget a file that is gone."""
        known = self._known.pop(digest, None)
        if known is not None:
            self._known_bytes -= known.memory_bytes

    async def look_up(self, digest: Digest, fd: int, size: int, before: _Known | None = None) -> _Known | None:
        """What is known of an open file; None if no proof of it is here.

        Args:
            digest: of the content.
            fd: the file.
            size: in bytes, that it must have.
            before: what was known of it when its reader began.

        Raises:
            Corrupt: it has another size.
            StorageFailed: that cannot be told.
        """
        identity = self._expected(digest, fd, size)
        if before is not None and before.identity == identity:
            return before
        known = self._known.get(digest)
        if known is None and before is not None:  # forgotten meanwhile, and perhaps gone: it is the reader's alone
            return _Known(identity, before.proof, bytearray(len(before.checked)))
        proof = known.proof if known else await _in_thread(self._records.load, digest, identity.size)
        known = self._known.get(digest)
        if known is not None and known.identity == identity:
            self._known.move_to_end(digest)
            return known
        if proof is None:
            return None  # of a file that has changed, or that is new here, nothing was checked since
        return self._remember(digest, _Known(identity, proof, bytearray(block_count(proof.size))))

    async def known(self, digest: Digest, fd: int, size: int, before: _Known | None = None) -> _Known:
        """As `look_up`; where no proof is here, the file is hashed, which makes one.

        Raises:
            Corrupt: the file is not the content.
            StorageFailed: it cannot be read.
        """
        known = await self.look_up(digest, fd, size, before)
        return known or await self._prove(digest, fd, self._expected(digest, fd, size), _hash_threads)

    async def ready(self, digest: Digest, fd: int, known: _Known, start: int, stop: int) -> int:
        """Check some bytes from `start` on; return the end of what may leave now. See `held.Checks`."""
        size = known.proof.size
        block = block_size(size)
        end = min(stop, start + self._settings.warm_bytes)
        first, last = start // block, (end - 1) // block
        if known.checked.find(0, first, last + 1) < 0 and _resident(fd, first * block, min((last + 1) * block, size)):
            return end
        end = min(stop, start + max(self._settings.cold_bytes, block))
        last = (end - 1) // block
        await self._check(digest, fd, known, first, last + 1)
        return end

    async def verify(self, digest: Digest, fd: int, size: int) -> None:
        """Hash a whole file once more, whatever is known of it.

        Raises:
            Corrupt, StorageFailed: as `known` does.
        """
        identity = self._expected(digest, fd, size)
        self._begun.pop((digest, identity), None)
        await self._prove(digest, fd, identity, _hash_threads)

    async def scrub(self, digest: Digest, fd: int, size: int) -> AsyncGenerator[int, None]:
        """Check a whole file step by step, for nobody in particular; what was not in the page cache stays out of it.

        Yields:
            How many bytes were looked at, after each step.

        Raises:
            Corrupt, StorageFailed: as `known` does.
        """
        known = await self.look_up(digest, fd, size)
        if known is None:
            await self._prove(digest, fd, self._expected(digest, fd, size), _idle_thread)
            yield size
            return
        step = max(1, self._settings.read_bytes * 4 // block_size(size))
        for first in range(0, block_count(size), step):
            stop = min(first + step, block_count(size))
            self._expected(digest, fd, size)
            await self._check(digest, fd, known, first, stop, is_idle=True)
            yield (stop - first) * block_size(size)

    def _expected(self, digest: Digest, fd: int, size: int) -> Identity:
        """What the file is now, if it has the size that it must have."""
        try:
            identity = Identity.of(fd)
        except OSError as error:
            raise self._failed(digest, error) from error
        if identity.size != size:
            raise self._corrupt(digest, identity, f"has {identity.size} bytes, not {size}")
        return identity

    def _remember(self, digest: Digest, known: _Known) -> _Known:
        self.forget(digest)
        self._known[digest] = known
        self._known_bytes += known.memory_bytes
        while self._known_bytes > self._settings.memory_bytes and len(self._known) > 1:
            self.forget(next(iter(self._known)))
        return known

    async def _check(
        self, digest: Digest, fd: int, known: _Known, first: int, stop: int, *, is_idle: bool = False
    ) -> None:
        """Check the blocks from `first` to `stop`, without those that were checked and are in memory.

        The kernel reads ahead of what is asked for. So where a block comes from the disk, those behind it may be in
        memory a moment later without having been checked: they count as unchecked from then on.
        """
        block = block_size(known.proof.size)
        if not _resident(fd, first * block, min(stop * block, known.proof.size)):
            known.checked[first:] = bytes(len(known.checked) - first)
        try:
            checked, buffer = bytes(known.checked[first:stop]), bytearray(self._settings.read_bytes)
            look = _first_wrong_in_passing if is_idle else _first_wrong
            pool = _idle_thread if is_idle else _threads
            wrong = await _in_thread(look, fd, known.proof, checked, first, buffer, pool=pool)
        except OSError as error:
            raise self._failed(digest, error) from error
        if wrong is not None:
            raise self._corrupt(digest, known.identity, f"block {wrong} does not have its checksum")
        known.checked[first:stop] = b"\1" * (stop - first)

    async def _prove(self, digest: Digest, fd: int, identity: Identity, pool: ThreadPoolExecutor) -> _Known:
        """Hash a whole file; all who ask for it at the same time wait for one hash."""
        return await self._hashing.result((digest, identity), lambda: self._hash(digest, fd, identity, pool))

    async def _hash(self, digest: Digest, fd: int, identity: Identity, pool: ThreadPoolExecutor) -> _Known:
        hashed = self._begun.pop((digest, identity), None) or ContentHasher(identity.size, digest.algorithm)
        try:
            fd = os.dup(fd)  # whoever asked first may close its own before the others have what they wait for
            try:
                await _hash_on(fd, hashed, identity.size, bytearray(self._settings.read_bytes), pool)
                if hashed.position != identity.size or hashed.digest != digest:
                    raise self._corrupt(digest, identity, f"has the digest {hashed.digest}")
            finally:
                os.close(fd)
        except OSError as error:
            raise self._failed(digest, error) from error
        except asyncio.CancelledError:
            self._begun[digest, identity] = hashed
            while len(self._begun) > _BEGUN_MAX:
                self._begun.popitem(last=False)
            raise
        known = _Known(identity, hashed.proof(), bytearray(b"\1" * block_count(identity.size)))
        self._records.save(digest, known.proof)
        return self._remember(digest, known)

    def _corrupt(self, digest: Digest, identity: Identity, what: str) -> Corrupt:
        self.forget(digest)
        self._findings.corrupt(digest, identity, what)
        return Corrupt(f"the file of {digest} {what}")

    def _failed(self, digest: Digest, error: OSError) -> StorageFailed:
        if tells_of_file(error):
            self._findings.failed(digest, error)
        return StorageFailed(f"{digest} cannot be read: {error.strerror}")


class FileChecks:
    """The `held.Checks` of one opened file.

    Args:
        checker: of the store.
        digest: of the content.
        size: in bytes, that the file must have.
        on_use: called with the descriptor when a client of this node reads it.
    """

    __slots__ = ("_checker", "_digest", "_known", "_on_use", "_size")

    def __init__(
        self,
        checker: Checker,
        digest: Digest,
        size: int,
        on_use: Callable[[Digest, int], None] = lambda digest, fd: None,
    ) -> None:
        self._checker = checker
        self._digest = digest
        self._size = size
        self._on_use = on_use
        self._known: _Known | None = None

    async def ready(self, fd: int, start: int, stop: int) -> int:
        """See `held.Checks`."""
        self._known = await self._checker.known(self._digest, fd, self._size, self._known)
        return await self._checker.ready(self._digest, fd, self._known, start, stop)

    async def prefixes(self, fd: int) -> tuple[bytes, ...] | None:
        """See `held.Checks`."""
        known = await self._checker.look_up(self._digest, fd, self._size, self._known)
        return None if known is None else known.proof.prefixes

    async def verify(self, fd: int) -> None:
        """See `held.Checks`."""
        await self._checker.verify(self._digest, fd, self._size)

    def note_use(self, fd: int) -> None:
        """See `held.Checks`."""
        self._on_use(self._digest, fd)


async def _in_thread(function: Callable[..., T], *args: object, pool: ThreadPoolExecutor = _threads) -> T:
    """Run work in a thread of this module; return only when it has ended, even if cancelled."""
    return await to_its_end(asyncio.get_running_loop().run_in_executor(pool, function, *args))


def _give_way() -> None:
    """Let this thread have processor and disk when nobody else wants them; the kernel derives both from this."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, 19)


def _resident(fd: int, start: int, stop: int) -> bool:
    try:
        return cached(fd, start, stop - start)
    except OSError:
        return False  # whoever reads it learns why


def _first_wrong(fd: int, proof: Proof, checked: bytes, first: int, buffer: bytearray) -> int | None:
    """The number of the first block that is wrong; blocks. Those that were checked and are in memory are skipped."""
    size = block_size(proof.size)
    for number, was_checked in enumerate(checked, first):
        start, stop = number * size, min((number + 1) * size, proof.size)
        if was_checked and _resident(fd, start, stop):
            continue
        checksum = xxhash.xxh3_64()
        try:
            for part in read_parts(fd, start, stop, buffer):
                checksum.update(part)
        except EndedEarly:
            return number
        if checksum.digest() != proof.block(number):
            return number
    return None


def _first_wrong_in_passing(fd: int, proof: Proof, checked: bytes, first: int, buffer: bytearray) -> int | None:
    """As `_first_wrong`; what was not in the page cache goes out of it again."""
    size = block_size(proof.size)
    start, stop = first * size, min((first + len(checked)) * size, proof.size)
    was_cold = not _resident(fd, start, stop)
    try:
        return _first_wrong(fd, proof, checked, first, buffer)
    finally:
        if was_cold:
            os.posix_fadvise(fd, start, stop - start, os.POSIX_FADV_DONTNEED)


async def _hash_on(fd: int, hashed: ContentHasher, size: int, buffer: bytearray, pool: ThreadPoolExecutor) -> None:
    """Hash a file in a thread, from where the hasher stands to the end. If cancelled, it soon stops where it is."""
    stop = threading.Event()
    work = pool.submit(_hash, fd, hashed, size, buffer, stop)

    def end() -> None:
        stop.set()
        work.cancel()  # if no thread has begun

    await to_its_end(asyncio.wrap_future(work), end)


def _hash(fd: int, hashed: ContentHasher, size: int, buffer: bytearray, stop: threading.Event) -> None:
    """As `_hash_on`; blocks. A file that was cut short meanwhile is hashed as far as it goes."""
    with contextlib.suppress(EndedEarly):
        for part in read_parts(fd, hashed.position, size, buffer):
            hashed.update(part)
            if stop.is_set():
                return
