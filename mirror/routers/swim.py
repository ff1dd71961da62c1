"""Discovery by gossip: the only module of the mirror that imports `gossip`.

The metadata of a member says at which port its peer endpoint is, as JSON: `{"port": 5001}`. Its address is that of its
gossip, from which it has answered: what a member says of itself cannot aim the requests of all others elsewhere. A
member whose metadata does not say this, or whose name no agent can have, takes part in the gossip and is never asked
for content.

`"tls"` says that it speaks TLS there. Where gossip is sealed, nobody on the path can take that word away.

`"home"` says whether the member serves as a home: `new` until it has been up for a while, `yes`, or `no`. Each member
says this of itself, so all others see a change at nearly the same moment, and agree about the rings.
"""

import asyncio
import contextlib
import enum
import logging
import random
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

import gossip
from gossip import Gossip, Listen, Member, State

from ..channels import PeerTls
from ..channels.contexts import Channels
from ..errors import ConfigError, StartFailed
from ..events import Event, KeysChanged, Kind, MemberChanged, Refuted, Tell, nobody
from ..settings import RouterSettings
from ..sources import UPSTREAM
from . import (
    NOTE_MAX_BYTES,
    NOTES_MAX_BYTES,
    Listener,
    MemberStatus,
    Peer,
    Place,
    RingSeat,
    Serves,
    Topic,
    is_member_name,
)

log = logging.getLogger(__name__)

key_id = gossip.key_id
KeyRefusal = gossip.GossipError
Label = TypeVar("Label", bound=enum.StrEnum)
_CLAIM_TOLD_S: Final = 600.0
"""Time for which another node's claim of this node's name is told, s. One that is started again and again claims it
again and again."""
PROFILES: Final = {"lan": gossip.lan, "wan": gossip.wan, "fast": gossip.fast, "local": gossip.local}


_KINDS: Final[Mapping[type, Kind]] = {
    gossip.MemberJoined: Kind.MEMBER_JOINED,
    gossip.MemberSuspected: Kind.MEMBER_SUSPECTED,
    gossip.MemberRecovered: Kind.MEMBER_REFUTED,
    gossip.MemberFailed: Kind.MEMBER_DIED,
    gossip.MemberLeft: Kind.MEMBER_LEFT,
}
"""What people are told of a member, by the event of gossip."""


class _Endpoint(msgspec.Struct, frozen=True, omit_defaults=True):
    port: int
    home: Serves = Serves.YES
    tls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SwimSettings:
    """How a node takes part.

    Args:
        name: of this node.
        bind: IP address and port of its gossip.
        advertise: IP address under which others reach its gossip and its peer endpoint.
        peer_port: TCP port of its peer endpoint.
        channels: how it speaks there, and on the streams of its gossip.
        seeds: gossip addresses of others.
        key_file: the cluster's keys, or None.
        sealing: with keys: allow, prefer or require.
        cluster: its name.
        profile: lan, wan, fast or local.
        exact: whether members publish keys instead of Bloom filters, for comparison.
        allow: networks from which packets are accepted; empty: from all.
        snapshot: the file in which this node keeps the members that it knew, for its next start.
    """

    name: str
    bind: tuple[str, int]
    advertise: str
    peer_port: int
    channels: Channels
    seeds: Sequence[str]
    key_file: Path | None
    sealing: str
    cluster: str
    profile: str
    exact: bool
    allow: tuple[str, ...]
    snapshot: Path


@dataclass(frozen=True, slots=True)
class Figures:
    """What gossip counts, for metrics: totals by label, with 0 for what has not happened, and present values.

    Args:
        datagrams: by direction.
        bytes: of datagrams, by direction.
        rejected: what was received and dropped, by reason.
        events: by name.
        errors: what went wrong on this node, by kind.
        streams: conversations over TCP.
        stalls: times that the event loop ran late by 0.25 s or more.
        health: the local health score of Lifeguard; 0 is healthy.
        waiting: rumours that wait to be sent.
        candidates: those who were heard of and have yet to answer, before they are members.
        blanks: members whose filters are not kept for want of memory: lookups do not find them.
        is_alone: whether this node looks for others and reaches none.
        lag_s: how late its event loop ran in the last minute, by quantile.
    """

    datagrams: Mapping[str, int]
    bytes: Mapping[str, int]
    rejected: Mapping[str, int]
    events: Mapping[str, int]
    errors: Mapping[str, int]
    streams: int
    stalls: int
    health: int
    waiting: int
    candidates: int
    blanks: int
    is_alone: bool
    lag_s: Mapping[float, float]


