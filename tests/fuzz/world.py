"""One node among hands that play everybody else, held against what must be true of any node after every step.

- Nothing that the network says raises anything but the documented errors.
- Its own record never goes back, and it never believes itself dead.
- What it believes of a member never goes back while it knows that member.
- Tables, queues and conversations stay within their bounds.
- A datagram is never longer than allowed, and others would read it.
- An `Ack` goes only to where the question came from, or to a member that asked for a relay.
- Who is at no member's address is never sent more than came from there, but for one line to a namesake a second, and
  short questions to those who were heard of, or the record of a live member of their name, few of them.
"""

import random
from collections import deque
from typing import Final

from gossip.core.application.delegate import Delegate
from gossip.core.config import GossipConfig
from gossip.core.errors import WireError
from gossip.core.events import Event, MemberForgotten, MemberJoined, MemberUpdated
from gossip.core.membership.member import Address, Member, Precedence, Span, State
from gossip.core.messages import Ack, Alive, FilterKind, Message, NameClaim, Ping
from gossip.core.node import Node
from gossip.core.packets.codec import DATAGRAM_INFLATED_MAX_BYTES, decode_packet, encode_message, encode_packet
from gossip.core.packets.keyring import Keyring
from gossip.core.packets.outbox import Datagram
from gossip.core.packets.seal import Channel, Seal
from gossip.core.streams.exchange import Exchange
from gossip.core.streams.frames import FRAME_MAX_BYTES

from .grammar import ME, PEERS, address_of

KEYS: Final = (bytes(range(32)), bytes(range(1, 33)))
START_S: Final = 100.0
_TICKS_MAX: Final = 400  # at most, for the time that passes in one step
_ANSWERS_MAX: Final = 120  # datagrams that one packet may cause
_SPAN: Final = Span(1, 3)


def small_config(filters: FilterKind = FilterKind.BLOOM) -> GossipConfig:
    """Settings whose bounds a fuzzer reaches."""
    return GossipConfig(
        label="fuzz",
        filters=filters,
        protocol=_SPAN,
        members_max=24,
        gone_max=4,
        log_keys=64,
        snapshot_over_keys=64,
        direct_members_max=6,
        forget_after_s=30,
        flap_window_s=20,
        rebuild_quiet_s=5,
        streams_max=4,
    )


class Application(Delegate):
    """One that answers, with much to say and some to refuse."""

    def admit(self, member: Member) -> bool:
        """Not those with certain metadata."""
        return not member.metadata.startswith(b"\xee")

    def state(self, *, joining: bool) -> bytes:
        """Some."""
        return b"state" * 100

    def acknowledge(self) -> bytes:
        """More than allowed."""
        return bytes(80)


class BrokenRule(AssertionError):
    """A node did what no node must ever do."""


