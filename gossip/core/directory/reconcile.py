"""Anti-entropy: finding and closing the differences between two nodes' views.

A view is one `Entry` per live member, this node included. Its fingerprint is the exclusive or of a hash per entry; it
is kept up to date with every change, and every packet bears it. Where two fingerprints differ, 32 bucket fingerprints
tell in which names, the entries of those buckets tell in which versions, and then each side gives what the other lacks.
Only member i ever writes i's record and filter, so that the comparison of two numbers tells which side is behind.

Source: Scuttlebutt (van Renesse et al., 2008) for versions by single writers.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final

from ..membership.member import Member, State
from ..membership.own_record import OwnRecord
from ..membership.statements import alive_message, statement
from ..membership.table import MemberTable
from ..messages import BUCKETS, KEY_BYTES, Buckets, Chunk, Entries, Entry, Message, Offer, Ops, Pull, Suspect
from ..packets.codec import CHUNK_MAX_BYTES, ENTRIES_PER_MESSAGE, FINGERPRINT_BYTES, encode_message
from .published import PublishedFilter
from .replica import Replica
from .replicas import Directory

_ALL_BUCKETS: Final = (1 << BUCKETS) - 1
_OPS_HEAD_BYTES: Final = 200
"""Bytes that the head of an `Ops` with the longest name takes, rounded up."""
_ENTRIES_HEAD_BYTES: Final = 16
"""Bytes that the head of an `Entries` or a `Pull` takes, rounded up."""
_ENTRY_MIN_BYTES: Final = 16
"""Bytes of an entry with a short name and the clock of these years."""


class Versions:
    """The view of one node, with its fingerprints."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._hashes: dict[str, int] = {}
        self._buckets = [0] * BUCKETS
        self._total = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def set(self, entry: Entry) -> bool:
        """Insert or replace an entry. Returns whether that changed anything."""
        if self._entries.get(entry.name) == entry:
            return False
        self.drop(entry.name)
        self._entries[entry.name] = entry
        self._hashes[entry.name] = _hash(entry)
        self._toggle(entry.name, self._hashes[entry.name])
        return True

    def drop(self, name: str) -> bool:
        """Remove an entry. Returns whether there was one."""
        if self._entries.pop(name, None) is None:
            return False
        self._toggle(name, self._hashes.pop(name))
        return True

    def _toggle(self, name: str, value: int) -> None:
        self._buckets[bucket_of(name)] ^= value
        self._total ^= value

    @property
    def fingerprint(self) -> bytes:
        """8 bytes over everything."""
        return self._total.to_bytes(FINGERPRINT_BYTES, "big")

    def buckets(self) -> Buckets:
        """The fingerprint of each bucket."""
        return Buckets(b"".join(bucket.to_bytes(FINGERPRINT_BYTES, "big") for bucket in self._buckets))

    def differing(self, theirs: Buckets) -> int:
        """The buckets in which two views differ, as a bitmap."""
        ours = self.buckets().fingerprints
        step = FINGERPRINT_BYTES
        return sum(
            1 << i
            for i in range(BUCKETS)
            if ours[i * step : (i + 1) * step] != theirs.fingerprints[i * step : (i + 1) * step]
        )

    def within(self, bitmap: int) -> list[Entry]:
        """The entries of some buckets."""
        return [entry for entry in self if bitmap >> bucket_of(entry.name) & 1]


def portions(entries: Sequence[Entry]) -> list[tuple[Entry, ...]]:
    """Entries in as many parts as they need messages."""
    step = ENTRIES_PER_MESSAGE
    return [tuple(entries[first : first + step]) for first in range(0, len(entries), step)]


@lru_cache(maxsize=16384)
def bucket_of(name: str) -> int:
    """The bucket of a member's name, the same on every node."""
    return hashlib.blake2b(name.encode(), digest_size=1).digest()[0] % BUCKETS


