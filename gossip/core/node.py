"""One node of the protocol: inputs, outputs and intents.

    owner ── receive(datagram, source, now), tick(now), exchange.feed(bytes, now), intents ──▶ Node
    owner ◀── datagrams(), dials(), events(), next_deadline(), view ── Node

After any call the owner sends `datagrams()`, opens a stream for each of `dials()`, hands `events()` on, and calls
`tick` at `next_deadline()`, having read its socket dry before. Calls never block, and never raise for what came from
the network. `now` is monotonic, in seconds, of the same clock in all calls.
"""

import random
from collections.abc import Callable, Iterable

from .application.broadcasts import Broadcasts
from .application.delegate import Delegate
from .application.messaging import Messaging
from .config import GossipConfig
from .context import Context
from .directory.dissemination import Dissemination
from .dispatch import Dispatch
from .errors import ConfigError, Rejection, WireError
from .events import (
    Event,
    MemberFailed,
    MemberForgotten,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    MemberUpdated,
    Paused,
    Rejected,
)
from .membership.awareness import Awareness
from .membership.farewell import Farewell
from .membership.flaps import Flaps
from .membership.introductions import Introductions
from .membership.joining import Joining
from .membership.member import Address, Member, State, check_metadata, check_name
from .membership.name_conflict import NameConflicts
from .membership.own_record import OwnRecord
from .membership.probe import Prober
from .membership.table import MemberTable
from .membership.updates import Membership
from .messages import Alive, KeyAction, KeyOrder, Message
from .packets.allow import AllowList
from .packets.inbox import Inbox
from .packets.key_changes import KeyChanges
from .packets.outbox import Datagram, Outbox, Stamp, room_bytes
from .packets.rounds import RumourRounds
from .packets.rumours import Rumours, retransmit_limit
from .packets.seal import Seal
from .parts import Parts
from .streams.conversations import Conversations
from .streams.exchange import Exchange
from .streams.full_state import FullState
from .streams.purpose import Purpose
from .streams.transfer import Local
from .view import View


