"""Intake: agreeing on a blob's size, and opening the file for its bytes."""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..cluster.homes import piece_size
from ..errors import Reason, SourceError, StorageError, StorageFull
from ..fileio import in_thread
from ..oci.content import Content
from ..oci.manifest import MANIFEST_MAX_BYTES
from ..sources import SIZE_MAX_BYTES, UPSTREAM
from ..stores.proofs import Proof
from .environment import Environment
from .memory import InMemory
from .plan import Plan
from .record import Record
from .spool import DiskFile, MemoryWindow, Spool
from .spool.left import ranges_to_leave, resume_ranges

if TYPE_CHECKING:
    from ..stores import BlobWriter, HashedRange

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SizeAgreement:
    """What sources have stated about the size of one blob.

    Args:
        size: in bytes, as the first source stated it.
        stated_by: that source.
        disputed_by: sources that stated another size.
    """

    size: int
    stated_by: str
    disputed_by: frozenset[str] = frozenset()

    def disputed(self, source: str) -> "SizeAgreement":
        """A source stated another size."""
        return replace(self, disputed_by=self.disputed_by | {source})

    @property
    def wrong(self) -> str | None:
        """The member whose size is proven wrong, if it is: upstream contradicts it, or at least two members do."""
        contradicted = UPSTREAM in self.disputed_by or len(self.disputed_by) > 1
        return self.stated_by if contradicted and self.stated_by != UPSTREAM else None


