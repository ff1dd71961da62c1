"""The directory's traffic: telling additions, hearing others', and repairing what was missed.

- What this node adds goes straight to everybody in a small cluster, else as a rumour like all else.
- An op that brings something new is passed on at once; a gap before it is pulled from whoever sent it.
- A fingerprint that differs from this node's begins a comparison, at most one per `reconcile_interval_s`, and not while
  news is still on its way, unless that lasts.
- While its view changes, and two seconds longer, a node murmurs: it sends its fingerprint to a member at random, five
  times a second. Who missed a rumour that all others have stopped telling finds out by that, not by the next ping.
- A filter that is only offered is fetched over a stream, after a moment of chance, so that not all ask at once.
"""

import math
from collections.abc import Callable, Iterable
from typing import Final

from ..config import FILTER_BITS_PER_KEY_MAX
from ..context import Context, Timer
from ..errors import WireError
from ..events import FilterChanged
from ..membership.member import Address, Member
from ..membership.updates import Membership
from ..messages import Buckets, Entries, Entry, Message, Offer, Ops, Pull
from ..packets.codec import U32_MAX, encode_message
from ..packets.rumours import Topic, retransmit_limit
from .bloom import bits_log2_for
from .published import Holdings
from .reconcile import Reconciler, Versions
from .replicas import Applied, Directory

_SETTLE_S: Final = 0.05  # a packet's fingerprint may be older than news that just arrived by another way
_PATIENCE_S: Final = 1.0
_FETCHES_MAX: Final = 64
_GIVEN_MAX: Final = 24  # messages in answer to one comparison or pull; the rest is for the next one
_MURMUR_S: Final = 0.2
_MURMUR_FOR_S: Final = 2.0
_PUBLISH: Final = (Timer.PUBLISH, "")
_FETCH: Final = (Timer.FETCH, "")
_MURMUR: Final = (Timer.MURMUR, "")