class _Word:
    """What this node says of itself in its metadata: where its peer endpoint is, and whether it serves as a home.

    Args:
        gossip: carries it.
        endpoint: what it says at first, as a new node.
    """

    def __init__(self, gossip: Gossip, endpoint: _Endpoint) -> None:
        self._gossip = gossip
        self._endpoint = endpoint
        self._willing, self._is_new = True, True
        self._newness: asyncio.TimerHandle | None = None
        gossip.update(msgspec.json.encode(endpoint))

    def grow_old_after(self, seconds: float) -> None:
        """Have this node count as new no more after a while."""
        self._newness = asyncio.get_running_loop().call_later(seconds, self._grow_old)

    def close(self) -> None:
        """Say nothing more."""
        if self._newness is not None:
            self._newness.cancel()

    def set_willing(self, willing: bool) -> None:
        """Say whether this node serves as a home; it does not before it has been up for a while."""
        self._willing = willing
        self._publish()

    def _grow_old(self) -> None:
        self._is_new = False
        self._publish()

    def _publish(self) -> None:
        home = Serves.NO if not self._willing else Serves.NEW if self._is_new else Serves.YES
        if home != self._endpoint.home:
            self._endpoint = msgspec.structs.replace(self._endpoint, home=home)
            with contextlib.suppress(gossip.StateError):
                self._gossip.update(msgspec.json.encode(self._endpoint))


class SwimNotes(gossip.Delegate):
    """Implements `Notes`: each travels as a rumour, and all of them with the full exchanges of members.

    Both have one form: notes by topic. What happens to members and keys is heard on the same way, and told to people.

    Args:
        on_event: told of that.
    """

    def __init__(self, on_event: Tell = nobody) -> None:
        self._on_event = on_event
        self._gossip: Gossip | None = None
        self._events: AsyncIterator[gossip.Event | gossip.EventsLost] | None = None
        """What was heard and nobody has taken in yet."""
        self._listeners: Mapping[Topic, Listener] = {}

    def join(self, node: Gossip) -> None:
        """From now on this node of gossip, whose delegate this is, carries them. What it hears waits for `follow`."""
        self._gossip = node
        self._events = aiter(node.events())

    def state(self, *, joining: bool) -> bytes:
        """All notes, for gossip."""
        states = {topic.value: listener.state() for topic, listener in self._listeners.items()}
        for topic in [topic for topic, state in states.items() if len(state) > NOTES_MAX_BYTES]:
            log.error("what this node knows of %s is too long to be told bytes=%d", topic, len(states.pop(topic)))
        return msgspec.msgpack.encode(states)

    def tell(self, topic: Topic, note: bytes) -> None:
        """Tell all other members; see `Notes.tell`."""
        if self._gossip is not None and len(note) <= NOTE_MAX_BYTES:
            with contextlib.suppress(gossip.StateError):
                self._gossip.broadcast(msgspec.msgpack.encode({topic.value: note}))

    async def follow(self, listeners: Mapping[Topic, Listener]) -> None:
        """Take in what others tell; see `Notes.follow`."""
        assert self._events is not None
        self._listeners = listeners
        async for event in self._events:
            if isinstance(event, gossip.BroadcastReceived | gossip.StateReceived):
                for topic, notes in _notes_of(event.payload).items():
                    if topic in listeners:
                        _tell(listeners[Topic(topic)], notes)
            elif (happened := self._happened(event)) is not None:
                self._on_event(happened)

    def _happened(self, event: gossip.Event | gossip.EventsLost) -> Event | None:
        """What people are told; None of most events, which change nothing that they could see."""
        if (kind := _KINDS.get(type(event))) is not None:
            member: Member = event.member  # type: ignore[union-attr]  # all events of these types have one
            if not is_member_name(member.name):  # as in `statuses`: it is none of ours, whatever gossip thinks of it
                return None
            return MemberChanged(kind, member.name, str(member.address))
        if isinstance(event, gossip.Refuted) and self._gossip is not None:
            return Refuted(self._gossip.name)
        if isinstance(event, gossip.KeysChanged):
            return KeysChanged(tuple(identity.hex() for identity in event.ids))
        return None


