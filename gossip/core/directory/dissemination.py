"""Dissemination of additions to filters: this node's own, and those of others that it hears of.

- What this node adds goes straight to everybody in a small cluster, and as a rumour like all else.
- An op that brings something new is passed on at once; a gap before it is pulled from the member that sent it.
- A filter that is only offered is fetched over a stream, after a random moment, so that not all members ask at once.

Source: SWIM section 4.1 for rumours on packets; module `comparison` repairs what they miss.
"""

from collections.abc import Iterable
from typing import Final

from ..context import Context
from ..errors import Rejection, WireError
from ..events import FilterChanged, FilterFull
from ..membership.member import Address, Member, State
from ..membership.own_record import OwnRecord
from ..messages import Entries, Entry, Message, Offer, Ops, Pull
from ..packets.codec import encode_message
from ..packets.rumours import Topic, retransmit_limit
from ..streams.purpose import Dial, Purpose
from ..timers import Timer
from .comparison import Comparisons
from .kinds import rules_of
from .published import PublishedFilter
from .reconcile import Reconciler, Versions, portions
from .replicas import Applied, Directory

_FETCHES_MAX: Final = 64
"""Members whose offers wait to be fetched; further ones are ignored, for the next comparison brings them again."""
_FETCH_SPREAD_S: Final = 0.01
"""Seconds per live member over which the fetches of one filter are spread."""


