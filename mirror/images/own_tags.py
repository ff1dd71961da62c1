"""What this cluster's own people say that tags mean, because they pushed or loaded images here. No registry says it.

Every member keeps all of these tags, on its disk, so each of them answers, whoever is gone. A tag that is set is told
to all as a rumour, and all of them with each full exchange. Of two words about one tag the one with the higher version
counts, everywhere; of two with the same version the one with the higher digest. The version is the time in milliseconds
where clocks are right, and in any case higher than what the node knew. A tag that is deleted leaves a record that says
so, until there are too many of these.

A manifest that refers to another one (`subject`) is such a tag as well, with a name that no list shows.

Source: OCI distribution-spec, "Pushing Manifests" and "Listing Referrers".
"""

import logging
import re
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import msgspec

from ..errors import StartFailed, StorageFailed, StorageFull
from ..fileio import to_its_end
from ..oci.digest import Digest
from ..oci.reference import Reference, Repository
from ..routers import NOTE_MAX_BYTES, NOTES_MAX_BYTES, read_note
from ..settings import ImageSettings
from ..stores import Held, Listener, Tag
from .own_tag_files import VERSION_MAX, OwnTag, OwnTagFiles, Record, parsed

log = logging.getLogger(__name__)

_REFERRAL = re.compile(r"sha(?:256|512)-[0-9a-f]{64}\.[0-9a-f]{48}")
"""The name of the record that a manifest refers to another one."""


