"""What an application sees: `Gossip`, this process as a member of a cluster."""

import asyncio
import contextlib
import ipaddress
import logging
import os
import random
import secrets
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..core.application.delegate import Delegate
from ..core.config import GossipConfig
from ..core.errors import ConfigError, DeliveryError
from ..core.membership.member import Address, Member, State, check_metadata, check_name
from ..core.node import Node
from ..core.packets.keyring import Keyring
from ..core.packets.seal import Seal, Sealing
from ..core.view import View
from .announcer import Announcer
from .attempts import Attempts
from .cluster_keys import ClusterKeys
from .counters import Counters
from .driver import Driver
from .keys import KeyFile
from .listener import StreamTls
from .loop_lag import LoopLag
from .safe_delegate import SafeDelegate
from .seeds import Seeds
from .snapshot_file import SnapshotFile
from .sockets import outward_host, parse_address
from .subscriptions import Subscription

log = logging.getLogger(__name__)

_LINGER_INTERVALS: Final = 2
"""Gossip intervals for which a node that has left still answers: members that probe it now are not to suspect it."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Where a node listens.

    Args:
        host: an IP address, or `0.0.0.0` or `::` for all.
        port: for UDP and TCP; 0 lets the kernel choose one that is free for both.
        advertise: IP address and port that others shall use, if those differ; port 0 means the one listened on.
    """

    host: str = "127.0.0.1"
    port: int = 0
    advertise: tuple[str, int] | None = None