class Dissemination:
    """What one node holds, and what it knows of what others hold.

    Args:
        context: the node's parts.
        own: this node's record.
        room_bytes: for messages in one datagram.
        dial: opens a stream, to fetch filters.
    """

    def __init__(
        self,
        context: Context,
        own: OwnRecord,
        room_bytes: int,
        dial: Dial,
    ) -> None:
        self._context = context
        self._config = context.config
        self._members = context.members
        self._timers = context.timers
        self._own = own
        self._dial = dial
        self._room_bytes = room_bytes
        self._wanted: dict[Address, dict[str, Entry]] = {}
        self._gaps: dict[str, None] = {}
        config = context.config
        self.rules = rules_of(config)
        self.published = PublishedFilter(config, self.rules, own.me.epoch)
        self.directory = Directory(self.rules, config.log_keys, config.directory_max_bytes, config.members_max)
        self.versions = Versions()
        self.reconciler = Reconciler(own, context.members, self.published, self.directory, self.versions, room_bytes)
        self.comparisons = Comparisons(context, self.reconciler, self.versions)
        self._timers.register(Timer.PUBLISH, self._publish)
        self._timers.register(Timer.FETCH, self._fetch_wanted)
        self.note_own()

    def advertise(self, keys: Iterable[bytes], now: float) -> None:
        """Hold these keys and tell of it within a moment."""
        left_out = self.published.advertise(keys)
        if left_out:
            self._context.emit(FilterFull(left_out, self.published.room))
        self._schedule(now)

    def withdraw(self, keys: Iterable[bytes], now: float) -> None:
        """Hold these keys no longer."""
        self.published.withdraw(keys, now)
        self._schedule(now)

    def note_own(self) -> None:
        """This node's record or filter may have changed."""
        me = self._own.me
        if self.published.replica.epoch != me.epoch:
            self.published.renew(me.epoch)
        self.versions.set(self.published.replica.entry(me.name, me.incarnation))

    def note_member(self, before: Member | None, after: Member | None, now: float) -> None:
        """What is believed of another member changed."""
        self.comparisons.note_change(now)
        if after is None:
            assert before is not None
            self.directory.forget(before.name)
            self.versions.drop(before.name)
            return
        self.directory.begin(after.name, after.epoch)
        self.directory.count(after.name, after.state is State.ALIVE)
        self._note_version(after)

    def hear_ops(self, ops: Ops, now: float) -> None:
        """A member added keys.

        Raises:
            WireError: the filter is larger than it may be.
        """
        entry = Entry(ops.name, ops.epoch, 0, ops.generation, ops.end)
        if ops.name == self._own.name:
            self.hear_own(entry, now)
            return
        self.check_filter(entry, ops.bits_log2, now, follows=self.directory.is_next(ops))
        applied = self.directory.apply(ops)
        if applied is Applied.NEW:
            self._note_filter(ops.name, now)
            if self._members.get(ops.name) is not None:  # or it has yet to prove that it is there
                self._pass_on(ops)
        elif applied is Applied.GAP:
            ours = self.reconciler.entry(ops.name)
            if ours is not None and ours.epoch >= ops.epoch:
                self._gaps[ops.name] = None

    def close_gaps(self, sender: Address) -> None:
        """Pull what was missing before additions that were heard of, from the member that spoke of them."""
        gaps, self._gaps = self._gaps, {}
        entries = [entry for name in gaps if (entry := self.reconciler.entry(name)) is not None]
        if entries:
            self._context.outbox.send(sender, [self.reconciler.pull(entries)])

    def hear_offer(self, offer: Offer, sender: Address, now: float) -> None:
        """Somebody has a filter that only a stream can carry."""
        if offer.entry.name == self._own.name:
            self.hear_own(offer.entry, now)
            return
        ours = self.reconciler.entry(offer.entry.name)
        if ours is None:
            return
        if ours.epoch != offer.entry.epoch or ours.filter_version >= offer.entry.filter_version:
            return
        if sender not in self._wanted and len(self._wanted) >= _FETCHES_MAX:
            return
        self._wanted.setdefault(sender, {})[ours.name] = ours
        delay_s = self._context.rng.random() * _FETCH_SPREAD_S * self._members.cluster_size
        self._timers.bring_forward(Timer.FETCH, now + delay_s)

    def install(self, entry: Entry, bits_log2: int, bits: bytes, now: float) -> None:
        """A complete filter arrived over a stream.

        Raises:
            WireError: it is larger, or fuller, than it may be, or no filter of this kind.
        """
        self.check_filter(entry, bits_log2, now)
        filled = self.rules.unpack(bits_log2, entry.sequence, bits)
        if self.directory.install(entry, filled) is Applied.NEW:
            self._note_filter(entry.name, now)

    def check_filter(self, entry: Entry, bits_log2: int, now: float, *, follows: bool = True) -> None:
        """Refuse a filter, at that version, that would take memory which its keys do not need, or more than is allowed.

        Of one that is only too large the version is noted, so that it is not asked for again, if it `follows` from what
        was heard: nothing of it is missing.

        Raises:
            WireError: it is refused.
        """
        self.rules.check(bits_log2, entry.sequence)
        excess = self.rules.excess(bits_log2, entry.sequence)
        if excess:
            if follows and self.directory.note_version(entry.name, entry.filter_version):
                self._note_filter(entry.name, now)
            raise WireError(Rejection.FILTER, excess)

    def hear_view(self, entries: Entries, now: float) -> None:
        """Look for this node's own version in another's view."""
        for entry in entries.entries:
            if entry.name == self._own.name:
                self.hear_own(entry, now)

    def hear_own(self, entry: Entry, now: float) -> None:
        """If others have this node's filter in a version that it never made, a new run takes the place of the invented.

        Until then no lookup would find this node, for its own versions are older.
        """
        me, ours = self._own.me, self.published.replica.version
        if entry.filter_version > ours and entry.epoch == me.epoch and me.state is not State.LEFT:
            self._own.renew(now)

    def _publish(self, now: float) -> None:
        """The time of additions, or of a step of a rebuild, has come."""
        keys = self.published.publish(now)
        self.note_own()
        me, replica = self._own.me, self.published.replica
        if keys is None:
            news: list[Message] = list(self.reconciler.give(Entry(me.name, replica.epoch, me.incarnation, 0, 0)))
        else:
            news = list(self.reconciler.ops(me.name, replica, keys))
        self.comparisons.note_change(now)
        self._spread(news)
        self._schedule(now)

    def _schedule(self, now: float) -> None:
        due_at = self.published.due_at()
        if due_at is None:
            self._timers.cancel(Timer.PUBLISH)
        else:
            self._timers.set(Timer.PUBLISH, max(now, due_at))

    def _fetch_wanted(self, now: float) -> None:
        wanted, self._wanted = self._wanted, {}
        for address, entries in wanted.items():
            # Since the offer this node may have learnt more, and then needs less.
            latest = [self.reconciler.entry(name) or entry for name, entry in entries.items()]
            self._dial(address, Purpose.FETCH, *map(Pull, portions(latest)))

    def _note_filter(self, name: str, now: float) -> None:
        self.comparisons.note_change(now)
        member, replica = self._members.get(name), self.directory.replica(name)
        if member is None or replica is None:
            return
        self._note_version(member)
        self._context.emit(FilterChanged(name, replica.generation, replica.sequence))

    def _note_version(self, member: Member) -> None:
        entry = self.reconciler.entry(member.name)
        if entry is not None and member.live:
            self.versions.set(entry)
        else:
            self.versions.drop(member.name)

    @property
    def _direct(self) -> bool:
        """Whether the cluster is small enough to tell everybody directly."""
        return self._members.cluster_size <= self._config.direct_members_max

    def _spread(self, news: list[Message]) -> None:
        """Tell this node's own additions: to everybody in a small cluster, and as rumours."""
        if not news:
            return
        direct = self._direct
        copies = retransmit_limit(self._config.retransmit_mult, self._members.cluster_size)
        for encoded in map(encode_message, news):
            # Where all are told directly, half of the copies are enough to reach those that missed it.
            self._context.rumours.add(Topic.DIRECTORY, encoded, encoded, sent=copies // 2 if direct else 0)
        if direct:
            for member in self._members.live():
                self._context.outbox.send(member.address, news)

    def _pass_on(self, ops: Ops) -> None:
        """Tell of another member's additions; in a small cluster most have them already, and one copy is enough."""
        copies = retransmit_limit(self._config.retransmit_mult, self._members.cluster_size)
        encoded = encode_message(ops)
        if len(encoded) <= self._room_bytes:  # longer ones are made for streams; of those, fingerprints tell
            self._context.rumours.add(Topic.DIRECTORY, encoded, encoded, sent=copies - 1 if self._direct else 0)