class World:
    """A node under test.

    Args:
        seed: of the node's chance.
        sealed: whether its cluster has keys.
        config: its settings.
    """

    def __init__(self, seed: int, *, sealed: bool, config: GossipConfig | None = None) -> None:
        self.config = config or small_config()
        self.now = START_S
        self.asked: deque[int] = deque(maxlen=8)
        self.events: deque[Event] = deque(maxlen=64)
        self.speakers = [self._seal(seed + run, sealed=sealed) for run in range(1, 4)]
        me = Member(ME, address_of(ME), 1, 0, State.ALIVE, b"", changed_at=self.now, protocol=_SPAN)
        seal = self._seal(seed, sealed=sealed)
        self._reader = self._seal(seed + 9, sealed=sealed)
        self.node = Node(self.config, me, seal, random.Random(seed), self.now, Application())
        self._limit_bytes = self.config.datagram_max_bytes
        self._said_by_me = (me.epoch, me.incarnation)
        self._left = False
        self._believed: dict[str, Precedence] = {}
        self._balance: dict[Address, int] = {}
        self._reached: set[Address] = {me.address}
        self._namesakes_told = self._questions = 0

    def _seal(self, seed: int, *, sealed: bool) -> Seal:
        keyring = Keyring(KEYS if sealed else ())
        return Seal(self.config.label, keyring, _SPAN, random.Random(seed).randbytes, filters=self.config.filters)

    # What happens to the node

    def say(self, sender: str, *messages: Message, source: Address | None = None, run: int = 0) -> None:
        """Let a packet arrive."""
        packet = encode_packet(sender, 1, self.node.view.fingerprint, map(encode_message, messages))
        self.receive(self.wrap(packet, run), source or address_of(sender))

    def wrap(self, packet: bytes, run: int = 0) -> bytes:
        """A packet as a process of its cluster would send it."""
        speaker = self.speakers[run % len(self.speakers)]
        speaker.version = self.node.view.protocol
        return speaker.wrap(packet)

    def receive(self, payload: bytes, source: Address) -> None:
        """Let a datagram arrive."""
        self._balance[source] = self._balance.get(source, 0) + len(payload)
        if len(self._balance) > 4096:
            self._balance.clear()
            self._balance[source] = len(payload)
        self.node.receive(payload, source, self.now)
        self._collect(source, _ANSWERS_MAX)
        self.introduce_peers()

    def introduce_peers(self) -> None:
        """Peers are there: they answer at the address at which they were heard of, if it is theirs."""
        for ping, heard in self.node.introductions.questions:
            if heard.name in PEERS and heard.address == address_of(heard.name):
                packet = encode_packet(heard.name, heard.epoch, bytes(8), [encode_message(Ack(ping.number))])
                self.node.receive(self.wrap(packet), heard.address, self.now)
                self._collect(heard.address, _ANSWERS_MAX)

    def pass_time(self, duration_s: float) -> None:
        """Tick at every deadline until then."""
        until = self.now + duration_s
        for _ in range(_TICKS_MAX):
            deadline = self.node.next_deadline()
            if deadline is None or deadline > until:
                break
            self.now = max(self.now, deadline)
            self.node.tick(self.now)
            self._collect(None, 4 * self.config.members_max + 300)
        self.now = max(self.now, until)

    def pause(self, duration_s: float) -> None:
        """Do not run the node, and then run it once."""
        self.now += duration_s
        self.node.tick(self.now)
        self._collect(None, 4 * self.config.members_max + 300)

    def leave(self) -> None:
        """Let the node say goodbye."""
        self._left = True
        self.node.leave(self.now)
        self.after_intent()

    def after_intent(self) -> None:
        """The node was told to do something."""
        self._collect(None, 4 * self.config.members_max + 300)

    # Streams

    def answer(self, run: int = 0, source: Address | None = None) -> "Talk":
        """Somebody opens a stream to the node."""
        half = self.node.answer(source or Address("192.0.2.7", 40000))
        return Talk(self, half, self.speakers[run % 3].channel(dialled=True))

    def dialled(self, run: int = 0) -> list["Talk"]:
        """The streams that the node wants to open."""
        return [self.talk(half, run) for half in self.node.dials()]

    def talk(self, half: Exchange, run: int = 0) -> "Talk":
        """The other end of a stream that the node opens."""
        return Talk(self, half, self.speakers[run % 3].channel(dialled=False))

    # Rules

    def check(self) -> None:
        """Hold the node against the rules about its state.

        Raises:
            BrokenRule: one does not hold.
        """
        me, node, config = self.node.view.me, self.node, self.config
        said = (me.epoch, me.incarnation)
        _hold(said >= self._said_by_me, f"its own record went back from {self._said_by_me} to {said}")
        self._said_by_me = said
        _hold(me.state is (State.LEFT if self._left else State.ALIVE), f"it believes itself to be {me.state.name}")
        members = node.view.members()
        believed = {member.name: member.precedence for member in members}
        for name, precedence in believed.items():
            known = self._believed.get(name)
            _hold(known is None or precedence >= known, f"it went back on {name}: {known} to {precedence}")
        self._believed = believed
        _hold(ME not in believed, "it is a member of its own table")
        _hold(len(members) <= config.members_max, f"it knows {len(members)} members")
        live = sum(member.live for member in members)
        _hold(len(members) - live <= max(config.gone_max, live), f"{len(members) - live} graves for {live} members")
        _hold(node.view.waiting <= 3 * config.members_max, f"{node.view.waiting} rumours wait")
        at_rest = self._left or node.view.gave_way_to is not None
        _hold(at_rest or node.next_deadline() is not None, "it never wants to run again")

    def _collect(self, source: Address | None, most: int) -> None:
        """Do for the node what its shell would, and check what it says."""
        said = self.node.datagrams()
        _hold(len(said) <= most, f"{len(said)} datagrams at once")
        for event in self.node.events():
            self.events.append(event)
            if isinstance(event, MemberJoined | MemberUpdated):  # perhaps forgotten again already
                self._reached.add(event.member.address)
            elif isinstance(event, MemberForgotten):
                self._believed.pop(event.member.name, None)
        if any(datagram.destination not in self._reached for datagram in said):
            self._reached.update(member.address for member in self.node.view.members())
        for datagram in said:
            self._check_datagram(datagram, source)

    def _check_datagram(self, datagram: Datagram, source: Address | None) -> None:
        payload, destination = datagram.payload, datagram.destination
        _hold(len(payload) <= self._limit_bytes, f"a datagram of {len(payload)} bytes")
        packet = decode_packet(self._reader.unwrap(payload).packet, DATAGRAM_INFLATED_MAX_BYTES)
        for message in packet.messages:
            if isinstance(message, Ping):
                self.asked.append(message.number)
            elif isinstance(message, Ack):
                _hold(destination == source or destination in self._reached, f"an answer goes to {destination}")
        if destination in self._reached:
            return
        kinds = [type(message) for message in packet.messages]
        if NameClaim in kinds and Ack not in kinds:
            self._check_namesake()
            return
        if kinds in ([Ping, Alive], [Alive]):
            self._questions += 1
            _hold(self._questions <= 128 + 512 * (self.now - START_S), "it asks too many of whom it only heard")
            return
        self._balance[destination] = self._balance.get(destination, 0) - len(payload)
        _hold(self._balance[destination] >= 0, f"{destination} is sent more than came from there: {packet}")

    def _check_namesake(self) -> None:
        self._namesakes_told += 1
        _hold(self._namesakes_told <= 2 + self.now - START_S, "namesakes are told more than once a second")