class OwnTags:
    """Keeps these tags. For this node's holdings it is a store that has tags alone.

    Args:
        folder: of the files; None: nothing is kept.
        tell: tells all members a note.
        settings: bounds.
    """

    name = "own"

    def __init__(
        self,
        folder: Path | None,
        tell: Callable[[bytes], object] = lambda note: None,
        settings: ImageSettings | None = None,
    ) -> None:
        self._files = OwnTagFiles(folder)
        self._tell = tell
        self._settings = settings or ImageSettings()
        self._tags: dict[Reference, OwnTag] = {}
        self._by_repository: dict[Repository, dict[str, OwnTag]] = {}
        self._gone: dict[Reference, None] = {}
        """Those that were deleted, the first deleted first."""
        self._listener: Listener | None = None
        self._state: list[bytes] | None = None
        self._state_at = 0

    # As a store

    async def start(self, listener: Listener) -> None:
        """Read what is on the disk.

        Raises:
            StartFailed: the folder cannot be made or read.
        """
        self._listener = listener
        try:
            found = await self._files.read()
        except OSError as error:
            raise StartFailed(f"data-dir: cannot use {error.filename}: {error.strerror}") from error
        for own in sorted(found, key=lambda own: own.order):
            if self._is_news(own):
                self._take(own)

    async def close(self) -> None:
        """Wait until all is on the disk."""
        await self._files.close()

    def open(self, digest: Digest) -> Held | None:
        """Nothing: it has tags alone."""
        return None

    def mark_redundant(self, keys: Collection[bytes]) -> None:
        """Do nothing: what was said here is said nowhere else."""

    def tag(self, reference: Reference) -> Tag | None:
        """What a tag means, if it was set by this cluster's people and not deleted."""
        own = self._tags.get(reference)
        if own is None or own.digest is None:
            return None
        return Tag(own.digest, own.set_unix_s, "pushed")

    def references(self) -> Collection[Reference]:
        """All tags."""
        names = (own.reference for own in self._tags.values() if own.digest is not None)
        return [reference for reference in names if not _REFERRAL.fullmatch(reference.tag)]

    def tags_of(self, repository: Repository) -> list[str]:
        """The tags of a repository, in any order."""
        tags = self._by_repository.get(repository, {})
        return [name for name, own in tags.items() if own.digest is not None and not _REFERRAL.fullmatch(name)]

    # For those who push

    def has_any(self, repository: Repository) -> bool:
        """Whether anything was ever pushed to a repository, as far as that is remembered."""
        return repository in self._by_repository

    def meaning(self, repository: Repository, digest: Digest) -> list[Reference]:
        """The tags of a repository that mean a manifest, and the records that it refers to another."""
        return [own.reference for own in self._by_repository.get(repository, {}).values() if own.digest == digest]

    def is_meant(self, digest: Digest) -> bool:
        """Whether any tag of any repository means a manifest. It looks at all of them."""
        return any(own.digest == digest for own in self._tags.values())

    def referrers(self, repository: Repository, subject: Digest) -> list[Digest]:
        """The manifests of a repository that were pushed and refer to another one."""
        beginning = _referral_beginning(subject)
        tags = self._by_repository.get(repository, {})
        return [own.digest for name, own in tags.items() if own.digest is not None and name.startswith(beginning)]

    async def put(self, reference: Reference, digest: Digest | None) -> None:
        """Let a tag mean something from now on, or nothing; return when that is on the disk of this node.

        Raises:
            StorageFull: there are too many.
            StorageFailed: the disk failed; then the tag may be forgotten with the next start. Or nobody can change it.
        """
        known, now = self._tags.get(reference), time.time()
        if known is None and digest is not None and len(self._tags) - len(self._gone) >= self._settings.own_tags_max:
            raise StorageFull(f"there are {self._settings.own_tags_max} tags that were pushed: delete some first")
        if known is not None and known.version >= VERSION_MAX:
            raise StorageFailed(f"a member has set {reference} so that nobody can change it: see docs/security.md")
        version = max(int(now * 1000), known.version + 1 if known is not None else 0)
        own = OwnTag(reference, digest, version, now, set_here=True)
        self._take(own)
        self._tell_of(own)
        try:
            await to_its_end(self._files.write(own))
        except OSError as error:
            raise StorageFailed(f"the tag {reference} cannot be kept: {error.strerror}") from error

    async def refer(self, repository: Repository, subject: Digest, referrer: Digest) -> None:
        """Take note that a manifest refers to another one; otherwise as `put`."""
        name = f"{_referral_beginning(subject)}{referrer.hex[:48]}"
        await self.put(Reference(repository, name), referrer)

    # Between members

    def heard(self, note: bytes) -> None:
        """Take in what another member says."""
        now, settings, too_many = time.time(), self._settings, 0
        for record in read_note(note, Record, settings.own_tags_max + settings.own_tags_gone_max):
            if len(self._files) >= settings.own_tags_max + settings.own_tags_gone_max:
                log.warning("members tell of more tags than the disk takes; what is left they tell again")
                return
            own = parsed(record, now - max(0.0, record.age_s))
            if own is None or not self._is_news(own):
                continue
            is_more = own.digest is not None and self.tag(own.reference) is None
            if is_more and len(self._tags) - len(self._gone) >= settings.own_tags_max:
                too_many += 1
                continue
            self._take(own)
            self._files.write(own)
        if too_many:
            log.warning("pushed tags are not kept, for there are too many tags=%d", too_many)

    def state(self) -> bytes:
        """What another member should know: all of them, or, of too many, others each time."""
        if self._state is None:
            now = time.time()
            self._state = [msgspec.msgpack.encode(own.record(now)) for own in self._tags.values()]
        chosen: list[bytes] = []
        count = len(self._state)
        left = NOTES_MAX_BYTES - 5
        for number in range(count):
            encoded = self._state[(self._state_at + number) % count]
            if len(encoded) > left:
                self._state_at += number
                break
            left -= len(encoded)
            chosen.append(encoded)
        return _joined(chosen)

    def _tell_of(self, own: OwnTag) -> None:
        """Tell all members of a tag. One whose name is too long for a rumour they learn with the next exchange."""
        note = _joined([msgspec.msgpack.encode(own.record(time.time()))])
        if len(note) <= NOTE_MAX_BYTES:
            self._tell(note)

    def _is_news(self, own: OwnTag) -> bool:
        known = self._tags.get(own.reference)
        return known is None or own.order > known.order

    def _take(self, own: OwnTag) -> None:
        """Believe a word that counts more than what is known."""
        reference, known = own.reference, self._tags.get(own.reference)
        self._tags[reference] = own
        self._by_repository.setdefault(reference.repository, {})[reference.tag] = own
        self._gone.pop(reference, None)
        self._state = None
        if self._listener is not None and _is_offered(known) != _is_offered(own):  # others need not be found
            (self._listener.appeared if _is_offered(own) else self._listener.vanished)([reference.key])
        if own.digest is None:
            self._gone[reference] = None
            while len(self._gone) > self._settings.own_tags_gone_max:
                self._forget(next(iter(self._gone)))

    def _forget(self, reference: Reference) -> None:
        """Remember no more that a tag was deleted."""
        del self._gone[reference], self._tags[reference]
        of_repository = self._by_repository[reference.repository]
        del of_repository[reference.tag]
        if not of_repository:
            del self._by_repository[reference.repository]
        self._files.remove(reference)


def _is_offered(own: OwnTag | None) -> bool:
    return own is not None and own.set_here and own.digest is not None


def _referral_beginning(subject: Digest) -> str:
    """The beginning of the names of those that refer to a manifest."""
    return f"{str(subject).partition(':')[0]}-{subject.hex[:64]}."


def _joined(encoded: Sequence[bytes]) -> bytes:
    """A list in msgpack, of items that are encoded already."""
    return b"\xdd" + len(encoded).to_bytes(4) + b"".join(encoded)
