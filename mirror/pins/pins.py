"""Pins: what this node is ordered to pin and hears that others were, written down and told.

A pin of a tag stays with the digest that the tag meant when it was pinned: what was found whole for a cut line must not
change because a registry moves a tag. It moves when the tag is pinned again, which a push or a load does by itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from ..oci.digest import Digest
from ..oci.names import COPIES_MAX, ImageName, parse_name
from ..oci.platforms import are_platforms
from ..oci.reference import Reference
from ..routers import NOTE_MAX_BYTES
from ..settings import PinSettings
from .book import Book, PinRefused
from .files import PinFiles
from .records import Record, encode

Resolve = Callable[[Reference], Awaitable[Digest]]
"""Finds out what a tag means; raises MirrorError."""


class Pins:
    """What is pinned.

    Args:
        book: has the records.
        files: keep them.
        tell: tells one record to all members.
        resolve: finds out what a tag means.
        platform: of this node, for pins that name none.
        settings: bounds.
    """

    def __init__(
        self,
        book: Book,
        files: PinFiles,
        tell: Callable[[bytes], None],
        resolve: Resolve,
        platform: str,
        settings: PinSettings,
    ) -> None:
        self.book = book
        self.platform = platform
        self.changed = asyncio.Event()
        """Set when something was pinned, unpinned, or heard."""
        self._files = files
        self._tell = tell
        self._resolve = resolve
        self._settings = settings
        self._written = 0

    def restore(self) -> None:
        """Take in what an earlier process wrote down. Blocks."""
        self.book.hear(self._files.read_records())
        self._written = self.book.changes

    async def pin(
        self,
        name: str,
        copies: int | None = None,
        *,
        digest: Digest | None = None,
        platforms: Sequence[str] | None = (),
    ) -> Record:
        """Pin an image, or all that match a pattern, and write that down; of what is pinned already renew the meaning.

        Args:
            name: as a person writes it.
            copies: on how many members; `records.ALL`: on every one; None: as many as before, or as usual.
            digest: what the tag means; None: that is found out.
            platforms: of an index, which are kept; empty: all; None: this node's.

        Raises:
            PinRefused: it cannot be pinned so.
            NameInvalid, DigestInvalid: it names nothing.
            MirrorError: nobody knows the tag.
            OSError: it cannot be written down.
        """
        wanted = parse_name(name)
        platforms = (self.platform,) if platforms is None else platforms
        known = self.book.record(wanted.text)
        if copies is None:
            copies = self._settings.copies if known is None or known.is_removed else known.copies
        if not 0 <= copies <= COPIES_MAX:
            raise PinRefused(f"copies: {copies} is not allowed; give 1 to {COPIES_MAX}, or all")
        if not are_platforms(platforms):
            raise PinRefused("platform: give os/architecture, such as linux/amd64, 16 of them at most")
        if isinstance(wanted, ImageName) and digest is None:
            digest = await self.resolve(wanted)
        meaning = digest if isinstance(wanted, ImageName) and wanted.reference is not None else None
        record = self.book.pin(wanted.text, copies, digest=meaning, platforms=platforms)
        self.tell_of([record])
        await self.write()
        return record

    async def unpin(self, name: str, *, is_forced: bool = False) -> list[Record]:
        """Pin something no more, and write that down; return what is gone. See `Book.unpin`.

        Raises:
            PinRefused: it is not pinned, or stands in the settings of a node.
            NameInvalid, DigestInvalid: it names nothing.
            OSError: it cannot be written down.
        """
        gone = self.book.unpin(parse_name(name).text, is_forced=is_forced)
        self.tell_of(gone)
        await self.write()
        return gone

    async def resolve(self, name: ImageName) -> Digest:
        """The digest of an image, by its tag if need be; raise MirrorError if nobody knows it."""
        if name.digest is not None:
            return name.digest
        assert name.reference is not None
        return await self._resolve(name.reference)

    def heard(self, payload: bytes) -> None:
        """Take in what another member says."""
        if self.book.hear(payload):
            self.changed.set()

    def state(self) -> bytes:
        """What a member should know."""
        return self.book.state()

    def tell_of(self, records: Sequence[Record]) -> None:
        """Tell all members what is new here."""
        for record in records:
            note = encode([record])
            if len(note) <= NOTE_MAX_BYTES:  # else the next full exchanges tell it
                self._tell(note)
        self.changed.set()

    async def write(self) -> None:
        """Write down what is new; raise OSError if the disk does not take it."""
        changes = self.book.changes
        if changes != self._written:
            await self._files.write_records(self.book.state())
            self._written = changes