def _tell(listener: Listener, notes: bytes) -> None:
    """Have a listener hear what a member says. Whatever that is, what comes after it is heard as well."""
    try:
        listener.heard(notes)
    except Exception:  # the root of a task: a bug here must not go unseen
        log.exception("what a member says was not taken in bytes=%d", len(notes))


def _notes_of(payload: bytes) -> Mapping[str, bytes]:
    """Notes by topic, as another member says them; what is none is dropped."""
    try:
        return msgspec.msgpack.decode(payload, type=dict[str, bytes])
    except ValueError:
        return {}


class SwimDatagrams:
    """Implements `Datagrams` on a node of gossip, which may not have been started yet."""

    def __init__(self, node: Gossip) -> None:
        self._gossip = node
        self._namesake, self._claimed_at = "", 0.0

    def place(self, name: str) -> Place | None:
        """Where a member's gossip is; see `Datagrams.place`."""
        member = next((it for it in self._gossip.view.members() if it.name == name), None)
        return None if member is None else Place(member.address.host, member.address.port, member.state.name.lower())

    def send(self, name: str, payload: bytes, *, fill: bool = False) -> None:
        """Send a few bytes to a member; see `Datagrams.send`."""
        with contextlib.suppress(gossip.StateError):
            self._gossip.send(name, payload, fill=fill)

    async def follow(self, heard: Callable[[str, bytes], object]) -> None:
        """Call `heard` with what comes; see `Datagrams.follow`."""
        async for event in self._gossip.events():
            if isinstance(event, gossip.MessageReceived):
                heard(event.sender, event.payload)
            elif isinstance(event, gossip.NameConflict):
                self._namesake, self._claimed_at = str(event.address), time.monotonic()

    @property
    def heard(self) -> tuple[int, int]:
        """How many datagrams came, and how many nodes were heard of that have yet to answer one."""
        return self._gossip.counters.datagrams[gossip.Direction.RECEIVED], self._gossip.view.candidates

    @property
    def namesake(self) -> str:
        """The address of another node that claimed this node's name lately; empty if none did."""
        return self._namesake if time.monotonic() - self._claimed_at < _CLAIM_TOLD_S else ""