class Intake:
    """Takes the size that a source states first, if nobody who knows better contradicts; compares later ones with it.

    Args:
        content: what is fetched.
        spool: gets the file.
        plan: is told the size, and what an earlier fetch left.
        record: for people.
        env: the cache, and the bound of what passes through memory.
        fetch: counted in that bound.
        is_kept: whether the cache may keep the blob.
    """

    def __init__(  # noqa: PLR0913 - the parts of one fetch that its size concerns
        self,
        content: Content,
        spool: Spool,
        plan: Plan,
        record: Record,
        env: Environment,
        fetch: InMemory,
        *,
        is_kept: bool = True,
    ) -> None:
        self._content = content
        self._spool = spool
        self._plan = plan
        self._record = record
        self._env = env
        self._fetch = fetch
        self._is_kept = is_kept
        self._agreeing = asyncio.Lock()
        self._agreement: SizeAgreement | None = None
        self._writer: BlobWriter | None = None
        self._ranges: Sequence[HashedRange] = ()
        """What may be left for the next fetch, beyond the pieces that were hashed."""
        self._failure: StorageError | OSError | None = None
        """Why there is no place. No second one is looked for: a part of the first may be held until the fetch ends."""

    async def agree(self, source: str, size: int) -> None:
        """Take the size that a source states, or compare it with the size that is known.

        Raises:
            SourceError: the size is impossible, or contradicts what was stated first.
            StorageFull: the cache has no space for the blob, and too many pass through memory already.
            OSError: the disk failed.
        """
        async with self._agreeing:
            if self._failure is not None:
                raise self._failure
            agreement = self._agreement
            if agreement is None:
                _check(size, source, self._content)
                is_confirmed = await self._env.opinion.confirms(self._content, source, size)
                try:
                    await self._open_backing_once(size, is_confirmed=is_confirmed)
                except asyncio.CancelledError:  # the flight was given up, but there may be place already
                    if self._spool.backing is not None:
                        self._take(source, size)
                    raise
                self._take(source, size)
            elif size != agreement.size:
                self._agreement = agreement.disputed(source)
                raise SourceError(
                    Reason.LENGTH, f"{source} says {size} bytes, {agreement.stated_by} said {agreement.size}"
                )

    def ended(self, source: str) -> None:
        """Take note that what a source has ends before the size that another one stated."""
        agreement = self._agreement
        if agreement is not None and agreement.stated_by != source:
            self._agreement = agreement.disputed(source)

    @property
    def is_disputed(self) -> bool:
        """Whether any source stated another size."""
        return self._agreement is not None and bool(self._agreement.disputed_by)

    @property
    def wrong_about_size(self) -> str | None:
        """The member whose size was taken and is proven wrong by others, if there is one."""
        return self._agreement.wrong if self._agreement is not None else None

    def rests_on_an_invented_size(self, senders: Iterable[str]) -> bool:
        """Whether the size that was taken is proven wrong, and nobody sends but the member that stated it."""
        member = self.wrong_about_size
        return member is not None and all(sender == member for sender in senders)

    def append_prefix(self, sha256: bytes) -> None:
        """Take note of the sha256 of everything up to the end of the next piece, so that a later fetch can resume."""
        if self._writer is not None:
            self._writer.append_prefix(sha256)

    def retracted(self) -> None:
        """Take note that bytes are fetched once more: no later fetch may resume what is on disk."""
        if self._writer is not None:
            self._writer.keep(0)

    def commit(self, proof: Proof) -> None:
        """Let the cache serve what is complete and verified.

        What passed through memory is not kept, nor is it on a disk that fails now. No reader notices.
        """
        if self._writer is None:
            return
        try:
            self._writer.commit(proof)
        except OSError as error:
            log.warning("%s is complete, but is not kept: %s", self._content.digest, error.strerror)

    async def look_for_ranges(self) -> None:
        """Find out what may be left of what was read by itself. Called when nothing more comes, before `close`."""
        if self._writer is not None and self._writer.is_open and self._spool.interest.was_read_lazily:
            with contextlib.suppress(OSError):
                self._ranges = await ranges_to_leave(self._spool)

    def close(self, *, resumable: bool) -> None:
        """Give back what is held. Bytes that were not committed are left for the next fetch to resume, or discarded."""
        self._env.memory.release(self._fetch)
        self._end_writing(resumable=resumable)

    def _end_writing(self, *, resumable: bool) -> None:
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            if writer.is_open and resumable:
                writer.leave(self._ranges)
            elif writer.is_open:
                writer.discard()
        finally:
            self._env.turns.give_back(self._content.digest.hex)

    def _take(self, source: str, size: int) -> None:
        """Take the size that a source stated, for which there is place."""
        self._agreement = SizeAgreement(size, source)
        self._plan.sized(size)
        self._record.size = size

    async def _open_backing_once(self, size: int, *, is_confirmed: bool) -> None:
        try:
            await self._open_backing(size, is_confirmed=is_confirmed)
        except (StorageError, OSError) as error:
            self._failure = error
            raise

    async def _open_backing(self, size: int, *, is_confirmed: bool) -> None:
        """Open a file in the cache, with what an earlier fetch left there; without space for it, a window in memory."""
        env, digest = self._env, self._content.digest
        if not self._is_kept:
            await self._pass_through_memory(
                size, StorageFull("the disk was full a moment ago"), is_confirmed=is_confirmed
            )
            return
        await env.turns.take(digest.hex)
        try:
            writer = self._writer = await env.cache.begin(digest, size, lambda: self._spool.interest.was_read_locally)
        except BaseException as error:
            env.turns.give_back(digest.hex)
            if not isinstance(error, StorageError):
                raise
            await self._pass_through_memory(size, error, is_confirmed=is_confirmed)
            return
        backing = DiskFile(
            writer.fd, size, writer.reserve, lambda: self._spool.interest.reserve_bytes(env.settings.spool)
        )
        try:
            await _take_first_space(backing, len(writer.prefixes))
        except StorageError as error:
            self._end_writing(resumable=bool(writer.prefixes))
            backing.close()
            await self._pass_through_memory(size, error, is_confirmed=is_confirmed)
            return
        except BaseException:  # no spool closes the file, and the next source to say the size needs the turn to write
            self._end_writing(resumable=bool(writer.prefixes))
            backing.close()
            raise
        self._spool.open(backing, is_size_confirmed=is_confirmed)
        try:
            if writer.prefixes:
                good = await self._spool.resume(writer.prefixes)
                writer.keep(good // piece_size(size))
            if writer.ranges:
                await resume_ranges(self._spool, writer.ranges)
        finally:  # the flight may be given up as soon as what it was to bring is found here
            self._record.resumed = self._spool.present.byte_count
            self._plan.resumed(self._spool.present)

    async def _pass_through_memory(self, size: int, why: StorageError, *, is_confirmed: bool) -> None:
        env, digest = self._env, self._content.digest
        if not await env.memory.admit(self._fetch):
            raise StorageFull(f"{env.memory.fetches_max} blobs pass through memory already, and {why}") from why
        log.debug("%s passes through memory without being kept: %s", digest, why)
        window = MemoryWindow(size, env.settings.spool)
        # Of what the window does not hold, the digest comes too late. Its bytes are upstream's, or two holders vouch.
        self._spool.open(window, is_size_confirmed=is_confirmed or not window.holds_all)


async def _take_first_space(backing: DiskFile, resumed_pieces: int) -> None:
    """Take the first space that the blob needs, so that a full disk is known before a client gets the size.

    Raises:
        StorageError: there is none, or the disk failed.
    """
    start = min(resumed_pieces * backing.piece_bytes, backing.last_piece)
    await in_thread(backing.take_space, start, min(start + backing.piece_bytes, backing.size))


def _check(size: int, source: str, content: Content) -> None:
    """Raise SourceError if nothing can be so large."""
    most = MANIFEST_MAX_BYTES if content.kind == "manifests" else SIZE_MAX_BYTES
    if size > most:
        raise SourceError(Reason.LENGTH, f"{source} says {size} bytes: of {content.kind} at most {most} are taken")
    if (size == 0) is not content.digest.is_of_nothing:
        raise SourceError(Reason.LENGTH, f"{source} says {size} bytes, which {content.digest} cannot have")