class Gossip:
    """This process as a member of a cluster.

    Args:
        name: unique in the cluster, the same after a restart.
        config: settings.
        listen: where, and what to tell others about it.
        seeds: members to join through, as `host:port`; names are resolved again and again.
        keys: 32 bytes each; the first seals, all open. Empty: nothing is sealed.
        sealing: with keys, what is sent and accepted; the steps from a plain cluster to a sealed one.
        key_file: where the keys are kept when they change through the cluster; else they are forgotten at the end.
        snapshot: a file in which this node keeps the members it knew, to find them again after a restart.
        delegate: the application, where it wants to be asked.
        stream_tls: how streams are encrypted beside being sealed; None: they are not.
        rng_seed: makes chance repeatable, for tests; sealing is never repeatable.

    `counters` are totals: what was sent, what was dropped and why. `loop_lag` tells how late the event loop runs.
    `keys` changes the keys of the whole cluster.

    Raises:
        ConfigError: an argument is not allowed; the message says what is.
    """

    def __init__(  # noqa: PLR0913 - all but the first two are keyword-only options
        self,
        name: str,
        config: GossipConfig | None = None,
        *,
        listen: Listen | None = None,
        seeds: Sequence[str] = (),
        keys: Sequence[bytes] = (),
        sealing: Sealing = Sealing.REQUIRE,
        key_file: Path | None = None,
        snapshot: Path | None = None,
        delegate: Delegate | None = None,
        stream_tls: StreamTls | None = None,
        rng_seed: int | None = None,
    ) -> None:
        self.name = check_name(name)
        self.config = config or GossipConfig()
        self.counters = Counters()
        self._listen = listen or Listen()
        self._metadata = b""
        self._seed_names = [parse_address(seed) for seed in seeds]
        self._seeds: Seeds | None = None
        self._seal = Seal(
            self.config.label, Keyring(keys), self.config.protocol, os.urandom, sealing, self.config.filters
        )
        self._snapshot = SnapshotFile(snapshot, self.counters) if snapshot is not None else None
        self._delegate = SafeDelegate(delegate or Delegate())
        self._rng_seed = secrets.randbits(64) if rng_seed is None else rng_seed
        self._announcer = Announcer(
            name, self.counters, KeyFile(key_file, self._seal.keyring, self.counters) if key_file is not None else None
        )
        self._attempts = Attempts(
            lambda: self._driver.running and not any(member.live for member in self.view.members())
        )
        self._driver = Driver(self.config, self.counters, self._announcer.announce, self._attempts, stream_tls)
        self.loop_lag = LoopLag(self._driver.note_stall)
        self.keys = ClusterKeys(name, self._driver)

    async def __aenter__(self) -> "Gossip":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # Life

    async def start(self) -> None:
        """Bind, and begin to take part; joining goes on in the background, for ever.

        Raises:
            ConfigError: the address cannot be bound, or no address to advertise can be found.
        """
        if self._snapshot is not None:
            self._snapshot.load()
        await self._driver.start(self._listen.host, self._listen.port, self._make_node)
        self.loop_lag.start()
        remembered = self._snapshot.addresses if self._snapshot is not None else ()
        self._seeds = Seeds(self._driver, self._attempts, self._seed_names, remembered, self.config)
        self._driver.pump()
        self._driver.tasks.spawn(self._attempts.watch())
        if not self._seeds.exhausted:
            self._driver.tasks.spawn(self._seeds.keep_joining())
        if self._snapshot is not None:
            self._driver.tasks.spawn(self._snapshot.keep(lambda: self.view))
        log.info("gossip started name=%s address=%s seed=%d", self.name, self.address, self._rng_seed)

    async def leave(self, timeout: float = 2.0) -> None:
        """Say goodbye, and wait until enough members have confirmed it, at most `timeout` seconds.

        Raises:
            StateError: the node does not run.
        """
        self._driver.node.leave(time.monotonic())
        self._driver.pump()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._driver.left.wait()
                await asyncio.sleep(_LINGER_INTERVALS * self.config.gossip_interval_s)

    async def close(self) -> None:
        """Stop at once, without a word; call `leave` before, unless this is to look like a crash."""
        if not self._driver.running:
            return
        if self._snapshot is not None:
            self._snapshot.save(self.view)
        self.loop_lag.stop()
        await self._driver.close()
        self._announcer.close()

    # What it knows

    @property
    def view(self) -> View:
        """The cluster as this node sees it, and how the node itself does.

        Raises:
            StateError: the node does not run.
        """
        return self._driver.node.view

    @property
    def address(self) -> Address:
        """Where others reach this node; as text it is a seed for them."""
        return self.view.me.address

    @property
    def settled(self) -> bool:
        """Whether the first attempt to join is over, or there is nothing to join through."""
        return self._driver.has_dialled or (self._seeds is not None and self._seeds.exhausted)

    @property
    def alone(self) -> str:
        """What was tried and what came back, while this node looks for its cluster and knows nobody; else nothing."""
        return self._attempts.summary

    @property
    def keyring(self) -> tuple[bytes, ...]:
        """The cluster's keys themselves, the one that seals first, as this node knows them now; also before `start`."""
        return tuple(self._seal.keyring)

    def events(self) -> Subscription:
        """A new listener; it hears what happens from now on."""
        return self._announcer.subscribe()

    # What it tells

    def advertise(self, keys: Collection[bytes]) -> None:
        """Tell the cluster that this node holds these keys, of 32 bytes each.

        Raises:
            StateError: the node has left, or does not run.
        """
        self._driver.node.advertise(keys, time.monotonic())
        self._driver.pump()

    def withdraw(self, keys: Collection[bytes]) -> None:
        """This node holds these keys no longer.

        Raises:
            StateError: the node has left, or does not run.
        """
        self._driver.node.withdraw(keys, time.monotonic())
        self._driver.pump()

    def update(self, metadata: bytes) -> None:
        """Set up to 512 bytes that all members see with this node's record; also before `start`.

        Raises:
            ConfigError: it is longer than 512 bytes.
            StateError: the node has left.
        """
        self._metadata = check_metadata(metadata)
        if self._driver.running:
            self._driver.node.update(metadata, time.monotonic())
            self._driver.pump()

    # Messages of the application

    async def ping(self, name: str, timeout: float | None = None) -> float:
        """The round-trip time to a member, s.

        Args:
            name: of the member.
            timeout: s; by default that of the failure detector.

        Raises:
            DeliveryError: it did not answer in time.
            StateError: there is no such member, or this node does not run.
        """
        number = self._driver.node.messaging.ping(name, time.monotonic())
        self._driver.pump()
        return await self._announcer.pings.answer(number, name, timeout or self.config.probe_timeout_s)

    def send(self, name: str, payload: bytes, *, fill: bool = False) -> None:
        """Send a message to a member's application in one datagram, which may be lost.

        Args:
            name: of the member.
            payload: the message.
            fill: whether random bytes, which nothing compresses, follow it until the datagram is as large as any that
                this node sends.

        Raises:
            ConfigError: it does not fit a datagram; the message says what does.
            StateError: there is no such member, or this node has left or does not run.
        """
        self._driver.node.messaging.send(name, payload, fill=fill)
        self._driver.pump()

    async def send_reliably(self, name: str, payload: bytes) -> None:
        """Send up to 1 MiB to a member's application, over a stream, and wait until it is there.

        Raises:
            ConfigError: it is too long.
            DeliveryError: it may not have arrived; the message says why.
            StateError: there is no such member, or this node has left or does not run.
        """
        exchange = self._driver.node.messaging.send_reliably(name, payload)
        problem = await self._driver.carry_out(exchange)
        if not exchange.answers:
            raise DeliveryError(f"the message did not reach {name}: {problem or 'it was not confirmed'}")

    def broadcast(self, payload: bytes) -> None:
        """Send up to 512 bytes to the applications of all members, as a rumour: most get it, and none gets it twice.

        Raises:
            ConfigError: it is too long.
            StateError: this node has left, or does not run.
        """
        self._driver.node.messaging.broadcast(payload, time.monotonic())
        self._driver.pump()

    def _make_node(self, bound: Address) -> Node:
        host, port = self._listen.advertise or (outward_host(self._listen.host), 0)
        try:
            address = Address(str(ipaddress.ip_address(host)), port or bound.port)
        except ValueError as error:
            raise ConfigError(f"advertised address {host!r} must be an IP address") from error
        epoch = time.time_ns() // 1_000_000
        if self._snapshot is not None:  # newer than the run before, even if the wall clock was set back
            epoch = max(epoch, self._snapshot.epoch + 1)
        now, protocol = time.monotonic(), self.config.protocol
        me = Member(self.name, address, epoch, 0, State.ALIVE, self._metadata, changed_at=now, protocol=protocol)
        return Node(self.config, me, self._seal, random.Random(self._rng_seed), now, self._delegate)