class Node:
    """A member of one cluster.

    Args:
        config: settings.
        me: this node's own record, alive, at incarnation 0 of its epoch.
        seal: wraps and unwraps packets.
        rng: all chance of the node; a run is a function of its seed and the calls.
        now: monotonic time, s.
        delegate: the application, where it wants to be asked.

    The attributes are the node's parts. Its owner uses `view` (all that can be read), `messaging` (messages of the
    application) and `keys` (the node's own keyring); the others are there for tests and measurements.

    Raises:
        ConfigError: the name or the metadata is not allowed.
    """

    def __init__(
        self,
        config: GossipConfig,
        me: Member,
        seal: Seal,
        rng: random.Random,
        now: float,
        delegate: Delegate | None = None,
    ) -> None:
        check_name(me.name)
        check_metadata(me.metadata)
        room = room_bytes(config.datagram_max_bytes, seal, me.name)

        # Conversations need the parts that they are about, and some of those parts open conversations, through this.
        def dial(address: Address, purpose: Purpose, *opening: Message) -> None:
            self.conversations.dial(address, purpose, *opening)

        def introduce(heard: Alive, now: float) -> None:
            self.introductions.hear(heard, now)

        def stamp() -> Stamp:
            return Stamp(me.name, own.me.epoch, self.dissemination.versions.fingerprint)

        self._config = config
        self._ran_at = now
        self.seal = seal
        self.context = context = _context(config, seal, rng, delegate or Delegate(), stamp, room)
        self.own = own = OwnRecord(context, me)
        self.conflicts = NameConflicts(context, own, now)
        self.dissemination = Dissemination(context, own, room, dial)
        directory = self.dissemination.directory
        self.membership = membership = Membership(context, own, self._observe, self.conflicts.claim, introduce)
        self.introductions = Introductions(
            context, own, believe=membership.believe, expect=directory.expect, forget=directory.forget_expected
        )
        self.farewell = Farewell(context, own)
        self.rounds = RumourRounds(context, now)
        self.keys = KeyChanges(seal, context.emit)
        self.broadcasts = Broadcasts(context, me.name, room)
        self.full_state = FullState(context, own, membership, self._after_input)
        self.prober = Prober(context, me.name, dial, membership.suspect)
        self.joining = Joining(context, own, dial)
        self.flaps = Flaps(context, directory.count)
        parts = Parts(
            own,
            membership,
            self.introductions,
            self.prober,
            self.farewell,
            self.conflicts,
            self.flaps,
            self.dissemination,
            self.broadcasts,
        )
        self.dispatch = Dispatch(context, parts)
        self.inbox = Inbox(context, seal, self.dispatch.ack, self.dispatch.hear_answer, self.introductions.prove)
        self.conversations = Conversations(_local(self), seal, self.inbox.check_source, config.streams_max)
        self.messaging = Messaging(
            context,
            own=own,
            prober=self.prober,
            broadcasts=self.broadcasts,
            conversations=self.conversations,
            room_bytes=room,
            after_input=self._after_input,
        )
        self.view = View(context, seal, parts)
        self.prober.start(now)
        self.joining.start(now)

    # Inputs

    def receive(self, payload: bytes, source: Address, now: float) -> None:
        """Take a datagram. Whatever is wrong with it becomes a `Rejected` event."""
        if self.conflicts.gave_way_to not in (None, source):  # the other still has to hear that this node gives way
            return
        self._notice_pause(now)
        self.context.outbox.credit(source, len(payload))
        try:
            for packet, whence in self.inbox.admit(payload, source, now):
                self.dispatch.take(packet, whence, now)
        except WireError as error:
            self.context.emit(Rejected(error.reason, source))
        self._after_input(now)

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self.conflicts.gave_way_to:
            return
        self._notice_pause(now)
        self.context.timers.run_due(now)
        self._after_input(now)

    def answer(self, source: Address) -> Exchange:
        """This node's half of a conversation that another node opened.

        Raises:
            WireError: its address is not allowed.
        """
        return self.conversations.answer(source)

    def hang_up(self, exchange: Exchange, now: float, error: WireError | None = None) -> None:
        """A conversation ended, with the error that `feed` raised if it did."""
        self.conversations.end(exchange)
        if error is not None:
            self.context.emit(Rejected(error.reason, exchange.remote))
            if error.reason is Rejection.SELF and exchange.dialled:
                self.conflicts.claim(exchange.remote, now)
        self._after_input(now)

    def note_late_loop(self) -> None:
        """The owner noticed that this process runs late: this node is to judge others more slowly."""
        self.context.awareness.add(1)

    # Outputs

    def next_deadline(self) -> float | None:
        """When to call `tick`, s; never again if this node gave its name up to another."""
        return None if self.conflicts.gave_way_to else self.context.timers.next()

    def datagrams(self) -> list[Datagram]:
        """Datagrams to send now; each is given once."""
        return self.context.outbox.drain()

    def dials(self) -> list[Exchange]:
        """Conversations to open now; each is given once. Call `hang_up` at the end of each, however it ended."""
        return self.conversations.drain()

    def events(self) -> list[Event]:
        """What happened since the last call."""
        return self.context.drain_events()

    # Intents

    def join(self, seeds: Iterable[Address], now: float) -> None:
        """Reach the cluster through any of these addresses, now and whenever it is lost; replaces earlier seeds."""
        self.joining.join(seeds, now)

    def leave(self, now: float) -> None:
        """Say goodbye; `view.farewell_confirmed` tells when enough have confirmed it. Keep running until then."""
        if self.own.me.state is State.LEFT:
            return
        self.prober.stop()
        self.joining.stop()
        self.farewell.begin(now)
        self.rounds.hasten(now)

    def update(self, metadata: bytes, now: float) -> None:
        """Change this node's metadata.

        Raises:
            ConfigError: it is longer than 512 bytes.
            StateError: this node has left.
        """
        check_metadata(metadata)
        self.own.update(metadata)
        self.dissemination.note_own()
        self.rounds.hasten(now)

    def advertise(self, keys: Iterable[bytes], now: float) -> None:
        """Tell all members that this node holds these keys, of at least 8 bytes each.

        Raises:
            StateError: this node has left.
        """
        self.own.check_present()
        self.dissemination.advertise(keys, now)

    def withdraw(self, keys: Iterable[bytes], now: float) -> None:
        """This node holds these keys no longer.

        Raises:
            StateError: this node has left.
        """
        self.own.check_present()
        self.dissemination.withdraw(keys, now)

    def order_keys(self, name: str, action: KeyAction, key: bytes = b"") -> Exchange:
        """A conversation that has another member change its keyring; its `answers` are one `KeyReport`.

        Raises:
            ConfigError: this node seals nothing.
            StateError: there is no such member, or this node has left.
        """
        self.own.check_present()
        if not self.seal.speaks_sealed:
            raise ConfigError("keys are changed through the cluster only where packets are sealed; use a key file")
        target = self.context.members.known(name)
        return self.conversations.open(target.address, Purpose.KEYS, KeyOrder(action, key))

    # Between the parts

    def _notice_pause(self, now: float) -> None:
        """If this node was not run in time, discard what the lost time says about others.

        An owner that is late reads the answers of that time only now, after the deadlines by which they were due.
        """
        due = self.context.timers.next()
        if due is None:
            return
        pause_s = now - max(due, self._ran_at)
        if pause_s <= self._config.probe_timeout_s:
            return
        self._ran_at = now
        if self.own.me.state is not State.LEFT:
            self.prober.discard_round(now)
        self.membership.extend_suspicions(pause_s, now)
        self.context.awareness.add(1)
        self.context.emit(Paused(pause_s))

    def _after_input(self, now: float) -> None:
        """After every input: fresh rumours go out soon, and a change of this node's own record reaches its version."""
        if self.context.rumours.fresh:
            self.rounds.hasten(now)
        self.joining.after_input(now)
        self.dissemination.note_own()

    def _observe(self, before: Member | None, after: Member | None, now: float) -> None:
        """What is believed of another member changed. The order of these steps matters.

        1. The directory starts or drops the member's filter, and lets every alive member count in lookups.
        2. The application is told of the change itself, before anything that follows from it (`MemberFlapping`).
        3. Packets from here on are in the version of the protocol that all live members understand.
        4. Flaps take a member that flapped out of lookups again, which step 1 had let in.
        5. Nothing is kept of a member that is forgotten; the next one of that name is a new one.
        6. A dead member's address is tried from now on, in case only the network between was cut.
        """
        self.dissemination.note_member(before, after, now)
        for event in _changes(before, after):
            self.context.emit(event)
        self.seal.version = self.context.members.common(self._config.protocol).high
        self.flaps.observe(before, after, now)
        if after is None and before is not None:
            self.dispatch.forget(before.name)
            self.prober.forget(before.name)
            self.broadcasts.forget(before.name)
        if after is not None and after.state is State.DEAD:
            self.joining.note_dead(now)


