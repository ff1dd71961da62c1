"""One node of the protocol: composes the parts, and is the only stateful object that a shell sees.

    shell ── receive(datagram, source, now), tick(now), exchange.feed(bytes, now), intents ──▶ Node
    shell ◀── datagrams(), dials(), events(), next_deadline() ── Node

After any call the shell sends `datagrams()`, opens a stream for each of `dials()`, hands `events()` on, and calls
`tick` at `next_deadline()`, having read its socket dry before. Calls never block, and never raise for what came from
the network. `now` is monotonic, in seconds, of the same clock in all calls.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from .application.broadcasts import Post
from .application.delegate import Delegate
from .config import GossipConfig
from .context import Context, Timer
from .directory.dissemination import Sharing
from .directory.reconcile import Reconciler
from .directory.replicas import Directory, Replica
from .errors import ConfigError, StateError, WireError
from .events import (
    Event,
    KeysChanged,
    MemberFailed,
    MemberForgotten,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    MemberUpdated,
    MessageReceived,
    Paused,
    Rejected,
    StateReceived,
)
from .membership.awareness import Awareness
from .membership.flaps import Flaps
from .membership.member import Address, Member, Members, State, check_metadata, check_name
from .membership.name_conflict import Namesakes
from .membership.probe import Prober
from .membership.updates import Membership, record_message
from .messages import (
    Ack,
    Alive,
    Broadcast,
    Buckets,
    Dead,
    Entries,
    Entry,
    KeyAction,
    KeyOrder,
    KeyReport,
    Left,
    Message,
    Nack,
    Offer,
    Ops,
    Packet,
    Ping,
    ProbeRequest,
    Pull,
    Record,
    Suspect,
    UserMessage,
    UserState,
)
from .packets.allow import AllowList
from .packets.codec import (
    ACK_PAYLOAD_MAX_BYTES,
    USER_MAX_BYTES,
    encode_message,
)
from .packets.inbox import Gate
from .packets.keyring import Keyring
from .packets.outbox import Datagram, Outbox, Stamp, room_bytes
from .packets.rumours import Rumours, retransmit_limit
from .packets.seal import Seal
from .streams.exchange import Exchange, Purpose

_PROBE: Final = (Timer.PROBE, "")
_RELAY: Final = (Timer.RELAY, "")
_GOSSIP: Final = (Timer.GOSSIP, "")
_SYNC: Final = (Timer.SYNC, "")
_HEAL: Final = (Timer.HEAL, "")
_FAREWELL: Final = (Timer.FAREWELL, "")
_ROUND_GAP_S: Final = 0.01  # rounds that fresh rumours bring forward are at least this far apart
_FAREWELL_TO: Final = 8
_QUESTIONS: Final = (Ping, ProbeRequest, Buckets, Entries, Pull)  # of each the first in a packet is answered
_REMIND_S: Final = 0.2  # somebody who takes part while believed dead is told so at most this often


class Node:
    """A member of one cluster.

    Args:
        config: settings.
        me: this node's own record, alive, at incarnation 0 of its epoch.
        seal: wraps and unwraps packets.
        rng: all chance of the node; a run is a function of its seed and the calls.
        now: monotonic time, s.
        delegate: the application, where it wants to be asked.

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
        self._config = config
        self._rng = rng
        self._seal = seal
        self._delegate = delegate or Delegate()
        self._members = Members(rng)
        room = room_bytes(config.datagram_max_bytes, seal, me.name)
        self._rumours = Rumours(config.members_max, room)
        self._outbox = Outbox(seal, self._rumours, stamp=self._stamp, limit=self._limit, room_bytes=room)
        self._context = Context(
            config,
            rng,
            self._members,
            self._rumours,
            self._outbox,
            Awareness(config.awareness_max),
            self._delegate,
            AllowList(config.allow),
        )
        self._deadlines = self._context.deadlines
        self._membership = Membership(self._context, me, self._observe, self._note_namesake)
        self._namesakes = Namesakes(self._context, lambda: self.me)
        self._sharing = Sharing(self._context, self._membership, room, self._fetch)
        self._prober = Prober(self._context, self._probe_by_stream, self._accuse)
        self._gate = Gate(self._context, seal, self._ack, self._hear_ack)
        self._flaps = Flaps(self._context, self.directory.count)
        self._post = Post(self._context, me.name, room)
        self._seeds: tuple[Address, ...] = ()
        self._dials: list[Exchange] = []
        self._dialling: dict[tuple[Address, Purpose], Exchange] = {}
        self._farewell: dict[int, str] = {}
        self._round_at = now - _ROUND_GAP_S
        self._ran_at = now
        self._reminded: dict[str, float] = {}
        self.name = me.name
        self.records_max = config.members_max + 1
        self._due = self._agenda()
        self._deadlines.set(_PROBE, now + rng.random() * config.probe_interval_s)
        self._deadlines.set(_SYNC, now + config.sync_interval_s * (0.5 + rng.random() / 2))

    # What the shell reads

    @property
    def me(self) -> Member:
        """This node's own record."""
        return self._membership.me

    @property
    def health(self) -> int:
        """How much this node doubts itself; 0 is healthy."""
        return self._context.awareness.score

    @property
    def protocol(self) -> int:
        """The version of the protocol that this node speaks: the highest one that all live members understand."""
        return self._seal.version

    @property
    def gave_way_to(self) -> Address | None:
        """Where another node has this node's name and started earlier, so that this one takes part no longer."""
        return self._namesakes.gave_way_to

    @property
    def keyring(self) -> Keyring:
        """The cluster's keys, as this node knows them."""
        return self._seal.keyring

    @property
    def directory(self) -> Directory:
        """The filters of the other members."""
        return self._sharing.directory

    @property
    def reconciler(self) -> Reconciler:
        """What to say about differences of views; for exchanges."""
        return self._sharing.reconciler

    @property
    def fingerprint(self) -> bytes:
        """8 bytes over this node's view: equal on nodes that know the same."""
        return self._sharing.versions.fingerprint

    @property
    def replica(self) -> Replica:
        """This node's own filter, as published."""
        return self._sharing.holdings.replica

    @property
    def waiting(self) -> int:
        """Rumours that wait to be told."""
        return len(self._rumours)

    @property
    def unpublished(self) -> int:
        """How many of this node's keys its filter does not show yet."""
        return self._sharing.holdings.unpublished

    @property
    def key_count(self) -> int:
        """How many keys this node holds."""
        return len(self._sharing.holdings)

    def members(self) -> list[Member]:
        """All other members, the dead and departed included until they are forgotten."""
        return list(self._members)

    def member(self, name: str) -> Member | None:
        """Another member, or this one."""
        return self.me if name == self.name else self._members.get(name)

    def holders(self, key: bytes) -> list[Member]:
        """Alive members, without this node, that may hold the key of at least 8 bytes; in no particular order."""
        found = map(self._members.get, self.directory.holders(key))
        return [member for member in found if member is not None]

    def is_left_out(self, name: str, now: float) -> bool:
        """Whether lookups leave a member out because it flapped."""
        return self._flaps.out_until(name, now) is not None

    def rtt_s(self, name: str) -> float | None:
        """The smoothed round-trip time to a member, s, if it was ever measured."""
        return self._prober.rtt_s(name)

    def next_deadline(self) -> float | None:
        """When to call `tick`, s; never again if this node gave way to a namesake."""
        return None if self.gave_way_to else self._deadlines.next()

    def datagrams(self) -> list[Datagram]:
        """Datagrams to send now; each is given once."""
        return self._outbox.drain()

    def dials(self) -> list[Exchange]:
        """Conversations to open now; each is given once. Call `hang_up` at the end of each, however it ended."""
        dials, self._dials = self._dials, []
        return dials

    def events(self) -> list[Event]:
        """What happened since the last call."""
        events, self._context.events = self._context.events, []
        return events

    @property
    def farewell_heard(self) -> bool:
        """Whether, after `leave`, all those who were told directly have confirmed it."""
        return self.me.state is State.LEFT and not self._farewell

    # Intents

    def join(self, seeds: Iterable[Address], now: float) -> None:
        """Reach the cluster through any of these addresses, now and whenever it is lost; replaces earlier seeds."""
        self._seeds = tuple(dict.fromkeys(seed for seed in seeds if seed != self.me.address))
        for seed in self._unreached_seeds():
            self._dial(seed, Purpose.SYNC)
        self._deadlines.bring_forward(_HEAL, now + self._config.join_retry_s)

    def update(self, metadata: bytes, now: float) -> None:
        """Change this node's metadata.

        Raises:
            ConfigError: it is longer than 512 bytes.
            StateError: this node has left.
        """
        check_metadata(metadata)
        self._membership.update(metadata)
        self._sharing.note_own()
        self._hasten_round(now)

    def advertise(self, keys: Iterable[bytes], now: float) -> None:
        """Tell all members that this node holds these keys, of at least 8 bytes each.

        Raises:
            StateError: this node has left.
        """
        self._check_present()
        self._sharing.advertise(keys, now)

    def withdraw(self, keys: Iterable[bytes], now: float) -> None:
        """This node holds these keys no longer.

        Raises:
            StateError: this node has left.
        """
        self._check_present()
        self._sharing.withdraw(keys, now)

    def ping(self, name: str, now: float) -> int:
        """Ask a member for an answer. Returns the number that the `Answered` event will bear, if there is one.

        Raises:
            StateError: there is no such member.
        """
        return self._prober.ping(self._known(name), now)

    def send(self, name: str, payload: bytes) -> None:
        """Send a message to another application in one datagram, which may be lost.

        Raises:
            ConfigError: it does not fit a datagram; the message says what does.
            StateError: there is no such member, or this node has left.
        """
        self._check_present()
        self._post.send(self._known(name), payload)

    def tell(self, name: str, payload: bytes) -> Exchange:
        """A conversation that delivers a message to another application; its `answers` are not empty if it did.

        Raises:
            ConfigError: the message is longer than 1 MiB.
            StateError: there is no such member, or this node has left.
        """
        self._check_present()
        if len(payload) > USER_MAX_BYTES:
            raise ConfigError(f"a message has at most {USER_MAX_BYTES} bytes, not {len(payload)}")
        return self._conversation(self._known(name).address, Purpose.TELL, UserMessage(payload))

    def broadcast(self, payload: bytes, now: float) -> None:
        """Send a message to all other applications, as a rumour: most likely everybody gets it, and nobody twice.

        Raises:
            ConfigError: it is longer than 512 bytes, or than what fits a datagram.
            StateError: this node has left.
        """
        self._check_present()
        self._post.broadcast(payload, self.me.epoch)
        self._settle(now)

    def order(self, name: str, action: KeyAction, key: bytes = b"") -> Exchange:
        """A conversation that has another member change its keyring; its `answers` are one `KeyReport`.

        Raises:
            ConfigError: this node seals nothing.
            StateError: there is no such member, or this node has left.
        """
        self._check_present()
        if not self._seal.speaks_sealed:
            raise ConfigError("keys are changed through the cluster only where packets are sealed; use a key file")
        return self._conversation(self._known(name).address, Purpose.KEYS, KeyOrder(action, key))

    def change_keys(self, action: KeyAction, key: bytes = b"") -> None:
        """Change this node's own keyring.

        Args:
            action: what to do.
            key: 32 bytes to install; the id, 4 bytes, to use or remove.

        Raises:
            ConfigError: the keyring refuses; the message says why.
        """
        before = tuple(self.keyring)
        self._seal.change_keys(action, key)
        if tuple(self.keyring) != before:
            self._context.emit(KeysChanged(self.keyring.ids))

    def leave(self, now: float) -> None:
        """Say goodbye; `farewell_heard` tells when enough have confirmed it. Keep running for that long."""
        if self.me.state is State.LEFT:
            return
        self._membership.leave()
        for timer in (_PROBE, _SYNC, _HEAL):
            self._deadlines.cancel(timer)
        told = self._members.sample(max(_FAREWELL_TO, self._config.direct_members_max), lambda member: member.live)
        self._farewell = {self._rng.getrandbits(32): member.name for member in told}
        self._say_farewell(now)
        self._hasten_round(now)

    # Inputs

    def receive(self, payload: bytes, source: Address, now: float) -> None:
        """Take a datagram. Whatever is wrong with it becomes a `Rejected` event."""
        if self.gave_way_to:
            return
        self._notice_pause(now)
        self._outbox.credit(source, len(payload))
        try:
            for packet, whence in self._gate.admit(payload, source, now):
                self._take(packet, whence, now)
        except WireError as error:
            self._context.emit(Rejected(error.reason, source))
        self._settle(now)

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self.gave_way_to:
            return
        self._notice_pause(now)
        while (due := self._deadlines.pop_due(now)) is not None:
            timer, name = due
            self._due[timer](name, now)
        self._settle(now)

    def answer(self, source: Address) -> Exchange:
        """This node's half of a conversation that somebody opened.

        Raises:
            WireError: nobody may from there.
        """
        self._gate.check_source(source)
        return Exchange(self, self._seal.channel(dialled=False), source, purpose=None)

    def hang_up(self, exchange: Exchange, now: float, error: WireError | None = None) -> None:
        """A conversation ended, with the error that `feed` raised if it did."""
        if exchange.purpose is not None and self._dialling.get((exchange.remote, exchange.purpose)) is exchange:
            del self._dialling[exchange.remote, exchange.purpose]
        if error is not None:
            self._context.emit(Rejected(error.reason, exchange.remote))
            if error.reason == "self" and exchange.dialled:
                self._namesakes.address(exchange.remote, now)
        self._settle(now)

    def doubt(self) -> None:
        """The shell noticed that this process runs late: it is to judge others more slowly."""
        self._context.awareness.add(1)

    # Exchanges call these

    def records(self) -> Iterator[Message]:
        """Records of everybody known, this node first."""
        yield record_message(self.me)
        yield from [record_message(member) for member in self._members]

    def install(self, entry: Entry, bits_log2: int, bits: bytes, now: float) -> None:
        """Take a complete filter that arrived over a stream."""
        self._sharing.install(entry, bits_log2, bits, now)

    def packet(self, messages: list[Message]) -> bytes:
        """These messages as a packet, for a stream."""
        return self._outbox.packet(map(encode_message, messages))

    def state(self) -> bytes:
        """The application's state, for a full exchange."""
        return self._delegate.state(joining=not self._members.live_count)

    def is_stranger(self, who: Address | str) -> bool:
        """Whether nobody alive is known at that address, or of that name."""
        return not any(member.live and who in (member.address, member.name) for member in self._members)

    def merge(self, records: list[Record], now: float, *, stranger: bool) -> None:
        """Take what another node knows of members; the application may refuse what a stranger brings.

        Raises:
            WireError: the application refused.
        """
        if stranger and not self._delegate.merge([_stated(record, now) for record in records]):
            raise WireError("veto", "the application does not want these members")
        for record in records:
            self._membership.hear_record(record, now)
        self._settle(now)

    def obey(self, order: KeyOrder) -> KeyReport:
        """Carry out another member's order about keys."""
        refusal = ""
        try:
            self.change_keys(order.action, order.key)
        except ConfigError as error:
            refusal = str(error)
        return KeyReport(b"".join(self.keyring.ids), refusal)

    def hear(self, message: Message, packet: Packet, now: float) -> None:
        """Take one message that asks for no answer."""
        match message:
            case Ack():
                self._hear_ack(message, packet.sender, now)
            case UserMessage():
                self._context.emit(MessageReceived(packet.sender, message.payload))
            case UserState():
                self._context.emit(StateReceived(packet.sender, message.payload))
            case Broadcast():
                self._post.hear(message)
            case Alive():
                self._membership.hear_alive(message, now)
            case Suspect():
                self._membership.hear_suspect(message, now)
            case Dead():
                self._membership.hear_dead(message, now)
            case Left():
                self._membership.hear_left(message, now)
            case Ops():
                self._sharing.hear_ops(message, now)
            case _:
                raise WireError("order", "a message that does not belong here")

    # Packets

    def _take(self, packet: Packet, source: Address, now: float) -> None:
        if packet.sender == self.name:
            self._namesakes.meet(packet, source, now)
            return
        asked: set[type[Message]] = set()
        for message in packet.messages:
            if type(message) not in asked:
                self._take_message(message, packet, source, now)
            if isinstance(message, _QUESTIONS):
                asked.add(type(message))
        sender = self._members.get(packet.sender)
        if sender is None:
            return
        self._sharing.close_gaps(sender.address)
        if not sender.live and packet.epoch == sender.epoch:
            self._remind(sender, now)
        elif sender.live and self.me.state is not State.LEFT:
            self._sharing.hear_fingerprint(packet.fingerprint, sender, now)

    def _take_message(self, message: Message, packet: Packet, source: Address, now: float) -> None:
        """Answers go to a member's known address, or a short one to where the packet came from: none can be aimed."""
        sender = self._members.get(packet.sender)
        match message:
            case Ping():
                self._answer_ping(message, packet, source)
            case Nack():
                self._prober.refuse(message.number, packet.sender)
            case ProbeRequest() | Buckets() | Entries() | Pull() | Offer():
                if sender is not None:
                    self._serve(message, sender.address, now)
                elif isinstance(message, Entries):
                    self._outbox.answer(source, [Pull((Entry(packet.sender, 0, 0, 0, 0),))])
            case _:
                self.hear(message, packet, now)

    def _serve(self, message: ProbeRequest | Buckets | Entries | Pull | Offer, address: Address, now: float) -> None:
        """Do what a member asks for, and answer to its address."""
        match message:
            case ProbeRequest():
                nack_at = self._prober.relay(message, address, now)
                if nack_at is not None:
                    self._deadlines.bring_forward(_RELAY, nack_at)
            case Entries():
                self._sharing.hear_entries(message, address)
            case Buckets():
                self._sharing.hear_buckets(message, address)
            case Pull():
                self._sharing.hear_pull(message, address)
            case Offer():
                self._sharing.hear_offer(message, address, now)

    def _answer_ping(self, ping: Ping, packet: Packet, source: Address) -> None:
        ack, sender = self._ack(ping), self._members.get(packet.sender)
        if ack is None:
            return
        if sender is None or sender.address != source:
            self._outbox.answer(source, [ack], [Ack(ping.number)])
            return
        messages: list[Message] = [ack]
        if sender.state is State.SUSPECT:
            messages.append(self._accuse(sender))
        self._outbox.send(source, messages)

    def _ack(self, ping: Ping) -> Ack | None:
        """The answer to a ping, if it is for this node."""
        return (
            Ack(ping.number, self._delegate.acknowledge()[:ACK_PAYLOAD_MAX_BYTES]) if ping.target == self.name else None
        )

    def _hear_ack(self, ack: Ack, sender: str, now: float) -> bool:
        """Take an answer. Returns whether anybody waited for it."""
        if self._farewell.get(ack.number) == sender:
            del self._farewell[ack.number]
            return True
        return self._prober.acknowledge(ack, sender, now)

    def _remind(self, sender: Member, now: float) -> None:
        """Tell a member that takes part while it is believed dead, so that it refutes."""
        if now - self._reminded.get(sender.name, -_REMIND_S) >= _REMIND_S:
            self._reminded[sender.name] = now
            self._outbox.send(sender.address, [self._accuse(sender)])

    # Time

    def _agenda(self) -> dict[Timer, Callable[[str, float], None]]:
        """What to do at which deadline."""
        return {
            Timer.PROBE: lambda _, now: self._probe(now),
            Timer.RELAY: lambda _, now: self._nack(now),
            Timer.GOSSIP: lambda _, now: self._gossip(now),
            Timer.PUBLISH: lambda _, now: self._sharing.publish(now),
            Timer.FETCH: lambda _, __: self._sharing.fetch_wanted(),
            Timer.MURMUR: lambda _, now: self._sharing.murmur(now),
            Timer.SYNC: lambda _, now: self._sync(now),
            Timer.HEAL: lambda _, now: self._heal(now),
            Timer.FAREWELL: lambda _, now: self._say_farewell(now),
            Timer.SUSPICION: self._membership.expire_suspicion,
            Timer.FORGET: self._membership.forget,
            Timer.STEADY: self._flaps.check,
        }

    def _nack(self, now: float) -> None:
        next_at = self._prober.nack_overdue(now)
        if next_at is not None:
            self._deadlines.set(_RELAY, next_at)

    def _notice_pause(self, now: float) -> None:
        """If this node was not run in time, nobody else is to be judged by that time."""
        due = self._deadlines.next()
        if due is None:
            return
        pause_s = now - max(due, self._ran_at)
        if pause_s <= self._config.probe_timeout_s:
            return
        self._ran_at = now
        if self.me.state is not State.LEFT:
            self._deadlines.set(_PROBE, self._prober.discard_round(now))
        self._membership.extend_suspicions(pause_s, now)
        self._context.awareness.add(1)
        self._context.emit(Paused(pause_s))

    def _probe(self, now: float) -> None:
        next_at, failed = self._prober.advance(now)
        self._deadlines.set(_PROBE, next_at)
        if failed is not None:
            self._membership.suspect(failed, now)

    def _gossip(self, now: float) -> None:
        """One round: rumours to some members, those lately dead included, for they may want to refute."""
        self._round_at = now
        heard_until = now - self._config.gossip_to_dead_s
        targets = self._members.sample(
            self._config.gossip_fanout,
            lambda member: member.live or (member.state is State.DEAD and member.changed_at >= heard_until),
        )
        for target in targets:
            if not self._outbox.send_rumours(target.address):
                break
        if self._rumours and targets:
            self._deadlines.set(_GOSSIP, now + self._config.gossip_interval_s)

    def _sync(self, now: float) -> None:
        """A full exchange with one member, rarer in large clusters. Source: memberlist, `pushPullScale`."""
        for member in self._members.sample(1, lambda member: member.state is State.ALIVE):
            self._dial(member.address, Purpose.SYNC)
        scale = max(1, (self._membership.live_count - 1).bit_length() - 4)
        self._deadlines.set(_SYNC, now + self._config.sync_interval_s * scale)

    def _heal(self, now: float) -> None:
        """Try one address that should be in the cluster and is not: so partitions heal, however long they lasted."""
        lost = [member.address for member in self._members if member.state is State.DEAD]
        candidates = [*lost, *self._unreached_seeds()]
        if candidates:
            self._dial(self._rng.choice(candidates), Purpose.SYNC)
        alone = self._members.live_count == 0
        pause_s = self._config.join_retry_s if alone else self._config.heal_interval_s
        self._deadlines.set(_HEAL, now + pause_s * (0.75 + self._rng.random() / 2))

    def _say_farewell(self, now: float) -> None:
        """Tell goodbye to those who have not confirmed it; a ping along with it asks for that."""
        goodbye = self._membership.statement(self.me, self.name)
        for number, name in list(self._farewell.items()):
            member = self._members.get(name)
            if member is None or not member.live:
                del self._farewell[number]
            else:
                self._outbox.send(member.address, [goodbye, Ping(number, name)])
        if self._farewell:
            self._deadlines.set(_FAREWELL, now + self._config.probe_timeout_s)

    def _settle(self, now: float) -> None:
        """After every input: fresh rumours bring the next round forward; intents of others reach the timers."""
        if self._rumours.fresh:
            self._rumours.fresh = False
            self._hasten_round(now)
        if not self._members.live_count and self._seeds and self.me.state is not State.LEFT:
            self._deadlines.bring_forward(_HEAL, now + self._config.join_retry_s)
        self._sharing.note_own()

    def _hasten_round(self, now: float) -> None:
        self._rumours.fresh = False
        self._deadlines.bring_forward(_GOSSIP, max(now, self._round_at + _ROUND_GAP_S))

    # Parts call these

    def _observe(self, before: Member | None, after: Member | None, now: float) -> None:
        self._sharing.note(before, after, now)
        self._context.events += _changes(before, after)
        self._seal.version = self._members.common(self._config.protocol).high
        self._flaps.observe(before, after, now)
        if after is None and before is not None:
            self._reminded.pop(before.name, None)
            self._prober.forget(before.name)
            self._post.forget(before.name)
        if after is not None and after.state is State.DEAD:
            self._deadlines.bring_forward(_HEAL, now + self._config.heal_interval_s)

    def _note_namesake(self, address: Address, now: float) -> None:
        self._namesakes.address(address, now)

    def _stamp(self) -> Stamp:
        return Stamp(self.name, self.me.epoch, self.fingerprint)

    def _limit(self) -> int:
        return retransmit_limit(self._config.retransmit_mult, self._membership.live_count)

    def _accuse(self, member: Member) -> Message:
        return self._membership.statement(member, self.name)

    def _fetch(self, address: Address, entries: list[Entry]) -> None:
        self._dial(address, Purpose.FETCH, Pull(tuple(entries)))

    def _probe_by_stream(self, target: Member, number: int) -> None:
        self._dial(target.address, Purpose.PROBE, Ping(number, target.name))

    def _dial(self, address: Address, purpose: Purpose, *opening: Message) -> None:
        name = (address, purpose)
        if len(self._dialling) < self._config.streams_max and name not in self._dialling:
            self._dialling[name] = self._conversation(address, purpose, *opening)
            self._dials.append(self._dialling[name])

    def _conversation(self, address: Address, purpose: Purpose, *opening: Message) -> Exchange:
        return Exchange(self, self._seal.channel(dialled=True), address, purpose=purpose, opening=opening)

    def _known(self, name: str) -> Member:
        member = self._members.get(name)
        if member is None:
            raise StateError(f"there is no member {name!r}")
        return member

    def _unreached_seeds(self) -> list[Address]:
        reached = {member.address for member in self._members if member.live}
        return [seed for seed in self._seeds if seed not in reached]

    def _check_present(self) -> None:
        if self.me.state is State.LEFT:
            raise StateError("this node has left the cluster")


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


def _stated(record: Record, now: float) -> Member:
    """A member as a record states it."""
    said = (record.name, record.address, record.epoch, record.incarnation, record.state, record.metadata)
    return Member(*said, changed_at=now, recorded=record.incarnation, protocol=record.protocol)


def _public(member: Member) -> tuple[Address, int, bytes]:
    return (member.address, member.epoch, member.metadata)
