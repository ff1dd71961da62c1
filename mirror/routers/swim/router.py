"""The router on a node of gossip, and what it takes to make one."""

import contextlib
import enum
import random
import ssl
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

import gossip
from gossip import Gossip, Listen, Member, State

from ...channels import PeerTls
from ...channels.contexts import Channels
from ...errors import StartFailed
from ...events import Tell, nobody
from ...settings import RouterSettings
from .. import MemberStatus, Peer, RingSeat, Serves
from .datagrams import SwimDatagrams
from .keys import load_keys, translated
from .metadata import Endpoint, Word, at, endpoint_of, peer_of
from .notes import SwimNotes

Label = TypeVar("Label", bound=enum.StrEnum)
PROFILES: Final = {"lan": gossip.lan, "wan": gossip.wan, "fast": gossip.fast, "local": gossip.local}


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
        self._word = Word(gossip, Endpoint(port, Serves.NEW, tls))
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
        with translated():
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
        with translated(into=StartFailed):
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
        return [peer for holder in holders if (peer := peer_of(holder)) is not None]

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
        return [peer for member in alive if (peer := peer_of(member)) is not None]

    def seats(self) -> Sequence[RingSeat]:
        """This node and all members that are up or failed lately, each with whether it is a home.

        If more members are new than not, as in a cluster that was just started, the new ones are homes, too.
        """
        now = time.monotonic()
        kept_s, view = self._settings.seat_kept_s, self._gossip.view
        members = [view.me, *(member for member in view.members() if _has_place(member, now, kept_s))]
        seats = [(endpoint, member) for member in members if (endpoint := endpoint_of(member)) is not None]
        count = Counter(endpoint.home for endpoint, _ in seats)
        as_new = Serves.YES if count[Serves.NEW] > count[Serves.YES] else Serves.NEW
        return [
            RingSeat(at(member, endpoint), as_new if endpoint.home is Serves.NEW else endpoint.home)
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
                at(member, endpoint),
                member.state.name.lower(),
                self._gossip.view.key_count(member.name),
                member is me,
                self._gossip.view.rtt_s(member.name),
                self._gossip.view.is_left_out(member.name, time.monotonic()),
                endpoint.home,
            )
            for member in (me, *self._gossip.view.members())
            if (endpoint := endpoint_of(member)) is not None
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


def _by_label(totals: Mapping[Label, int]) -> Mapping[str, int]:
    """Gossip's totals by the values of its enums."""
    return {label.value: total for label, total in totals.items()}


def _has_place(member: Member, now: float, kept_s: float) -> bool:
    """Whether a member is up, or failed less than `kept_s` seconds ago."""
    return member.live or (member.state is State.DEAD and now - member.changed_at < kept_s)
