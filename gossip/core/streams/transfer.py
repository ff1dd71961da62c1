"""What two nodes give each other in one conversation: records of members, and the filters that each lacks."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from ..directory.dissemination import Dissemination
from ..directory.reconcile import portions
from ..errors import Rejection, WireError
from ..membership.member import Address
from ..messages import Chunk, Entries, Entry, KeyOrder, KeyReport, Message, Pull, Record, UserState
from ..packets.outbox import Outbox
from .assembly import FilterAssembly
from .full_state import FullState

T = TypeVar("T", Record, Entry)


@dataclass(frozen=True, slots=True)
class Local:
    """What a conversation needs of this node.

    Args:
        name: of this node.
        records_max: more members than this one node cannot know.
        full_state: records of members, and the application's state.
        dissemination: filters.
        outbox: makes packets that bear this node's stamp.
        hear: takes a message that concerns the node, not the conversation: (message, sender, address, now).
        carry_out: changes this node's keys.
        prove: told of the name, address, epoch and time of one who answered at the address that this node dialled.
    """

    name: str
    records_max: int
    full_state: FullState
    dissemination: Dissemination
    outbox: Outbox
    hear: Callable[[Message, str, Address, float], None]
    carry_out: Callable[[KeyOrder], KeyReport]
    prove: Callable[[str, Address, int, float], None]


class Transfer:
    """What one half has to give, and what it has been given.

    Args:
        local: this node.
        full: whether this is a full exchange from the start; a responder learns it from the other half's records.
    """

    def __init__(self, local: Local, *, full: bool) -> None:
        self._local = local
        self._full = full
        self._reconciler = local.dissemination.reconciler
        self._records: list[Record] = []
        self._give: list[Entry] = []
        self._pull: list[Entry] = []
        self._assembly = FilterAssembly(local.dissemination.rules.packed_bytes)

    # Hearing

    def hear_record(self, record: Record) -> None:
        """The other half knows this of a member."""
        self._note(self._records, [record])

    @property
    def has_records(self) -> bool:
        """Whether records wait to be merged: they come one after the other, and are merged when all are here."""
        return bool(self._records)

    def merge(self, now: float, *, stranger: bool) -> None:
        """Take the records; the application may refuse those of a stranger, before anything else of it is taken.

        Raises:
            WireError: the application refused.
        """
        self._full = True
        self._local.full_state.merge(self._records, now, stranger=stranger)
        self._records = []

    def hear_pull(self, pull: Pull) -> None:
        """The other half wants this."""
        self._note(self._give, pull.entries)

    def hear_entries(self, entries: Entries, now: float) -> None:
        """The other half's view."""
        self._local.dissemination.hear_view(entries, now)
        self._note(self._give, self._reconciler.surplus(entries))
        self._note(self._pull, self._reconciler.lacking(entries))

    def hear_chunk(self, chunk: Chunk, now: float) -> None:
        """A part of a filter; it is refused before its first bytes are kept."""
        self._local.dissemination.check_filter(chunk.entry, chunk.bits_log2, now)
        arrived = self._assembly.add(chunk)
        if arrived is not None:
            self._local.dissemination.install(arrived.entry, arrived.bits_log2, bytes(arrived.bits), now)

    def _note(self, noted: list[T], more: Iterable[T]) -> None:
        noted += more
        if len(noted) > self._local.records_max:
            raise WireError(Rejection.SIZE, "more members than any cluster has")

    # Speaking

    def opening(self) -> Iterator[Message]:
        """What the initiator says first."""
        if self._full:
            yield from self._full_state()
            yield from self._reconciler.everything()

    def answer(self) -> Iterator[Message]:
        """What the responder says."""
        if self._full:
            yield from self._full_state()
        yield from self._owed()
        yield from map(Pull, portions(self._pull))

    def closing(self) -> Iterator[Message]:
        """What the initiator says last: its own record again, because it may have refuted something meanwhile."""
        yield self._local.full_state.own_record()
        yield from self._owed()

    def _full_state(self) -> Iterator[Message]:
        yield from self._local.full_state.records()
        if state := self._local.full_state.application_state():
            yield UserState(state)

    def _owed(self) -> Iterator[Message]:
        for entry in self._give:
            yield from self._reconciler.snapshots(entry)