class Talk:
    """A stream between the node and a hand that plays the other end.

    Args:
        world: of the node.
        half: the node's.
        channel: the seal of this end.
    """

    def __init__(self, world: World, half: Exchange, channel: Channel) -> None:
        self.half = half
        self._world = world
        self._channel = channel
        self._greeted = False
        self.open = True

    def hear(self) -> int:
        """Take all that the node's half has to say. Returns how many bytes those are."""
        heard = 0
        while self.open and self.half.my_turn:
            for frame in self.half.frames():
                _hold(len(frame) <= FRAME_MAX_BYTES + 4, "a frame is longer than allowed")
                heard += len(frame)
                if not self._greeted:
                    self._channel.greet(frame)
                    self._greeted = True
        return heard

    def greet(self) -> None:
        """Say this end's greeting."""
        self.feed(self._channel.greeting)

    def say(self, packet: bytes) -> None:
        """Send a whole packet in a frame."""
        wrapped = self._channel.wrap(packet)
        self.feed(len(wrapped).to_bytes(4, "big") + wrapped)

    def feed(self, received: bytes) -> None:
        """Send bytes; what is against the protocol ends the stream, as a shell would end it."""
        if not self.open:
            return
        world = self._world
        error = None
        try:
            self.half.feed(received, world.now)
        except WireError as failure:
            error = failure
        if error is not None or self.half.finished:
            self.close(error)
        world.after_intent()

    def close(self, error: WireError | None = None) -> None:
        """Hang up."""
        if self.open:
            self.open = False
            self._world.node.hang_up(self.half, self._world.now, error)


def _hold(rule: bool, what: str) -> None:
    if not rule:
        raise BrokenRule(what)