class SwimRouter:
    """Implements `Discovery` on a node of gossip.

    Args:
        gossip: not started yet; `start`, `leave` and `close` here are its own.
        port: TCP port of this node's peer endpoint, at the address of its gossip.
        tls: whether it speaks TLS there.
        settings: who has a place on rings.
        rng: spreads the load over holders.
        notes: the delegate of the node of gossip.
    """

    def __init__(
        self,
        gossip: Gossip,
        port: int,
        *,
        tls: bool = False,
        settings: RouterSettings | None = None,
        rng: random.Random | None = None,
        notes: SwimNotes | None = None,
    ) -> None:
        self._gossip = gossip
        self.notes = notes or SwimNotes()
        self.notes.join(gossip)
        self._settings = settings or RouterSettings()
        self._rng = rng or random.Random()
        self._word = _Word(gossip, _Endpoint(port, Serves.NEW, tls))
        self.datagrams = SwimDatagrams(gossip)

    @classmethod
    def of(cls, settings: SwimSettings, timing: RouterSettings | None = None, on_event: Tell = nobody) -> "SwimRouter":
        """Make a router and its node of gossip.

        Args:
            settings: what the operator set.
            timing: who has a place on rings.
            on_event: told what happens to members and keys.

        Raises:
            ConfigError: one of the settings is not allowed.
        """
        keys = load_keys(settings.key_file) if settings.key_file else ()
        with _translated():
            config = replace(
                PROFILES[settings.profile](label=settings.cluster),
                allow=settings.allow or None,
                filters=gossip.FilterKind.EXACT if settings.exact else gossip.FilterKind.BLOOM,
            )
            notes = SwimNotes(on_event)
            node = Gossip(
                settings.name,
                config,
                delegate=notes,
                listen=Listen(*settings.bind, advertise=(settings.advertise, 0)),
                seeds=settings.seeds,
                keys=keys,
                sealing=gossip.Sealing(settings.sealing),
                key_file=settings.key_file,
                snapshot=settings.snapshot,
                stream_tls=_stream_tls(settings.channels),
            )
            speaks_tls = settings.channels.step is not PeerTls.OFF
            return cls(node, settings.peer_port, tls=speaks_tls, settings=timing, notes=notes)

    async def start(self) -> None:
        """Bind, and begin to join; joining goes on in the background.

        Raises:
            StartFailed: the gossip address cannot be bound; the message names it.
        """
        with _translated(into=StartFailed):
            await self._gossip.start()
        self._word.grow_old_after(self._settings.new_for_s)

    async def leave(self, timeout: float = 2.0) -> None:
        """Say goodbye to the others; wait at most `timeout` seconds for their confirmation."""
        await self._gossip.leave(timeout)

    async def close(self) -> None:
        """Stop at once."""
        self._word.close()
        await self._gossip.close()

    def ready(self) -> bool:
        """Whether the first attempt to join is over; at once without seeds."""
        return self._gossip.settled

    def look_up(self, key: bytes) -> None:
        """Nothing: the filters of all members are here."""

    def locate(self, key: bytes) -> Sequence[Peer]:
        """Alive members whose filters have the key, in random order: none is better than another here."""
        holders = self._gossip.view.holders(key)
        if len(holders) > 1:
            self._rng.shuffle(holders)
        return [peer for holder in holders if (peer := _peer(holder)) is not None]

    def advertise(self, keys: Collection[bytes]) -> None:
        """Tell all members, within milliseconds. Once this node has left, nothing is done."""
        with contextlib.suppress(gossip.StateError):
            self._gossip.advertise(keys)

    def withdraw(self, keys: Collection[bytes]) -> None:
        """Tell all members with the next rebuild of the filter; until then a wrong guess costs one fast 404."""
        with contextlib.suppress(gossip.StateError):
            self._gossip.withdraw(keys)

    def members(self) -> Sequence[Peer]:
        """All others that are alive; a suspect is left out until it refutes."""
        alive = (member for member in self._gossip.view.members() if member.state is State.ALIVE)
        return [peer for member in alive if (peer := _peer(member)) is not None]

    def seats(self) -> Sequence[RingSeat]:
        """This node and all members that are up or failed lately, each with whether it is a home.

        If more members are new than not, as in a cluster that was just started, the new ones are homes, too.
        """
        now = time.monotonic()
        kept_s, view = self._settings.seat_kept_s, self._gossip.view
        members = [view.me, *(member for member in view.members() if _has_place(member, now, kept_s))]
        seats = [(endpoint, member) for member in members if (endpoint := _endpoint_of(member)) is not None]
        count = Counter(endpoint.home for endpoint, _ in seats)
        as_new = Serves.YES if count[Serves.NEW] > count[Serves.YES] else Serves.NEW
        return [
            RingSeat(_at(member, endpoint), as_new if endpoint.home is Serves.NEW else endpoint.home)
            for endpoint, member in seats
        ]

    def set_serving(self, willing: bool) -> None:
        """Say whether this node serves as a home; it does not before it has been up for a while."""
        self._word.set_willing(willing)

    @property
    def keyrings(self) -> gossip.ClusterKeys:
        """The keys of all members, for an operator to change."""
        return self._gossip.keys

    def keys(self) -> tuple[bytes, ...]:
        """The cluster's keys as this node knows them now, the one that seals first."""
        return self._gossip.keyring

    async def follow_keys(self, use: Callable[[tuple[bytes, ...]], None]) -> None:
        """Call `use` with the keys, and again whenever they have changed, until cancelled."""
        events = self._gossip.events()
        use(self.keys())
        async for event in events:
            if isinstance(event, gossip.KeysChanged | gossip.EventsLost):
                use(self.keys())

    async def superseded(self) -> str:
        """Wait until this node gives its name up to another node that has the same; return the other's address."""
        events = self._gossip.events()
        while self._gossip.view.gave_way_to is None:
            await anext(events)
        return str(self._gossip.view.gave_way_to)

    def figures(self) -> Figures:
        """What gossip counts."""
        counters, view, loop_lag = self._gossip.counters, self._gossip.view, self._gossip.loop_lag
        return Figures(
            datagrams=_by_label(counters.datagrams),
            bytes=_by_label(counters.bytes),
            rejected=_by_label(counters.rejected),
            events={event.__name__: count for event, count in counters.events.items()},
            errors=_by_label(counters.failures),
            streams=counters.streams,
            stalls=counters.stalls,
            health=view.health,
            waiting=view.waiting,
            candidates=view.candidates,
            blanks=view.blanks,
            is_alone=bool(self._gossip.alone),
            lag_s={quantile: loop_lag.quantile_s(quantile) for quantile in (0.5, 0.99, 1.0)},
        )

    def alone(self) -> str:
        """What was tried and what came back, while this node looks for its cluster and reaches nobody; else nothing."""
        return self._gossip.alone

    def statuses(self) -> Sequence[MemberStatus]:
        """All known members, this node first."""
        me = self._gossip.view.me
        return [
            MemberStatus(
                _at(member, endpoint),
                member.state.name.lower(),
                self._gossip.view.key_count(member.name),
                member is me,
                self._gossip.view.rtt_s(member.name),
                self._gossip.view.is_left_out(member.name, time.monotonic()),
                endpoint.home,
            )
            for member in (me, *self._gossip.view.members())
            if (endpoint := _endpoint_of(member)) is not None
        ]