class Sharing:
    """What one node holds, and what it knows of others' holdings.

    Args:
        context: the node's parts.
        membership: records of all.
        room_bytes: for messages in one datagram.
        fetch: opens a stream to an address and pulls these entries.
    """

    def __init__(
        self,
        context: Context,
        membership: Membership,
        room_bytes: int,
        fetch: Callable[[Address, list[Entry]], None],
    ) -> None:
        self._context = context
        self._config = context.config
        self._membership = membership
        self._fetch = fetch
        self._wanted: dict[Address, dict[str, Entry]] = {}
        self._gaps: dict[str, None] = {}
        self._room_bytes = room_bytes
        self._compared_at = self._changed_at = -math.inf
        self.holdings = Holdings(context.config, membership.me.epoch)
        self.directory = Directory(context.config.log_keys)
        self.versions = Versions()
        self.reconciler = Reconciler(membership, context.members, self.directory, self.versions, room_bytes)
        self.note_own()

    def advertise(self, keys: Iterable[bytes], now: float) -> None:
        """Hold these keys and tell of it within a moment."""
        self.holdings.advertise(keys)
        self._schedule(now)

    def withdraw(self, keys: Iterable[bytes], now: float) -> None:
        """Hold these keys no longer."""
        self.holdings.withdraw(keys, now)
        self._schedule(now)

    def note_own(self) -> None:
        """This node's record or filter changed."""
        me = self._membership.me
        self.holdings.renew(me.epoch)
        self.reconciler.own = self.holdings.replica
        self.versions.set(self.holdings.replica.entry(me.name, me.incarnation))

    def note(self, before: Member | None, after: Member | None, now: float) -> None:
        """What is believed of another member changed."""
        self._note_change(now)
        if after is None:
            assert before is not None
            self.directory.forget(before.name)
            self.versions.drop(before.name)
            return
        self.directory.begin(after.name, after.epoch)
        self.directory.count(after.name, after.state == 0)
        self._note_version(after, now)

    def publish(self, now: float) -> None:
        """The time of additions, or of a step of a rebuild, has come."""
        keys = self.holdings.publish(now)
        self.note_own()
        name, replica = self._membership.me.name, self.holdings.replica
        if keys is None:
            news: list[Message] = list(
                self.reconciler.give(Entry(name, replica.epoch, self._membership.me.incarnation, 0, 0))
            )
        else:
            news = list(self.reconciler.ops(name, replica, keys))
        self._note_change(now)
        self._spread(news, now)
        self._schedule(now)

    def hear_ops(self, ops: Ops, now: float) -> None:
        """A member added keys.

        Raises:
            WireError: no node could have so many keys, or so large a filter for so few.
        """
        _check_filter(ops.bits_log2, ops.end)
        applied = self.directory.apply(ops)
        if applied is Applied.NEW:
            self._changed(ops.name, now)
            self._relay(ops, now)
        elif applied is Applied.GAP and ops.name != self._membership.me.name:
            entry = self.reconciler.entry(ops.name)
            if entry is not None and entry.epoch >= ops.epoch:
                self._gaps[ops.name] = None

    def close_gaps(self, sender: Address) -> None:
        """Pull what was missing before additions that were heard of, from the member that spoke of them."""
        gaps, self._gaps = self._gaps, {}
        entries = [entry for name in gaps if (entry := self.reconciler.entry(name)) is not None]
        if entries:
            self._context.outbox.send(sender, [self.reconciler.pull(entries)])

    def hear_offer(self, offer: Offer, sender: Address, now: float) -> None:
        """Somebody has a filter that only a stream can carry."""
        ours = self.reconciler.entry(offer.entry.name)
        if ours is None or offer.entry.name == self._membership.me.name:
            return
        if ours.epoch != offer.entry.epoch or ours.filter_version >= offer.entry.filter_version:
            return
        if sender not in self._wanted and len(self._wanted) >= _FETCHES_MAX:
            return
        self._wanted.setdefault(sender, {})[ours.name] = ours
        jitter_s = self._context.rng.random() * 0.01 * self._membership.live_count
        self._context.deadlines.bring_forward(_FETCH, now + jitter_s)

    def fetch_wanted(self) -> None:
        """The time of fetching has come."""
        wanted, self._wanted = self._wanted, {}
        for address, entries in wanted.items():
            self._fetch(address, [self.reconciler.entry(name) or entry for name, entry in entries.items()])

    def murmur(self, now: float) -> None:
        """Let somebody see this node's fingerprint; go on with that while there was a change lately."""
        for member in self._context.members.sample(1, lambda member: member.live):
            self._context.outbox.send(member.address, [])
        if now - self._changed_at < _MURMUR_FOR_S:
            self._context.deadlines.set(_MURMUR, now + _MURMUR_S)

    def hear_fingerprint(self, fingerprint: bytes, member: Member, now: float) -> None:
        """A packet of a member says what its view is."""
        if fingerprint == self.versions.fingerprint:
            return
        since_s = now - self._compared_at
        settled = now - self._changed_at >= _SETTLE_S or since_s >= _PATIENCE_S
        if since_s < self._config.reconcile_interval_s or not settled:
            return
        self._compared_at = now
        self._context.outbox.send(member.address, [self.reconciler.opening()])

    def hear_buckets(self, buckets: Buckets, sender: Address) -> None:
        """A member's view, coarsely."""
        answer = self.reconciler.answer_buckets(buckets)
        if answer is not None:
            self._context.outbox.send(sender, [answer])

    def hear_entries(self, entries: Entries, sender: Address) -> None:
        """A member's view, in part."""
        lacking = self.reconciler.lacking(entries)
        answer: list[Message] = [self.reconciler.pull(lacking)] if lacking else []
        answer += self._gifts(self.reconciler.surplus(entries))
        if answer:
            self._context.outbox.send(sender, answer)

    def hear_pull(self, pull: Pull, sender: Address) -> None:
        """A member asks for what it lacks."""
        answer = self._gifts(pull.entries)
        if answer:
            self._context.outbox.send(sender, answer)

    def install(self, entry: Entry, bits_log2: int, bits: bytes, now: float) -> None:
        """A complete filter arrived over a stream.

        Raises:
            WireError: no node could have so large a filter for so few keys.
        """
        _check_filter(bits_log2, entry.sequence)
        if self.directory.install(entry, bits_log2, bits) is Applied.NEW:
            self._changed(entry.name, now)

    def _gifts(self, entries: Iterable[Entry]) -> list[Message]:
        gifts: list[Message] = []
        for entry in entries:
            gifts += self.reconciler.give(entry)
            if len(gifts) >= _GIVEN_MAX:
                break
        return gifts[:_GIVEN_MAX]

    def _note_change(self, now: float) -> None:
        self._changed_at = now
        self._context.deadlines.bring_forward(_MURMUR, now + _MURMUR_S)

    def _changed(self, name: str, now: float) -> None:
        self._note_change(now)
        member, replica = self._context.members.get(name), self.directory.replica(name)
        if member is None or replica is None:
            return
        self._note_version(member, now)
        self._context.emit(FilterChanged(name, replica.generation, replica.sequence))

    def _note_version(self, member: Member, now: float) -> None:
        entry = self.reconciler.entry(member.name)
        if entry is not None and member.live:
            self.versions.set(entry)
        else:
            self.versions.drop(member.name)

    def _schedule(self, now: float) -> None:
        due_at = self.holdings.due_at()
        if due_at is None:
            self._context.deadlines.cancel(_PUBLISH)
        else:
            self._context.deadlines.set(_PUBLISH, max(now, due_at))

    def _spread(self, news: list[Message], now: float) -> None:
        """Tell this node's own additions: to everybody in a small cluster, and as rumours."""
        if not news:
            return
        direct = self._membership.live_count <= self._config.direct_members_max
        limit = retransmit_limit(self._config.retransmit_mult, self._membership.live_count)
        for encoded in map(encode_message, news):
            self._context.rumours.add(Topic.DIRECTORY, encoded, encoded, told=limit // 2 if direct else 0)
        if direct:
            for member in self._context.members.live():
                self._context.outbox.send(member.address, news)

    def _relay(self, ops: Ops, now: float) -> None:
        """Pass on what was new; in a small cluster most have it already, and one copy does."""
        direct = self._membership.live_count <= self._config.direct_members_max
        limit = retransmit_limit(self._config.retransmit_mult, self._membership.live_count)
        encoded = encode_message(ops)
        if len(encoded) <= self._room_bytes:  # of longer ones, made for streams, fingerprints will tell
            self._context.rumours.add(Topic.DIRECTORY, encoded, encoded, told=limit - 1 if direct else 0)


def _check_filter(bits_log2: int, sequence: int) -> None:
    """Refuse what would take memory that its keys do not need, or be too long to count."""
    if sequence > U32_MAX or bits_log2 > bits_log2_for(sequence, FILTER_BITS_PER_KEY_MAX):
        raise WireError("size", f"a filter of 2**{bits_log2} bits for {sequence} keys")
