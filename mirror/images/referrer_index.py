"""The referrers of which this node holds the manifests, by their subjects.

A manifest says what it refers to, so what is held tells all: what arrives is noted as it is read, and what a start
finds is read once. The directory of the cluster has a key for each subject, so that nobody is asked who knows nothing.
"""

import asyncio
import contextlib
import hashlib
import logging
from collections import OrderedDict
from typing import Final

from ..errors import Corrupt, StorageFailed
from ..oci.digest import Digest
from ..oci.manifest import Outline, outline
from ..oci.referrers import Entry, entry
from .holdings import Holdings

log = logging.getLogger(__name__)

_SUBJECTS_MAX: Final = 16_384
"""Bounds the subjects that are remembered: signed images of a large cache."""
_REFERRERS_MAX: Final = 256
"""Bounds the referrers of one subject: images have a handful."""
_READ_MAX_BYTES: Final = 64 * 1024
"""Size up to which content is read at a start, in bytes. Manifests that refer to others have some 1,000."""
_MARK: Final = b'"subject"'
_BATCH: Final = 64
"""Files that are looked at in one turn of the event loop: some milliseconds."""


class ReferrerIndex:
    """Who refers to whom, of what is held.

    Args:
        holdings: what this node's stores hold.
    """

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._entries: OrderedDict[Digest, dict[Digest, Entry]] = OrderedDict()
        self._reading: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Read what is held already, beside all else."""
        self._reading = asyncio.create_task(self._read_logged(), name="referrers")

    async def close(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])

    def note(self, digest: Digest, size: int, found: Outline) -> None:
        """Take note of a manifest that was read, if it refers to another one and is held here."""
        if (subject := found.subject) is None or not self._holdings.has(digest):
            return
        known = self._entries.get(subject)
        if known is None:
            known = self._entries[subject] = {}
            self._holdings.appeared([key_of(subject)])
        known.pop(digest, None)
        known[digest] = entry(digest, size, found)
        if len(known) > _REFERRERS_MAX:
            del known[next(iter(known))]
        self._entries.move_to_end(subject)
        if len(self._entries) > _SUBJECTS_MAX:
            self._forget(next(iter(self._entries)))

    def holds(self, digest: Digest) -> bool:
        """Whether some content is held here."""
        return self._holdings.has(digest)

    def of(self, subject: Digest) -> list[Entry]:
        """The referrers of a subject that are held now."""
        known = self._entries.get(subject, {})
        for gone in [digest for digest in known if not self._holdings.has(digest)]:
            del known[gone]
        if subject in self._entries and not known:
            self._forget(subject)
        return list(known.values())

    def _forget(self, subject: Digest) -> None:
        del self._entries[subject]
        self._holdings.vanished([key_of(subject)])

    async def _read_logged(self) -> None:
        try:
            await self.read()
        except Exception:  # the root of a task: a bug here must not go unseen
            log.exception("what is held is not looked through for referrers")

    async def read(self) -> None:
        """Note all that the stores hold now."""
        for number, digest in enumerate(self._holdings.named(), 1):
            with contextlib.suppress(Corrupt, StorageFailed):
                body = await self._small(digest)
                if _MARK in body and (found := outline(body)) is not None:
                    self.note(digest, len(body), found)
            if number % _BATCH == 0:
                await asyncio.sleep(0)

    async def _small(self, digest: Digest) -> bytes:
        """Content, if it is small; else nothing."""
        held = self._holdings.open(digest)
        if held is None:
            return b""
        with held:
            return await held.read() if held.size <= _READ_MAX_BYTES else b""


def key_of(subject: Digest) -> bytes:
    """The 32 bytes under which the cluster's directory knows that somebody holds referrers of a subject."""
    return hashlib.sha256(b"skvaller:referrers:" + str(subject).encode()).digest()