def _stream_tls(channels: Channels) -> gossip.StreamTls | None:
    """How gossip's streams are encrypted: as the peer endpoint is."""
    if channels.server is None:
        return None

    def server() -> ssl.SSLContext:
        assert channels.server is not None
        return channels.server

    def client() -> ssl.SSLContext:
        assert channels.dialling is not None
        return channels.dialling

    def believes(certificate: Mapping[str, Any]) -> bool:
        return bool(channels.proven(certificate))

    return gossip.StreamTls(server, client, believes, required=channels.step is PeerTls.ON)


def load_keys(path: Path) -> list[bytes]:
    """Read the cluster's keys from a file; raise ConfigError if it is not valid."""
    with _translated("key-file"):
        return gossip.load_keys(path)


@contextlib.contextmanager
def _translated(setting: str = "gossip", into: type[ConfigError] = ConfigError) -> Iterator[None]:
    """Turn a ConfigError of gossip into one of the mirror, which names the setting."""
    try:
        yield
    except gossip.ConfigError as error:
        raise into(f"{setting}: {error}") from None


def _by_label(totals: Mapping[Label, int]) -> Mapping[str, int]:
    """Gossip's totals by the values of its enums."""
    return {label.value: total for label, total in totals.items()}


def _peer(member: Member) -> Peer | None:
    """The peer endpoint of a member, if its metadata says where that is."""
    endpoint = _endpoint_of(member)
    return None if endpoint is None else _at(member, endpoint)


def _at(member: Member, endpoint: _Endpoint) -> Peer:
    return Peer(member.name, member.address.host, endpoint.port, endpoint.tls)


def _endpoint_of(member: Member) -> _Endpoint | None:
    """What a member's metadata says, if its name is one that an agent may have."""
    return _endpoint(member.metadata) if is_member_name(member.name) and member.name != UPSTREAM else None


@lru_cache(maxsize=1024)
def _endpoint(metadata: bytes) -> _Endpoint | None:
    """What the metadata of a member says, if it is valid."""
    try:
        endpoint = msgspec.json.decode(metadata, type=_Endpoint)
    except (ValueError, RecursionError):
        return None
    return endpoint if 0 < endpoint.port < 65536 else None


def _has_place(member: Member, now: float, kept_s: float) -> bool:
    """Whether a member is up, or failed less than `kept_s` seconds ago."""
    return member.live or (member.state is State.DEAD and now - member.changed_at < kept_s)