def _hash(entry: Entry) -> int:
    return int.from_bytes(hashlib.blake2b(encode_message(Offer(entry)), digest_size=FINGERPRINT_BYTES).digest(), "big")


class Reconciler:
    """Compares this node's view with another's, and says what each side lacks.

    Args:
        own: this node's record.
        members: the table.
        published: this node's filter.
        directory: the filters of others.
        versions: the view.
        room_bytes: for messages in one datagram.
    """

    def __init__(
        self,
        own: OwnRecord,
        members: MemberTable,
        published: PublishedFilter,
        directory: Directory,
        versions: Versions,
        room_bytes: int,
    ) -> None:
        self._own = own
        self._members = members
        self._published = published
        self._directory = directory
        self._versions = versions
        self._room_bytes = room_bytes

    def opening(self) -> Message:
        """The first message of a comparison: all entries if they fit a datagram, else the fingerprints of buckets."""
        if len(self._versions) > self._room_bytes // _ENTRY_MIN_BYTES:  # not worth encoding
            return self._versions.buckets()
        everything = Entries(_ALL_BUCKETS, tuple(self._versions))
        return everything if len(encode_message(everything)) <= self._room_bytes else self._versions.buckets()

    def answer_buckets(self, theirs: Buckets) -> Message | None:
        """This node's entries in the buckets that differ, as many whole buckets as fit; None if none differs."""
        differing = self._versions.differing(theirs)
        if not differing:
            return None
        room = self._room_bytes - _ENTRIES_HEAD_BYTES
        complete, entries = 0, []
        for i in range(BUCKETS):
            if not differing >> i & 1:
                continue
            bucket = self._versions.within(1 << i)
            size = sum(len(encode_message(Offer(entry))) for entry in bucket)
            if size > room:
                continue
            room -= size
            complete |= 1 << i
            entries += bucket
        if not complete:
            entries = self._fitting(self._versions.within(differing))
        return Entries(complete, tuple(entries))

    def everything(self) -> Iterator[Entries]:
        """The whole view, for streams: in one message, or in buckets where one would be too long."""
        if len(self._versions) <= ENTRIES_PER_MESSAGE:
            yield Entries(_ALL_BUCKETS, tuple(self._versions))
            return
        for i in range(BUCKETS):
            parts = portions(self._versions.within(1 << i)) or [()]
            complete = 1 << i if len(parts) == 1 else 0
            yield from (Entries(complete, part) for part in parts)

    def lacking(self, theirs: Entries) -> list[Entry]:
        """What to pull: this node's versions of those members of which the other knows more."""
        return [ours for entry in theirs.entries if (ours := self._behind(entry)) is not None]

    def pull(self, lacking: list[Entry]) -> Pull:
        """A request for what this node lacks, as far as it fits a datagram; the next comparison asks for the rest."""
        return Pull(tuple(self._fitting(lacking)))

    def surplus(self, theirs: Entries) -> list[Entry]:
        """What to give: the other's versions of those members of which this node knows more."""
        listed = {entry.name for entry in theirs.entries}
        missing = [
            Entry(entry.name, 0, 0, 0, 0)
            for entry in self._versions.within(theirs.complete)
            if entry.name not in listed
        ]
        return [entry for entry in theirs.entries if self._ahead(entry)] + missing

    def give(self, theirs: Entry) -> list[Message]:
        """What another lacks of a member, for datagrams."""
        member = self._known(theirs.name)
        if member is None:
            return []
        messages = self._give_record(member, theirs)
        if member.live or member is self._own.me:
            messages += self._give_filter(member, theirs)
        return messages

    def snapshots(self, theirs: Entry) -> Iterator[Message]:
        """What another lacks of a member, for streams, in pieces."""
        for message in self.give(theirs):
            if not isinstance(message, Offer):
                yield message
                continue
            replica = self._replica(message.entry.name)
            if replica is None or replica.blank:  # it went while what comes before was sent
                continue
            entry = replica.entry(message.entry.name, message.entry.incarnation)
            bits_log2, packed = replica.filter.bits_log2, replica.filter.packed()
            for offset in range(0, len(packed), CHUNK_MAX_BYTES):
                yield Chunk(entry, bits_log2, offset, packed[offset : offset + CHUNK_MAX_BYTES])

    def ops(self, name: str, replica: Replica, keys: bytes) -> list[Ops]:
        """The newest keys of a filter, in messages that fit datagrams."""
        step = (self._room_bytes - _OPS_HEAD_BYTES) // KEY_BYTES * KEY_BYTES
        start = replica.sequence - len(keys) // KEY_BYTES
        return [
            Ops(
                name,
                replica.epoch,
                replica.generation,
                replica.filter.bits_log2,
                start + offset // KEY_BYTES,
                keys[offset : offset + step],
            )
            for offset in range(0, len(keys), step)
        ]

    def entry(self, name: str) -> Entry | None:
        """This node's version of a member, whatever its state."""
        member, replica = self._known(name), self._replica(name)
        if member is None or replica is None:
            return None
        return Entry(name, member.epoch, member.recorded, replica.generation, replica.sequence)

    def _give_record(self, member: Member, theirs: Entry) -> list[Message]:
        if (member.epoch, member.recorded) > (theirs.epoch, theirs.incarnation) and member.live:
            return [alive_message(member)]
        if member.live or theirs.epoch != member.epoch:
            return []
        if member.state is State.DEAD:  # as a suspicion: death on hearsay would leave the member no time to refute
            return [Suspect(member.name, member.epoch, member.incarnation, self._own.name)]
        return [statement(member, self._own.name)]

    def _give_filter(self, member: Member, theirs: Entry) -> list[Message]:
        replica = self._replica(member.name)
        if replica is None or replica.blank or replica.version <= theirs.filter_version:
            return []
        same = (replica.epoch, replica.generation) == (theirs.epoch, theirs.generation)
        keys = replica.since(theirs.sequence if same else 0)
        per_datagram = (self._room_bytes - _OPS_HEAD_BYTES) // KEY_BYTES
        if keys is None or (not same and len(keys) // KEY_BYTES > per_datagram):
            return [Offer(replica.entry(member.name, member.recorded))]
        if not keys:  # a new generation may be empty, and the other still has to learn of it
            return [Ops(member.name, replica.epoch, replica.generation, replica.filter.bits_log2, 0, b"")]
        return [*self.ops(member.name, replica, keys)]

    def _known(self, name: str) -> Member | None:
        return self._own.me if name == self._own.name else self._members.get(name)

    def _replica(self, name: str) -> Replica | None:
        return self._published.replica if name == self._own.name else self._directory.replica(name)

    def _behind(self, theirs: Entry) -> Entry | None:
        """This node's version of a member of which the other knows more, or None."""
        if theirs.name == self._own.name:
            return None
        ours = self.entry(theirs.name)
        if ours is None:
            return Entry(theirs.name, 0, 0, 0, 0)
        newer = (theirs.epoch, theirs.incarnation) > (ours.epoch, ours.incarnation)
        return ours if newer or theirs.filter_version > ours.filter_version else None

    def _ahead(self, theirs: Entry) -> bool:
        """Whether this node knows more of a member: a newer version, or that it is gone."""
        ours, member = self.entry(theirs.name), self._known(theirs.name)
        if ours is None or member is None:
            return False
        if not member.live:
            return member.epoch == theirs.epoch and member.incarnation >= theirs.incarnation
        newer = (ours.epoch, ours.incarnation) > (theirs.epoch, theirs.incarnation)
        return newer or ours.filter_version > theirs.filter_version

    def _fitting(self, entries: Iterable[Entry]) -> list[Entry]:
        room, fitting = self._room_bytes - _ENTRIES_HEAD_BYTES, []
        for entry in entries:
            room -= len(encode_message(Offer(entry)))
            if room < 0:
                break
            fitting.append(entry)
        return fitting