def _local(node: Node) -> Local:
    """What conversations need of a node."""
    return Local(
        node.own.name,
        node.context.config.members_max + 1,
        node.full_state,
        node.dissemination,
        node.context.outbox,
        node.dispatch.hear_on_stream,
        node.keys.carry_out,
        node.introductions.prove,
    )


def _context(
    config: GossipConfig,
    seal: Seal,
    rng: random.Random,
    delegate: Delegate,
    stamp: Callable[[], Stamp],
    room: int,
) -> Context:
    """What the parts of a node share, all of it empty."""
    members = MemberTable(rng)
    rumours = Rumours(config.members_max, room)

    def copies() -> int:
        return retransmit_limit(config.retransmit_mult, members.cluster_size)

    outbox = Outbox(seal, rumours, stamp=stamp, copies=copies, room_bytes=room)
    awareness = Awareness(config.awareness_max)
    return Context(config, rng, members, rumours, outbox, awareness, delegate, AllowList(config.allow), seal.draw)


def _changes(before: Member | None, after: Member | None) -> list[Event]:
    """What an application is told of a change of another member."""
    if after is None:
        return [MemberForgotten(before)] if before is not None else []
    was = State.DEAD if before is None else before.state
    match after.state:
        case State.ALIVE if was >= State.DEAD:
            return [MemberJoined(after)]
        case State.ALIVE:
            changed = before is not None and _public(before) != _public(after)
            recovered: list[Event] = [MemberRecovered(after)] if was is State.SUSPECT else []
            return recovered + ([MemberUpdated(after)] if changed else [])
        case State.SUSPECT if was is State.ALIVE:
            return [MemberSuspected(after)]
        case State.DEAD if was <= State.SUSPECT:
            return [MemberFailed(after)]
        case State.LEFT if was is not State.LEFT:
            return [MemberLeft(after)]
    return []


def _public(member: Member) -> tuple[Address, int, bytes]:
    return (member.address, member.epoch, member.metadata)
