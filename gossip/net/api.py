"""A node on real sockets: one UDP socket, one TCP listener on the same port, one timer.

The shell owns the sockets, the clock and the randomness; every decision is the core's. It reads its socket dry before
it lets a timer fire: after a stall of the event loop the answers that wait in the kernel are heard before anybody is
judged. All of it belongs to the loop that called `start`, so that it can have a loop and a thread of its own.
"""

import asyncio
import contextlib
import ipaddress
import logging
import os
import random
import secrets
import socket
import time
from collections import Counter
from collections.abc import Collection, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..core.application.delegate import Delegate
from ..core.config import GossipConfig
from ..core.errors import ConfigError, DeliveryError, StateError, WireError
from ..core.events import (
    Answered,
    BroadcastReceived,
    Event,
    FilterChanged,
    KeysChanged,
    MessageReceived,
    NameConflict,
    Rejected,
    StateReceived,
)
from ..core.membership.member import Address, Member, State, check_metadata, check_name
from ..core.messages import KeyAction, KeyReport
from ..core.node import Node
from ..core.packets.keyring import ID_BYTES, Keyring
from ..core.packets.seal import Seal, Sealing
from ..core.streams.exchange import Exchange
from .cluster_keys import ClusterKeys, KeyOutcome
from .keys import save_keys
from .loop_lag import StallMonitor
from .safe_delegate import Guarded
from .snapshot_file import Memory
from .sockets import bind, destination, outward_host, parse_address, source_address
from .streams import READ_BYTES, converse, dial
from .subscriptions import Subscription

log = logging.getLogger(__name__)

_READS_MAX: Final = 512  # datagrams per turn of the loop, so that a flood cannot keep others from running
_TIMER_MIN_S: Final = 0.001
_COMPLAINT_S: Final = 60.0
_RESOLVE_ALONE_S: Final = 5.0
_RESOLVE_S: Final = 60.0
_QUIET: Final = (FilterChanged, Answered, MessageReceived, BroadcastReceived, StateReceived)


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
        sealing: with keys, what is said and accepted; the steps from a plain cluster to a sealed one.
        key_file: where the keys are kept when they change through the cluster; else they are forgotten at the end.
        snapshot: a file in which this node remembers whom it knew, to find them again after a restart.
        delegate: the application, where it wants to be asked.
        rng_seed: makes chance repeatable, for tests; sealing is never repeatable.

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
        rng_seed: int | None = None,
    ) -> None:
        self.name = check_name(name)
        self.config = config or GossipConfig()
        self.counters: Counter[str] = Counter()
        self.settled = False
        self._listen = listen or Listen()
        self._metadata = b""
        self._seeds = [parse_address(seed) for seed in seeds]
        self._seal = Seal(self.config.label, Keyring(keys), self.config.protocol, os.urandom, sealing)
        self._key_file = key_file
        self._memory = Memory(snapshot, self.counters) if snapshot is not None else None
        self._delegate = Guarded(delegate or Delegate())
        self._pings: dict[int, asyncio.Future[float]] = {}
        self._stalls = StallMonitor(self._stalled)
        self.keys = ClusterKeys(name, self._alive_others, self._change_own_keys, self._order_keys)
        self._rng_seed = secrets.randbits(64) if rng_seed is None else rng_seed
        self._node: Node | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._subscriptions: list[Subscription] = []
        self._served = 0
        self._complain_at = 0.0
        self._farewell = asyncio.Event()
        self._server: asyncio.Server | None = None

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
        self._loop = asyncio.get_running_loop()
        if self._memory is not None:
            self._memory.load()
        self._datagrams, streams = bind(self._listen.host, self._listen.port)
        try:
            self._node = self._make_node(self._datagrams.getsockname())
            self._server = await asyncio.start_server(self._serve, sock=streams, limit=READ_BYTES)
        except BaseException:
            self._datagrams.close()
            streams.close()
            raise
        self._loop.add_reader(self._datagrams, self._readable)
        self._stalls.start()
        self.settled = not self._seeds and not self._remembered
        self._after()
        if not self.settled:
            self._spawn(self._keep_joining())
        if self._memory is not None:
            self._spawn(self._memory.keep(lambda: self._running))
        log.info("gossip started name=%s address=%s seed=%d", self.name, self.address, self._rng_seed)

    async def leave(self, timeout: float = 2.0) -> None:
        """Say goodbye, and wait until enough members have confirmed it, at most `timeout` seconds.

        Raises:
            StateError: `start` was never called.
        """
        self._running.leave(time.monotonic())
        self._after()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._farewell.wait()
                await asyncio.sleep(2 * self.config.gossip_interval_s)  # those who probe now still get their answer

    async def close(self) -> None:
        """Stop at once, without a word; call `leave` before, unless this is to look like a crash."""
        if self._node is None or self._server is None:
            return
        if self._memory is not None:
            self._memory.save(self._node)
        self._node = None
        self._stalls.stop()
        self._loop.remove_reader(self._datagrams)
        if self._timer is not None:
            self._timer.cancel()
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._datagrams.close()
        for subscription in self._subscriptions:
            subscription.close()

    # What it knows

    @property
    def address(self) -> Address:
        """Where others reach this node."""
        return self._running.view.me.address

    @property
    def me(self) -> Member:
        """This node's own record."""
        return self._running.view.me

    @property
    def health(self) -> int:
        """How much this node doubts itself; 0 is healthy."""
        return self._running.view.health

    def members(self) -> list[Member]:
        """All others, the dead and departed included until they are forgotten."""
        return self._running.view.members()

    def holders(self, key: bytes) -> list[Member]:
        """Alive members, without this node, that may hold the key. Local memory, microseconds."""
        return self._running.view.holders(key)

    def key_count(self, name: str) -> int:
        """How many keys a member says that it holds; for this node, how many it does."""
        node = self._running
        return node.view.key_count(name)

    def fingerprint(self) -> bytes:
        """8 bytes, equal on members that know the same."""
        return self._running.view.fingerprint

    def rtt_s(self, name: str) -> float | None:
        """The smoothed round-trip time to a member, s, as far as the failure detector has measured it."""
        return self._running.view.rtt_s(name)

    @property
    def gave_way_to(self) -> Address | None:
        """Where another node has this node's name and started earlier, so that this one takes part no longer."""
        return self._running.view.gave_way_to

    @property
    def protocol(self) -> int:
        """The version of the protocol that this node speaks now."""
        return self._running.view.protocol

    def lag_s(self, quantile: float) -> float:
        """How late this node's event loop ran in the last minute, s; 0.99 is what one wake-up in a hundred exceeds."""
        return self._stalls.lag_s(quantile)

    def is_left_out(self, name: str) -> bool:
        """Whether lookups leave a member out because it died and came back too often."""
        return self._running.view.is_left_out(name, time.monotonic())

    @property
    def waiting(self) -> int:
        """Rumours that wait to be told."""
        return self._running.view.waiting

    @property
    def keyring(self) -> tuple[bytes, ...]:
        """The cluster's keys themselves, the one that seals first, as this node knows them now."""
        return tuple(self._seal.keyring)

    def events(self) -> Subscription:
        """A new listener; it hears what happens from now on."""
        subscription = Subscription()
        self._subscriptions.append(subscription)
        return subscription

    # What it tells

    def advertise(self, keys: Collection[bytes]) -> None:
        """Tell the cluster that this node holds these keys, of 32 bytes each.

        Raises:
            StateError: the node has left, or was not started.
        """
        self._running.advertise(keys, time.monotonic())
        self._after()

    def withdraw(self, keys: Collection[bytes]) -> None:
        """This node holds these keys no longer.

        Raises:
            StateError: the node has left, or was not started.
        """
        self._running.withdraw(keys, time.monotonic())
        self._after()

    def update(self, metadata: bytes) -> None:
        """Set up to 512 bytes that all members see with this node's record; also before `start`.

        Raises:
            ConfigError: it is longer than 512 bytes.
            StateError: the node has left.
        """
        self._metadata = check_metadata(metadata)
        if self._node is None:
            return
        self._running.update(metadata, time.monotonic())
        self._after()

    # Messages of the application

    async def ping(self, name: str, timeout: float | None = None) -> float:
        """The round-trip time to a member, s.

        Args:
            name: of the member.
            timeout: s; by default that of the failure detector.

        Raises:
            DeliveryError: it did not answer in time.
            StateError: there is no such member.
        """
        timeout_s = timeout or self.config.probe_timeout_s
        number = self._running.messaging.ping(name, time.monotonic())
        answer = self._pings[number] = self._loop.create_future()
        self._after()
        try:
            async with asyncio.timeout(timeout_s):
                rtt_s: float = await answer
                return rtt_s
        except TimeoutError:
            raise DeliveryError(f"{name} did not answer within {timeout_s:g} s") from None
        finally:
            self._pings.pop(number, None)

    def send(self, name: str, payload: bytes) -> None:
        """Send a message to a member's application in one datagram, which may be lost.

        Raises:
            ConfigError: it does not fit a datagram; the message says what does.
            StateError: there is no such member, or this node has left.
        """
        self._running.messaging.send(name, payload)
        self._after()

    async def send_reliably(self, name: str, payload: bytes) -> None:
        """Send up to 1 MiB to a member's application, over a stream, and wait until it is there.

        Raises:
            ConfigError: it is too long.
            DeliveryError: it may not have arrived; the message says why.
            StateError: there is no such member, or this node has left.
        """
        exchange = self._running.messaging.send_reliably(name, payload)
        problem = await self._dial(exchange)
        if not exchange.answers:
            raise DeliveryError(f"the message did not reach {name}: {problem or 'it was not confirmed'}")

    def broadcast(self, payload: bytes) -> None:
        """Send up to 512 bytes to the applications of all members, as a rumour: nobody gets it twice, most get it once.

        Raises:
            ConfigError: it is too long.
            StateError: this node has left.
        """
        self._running.messaging.broadcast(payload, time.monotonic())
        self._after()

    # Keys

    def _alive_others(self) -> list[str]:
        return [member.name for member in self.members() if member.state is State.ALIVE]

    async def _change_own_keys(self, action: KeyAction, key: bytes) -> tuple[bytes, ...]:
        node = self._running
        node.keys.change(action, key)
        self._after()
        return node.view.keyring.ids

    async def _order_keys(self, name: str, action: KeyAction, key: bytes) -> KeyOutcome:
        try:
            exchange = self._running.order_keys(name, action, key)
        except StateError as error:
            return KeyOutcome((), str(error))
        problem = await self._dial(exchange)
        for answer in exchange.answers:
            if isinstance(answer, KeyReport):
                ids = answer.ids
                return KeyOutcome(tuple(ids[i : i + ID_BYTES] for i in range(0, len(ids), ID_BYTES)), answer.refusal)
        return KeyOutcome((), problem or "it did not answer")

    def _keep_keys(self) -> None:
        if self._key_file is None:
            return
        try:
            save_keys(self._key_file, self._running.view.keyring)
        except ConfigError as error:
            self.counters["key_file_errors"] += 1
            log.error("gossip keys changed and were not kept: %s", error)

    # Datagrams and time

    def _readable(self) -> None:
        self._read_dry()
        self._after()

    def _read_dry(self) -> bool:
        """Take all datagrams that wait. Returns whether that were all, or just as many as one turn allows."""
        node = self._running
        for _ in range(_READS_MAX):
            try:
                payload, name = self._datagrams.recvfrom(READ_BYTES)
            except BlockingIOError:
                return True
            except OSError:  # an ICMP error about an earlier datagram: loss, like any other
                self.counters["receive_errors"] += 1
                continue
            self.counters["datagrams_received"] += 1
            self.counters["bytes_received"] += len(payload)
            node.receive(payload, source_address(name), time.monotonic())
        return False

    def _on_timer(self) -> None:
        self._timer = self._timer_at = None
        if self._read_dry():
            self._running.tick(time.monotonic())
        self._after()

    def _after(self) -> None:
        """Carry out what the core wants after any call."""
        node = self._node
        if node is None:
            return
        for datagram in node.datagrams():
            self._send(datagram.payload, datagram.destination)
        for exchange in node.dials():
            self._spawn(self._dial(exchange))
        for event in node.events():
            self._announce(event)
        if node.view.farewell_confirmed:
            self._farewell.set()
        self._arm(node.next_deadline())

    def _arm(self, at: float | None) -> None:
        if at == self._timer_at and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = at
        if at is not None:
            self._timer = self._loop.call_later(max(_TIMER_MIN_S, at - time.monotonic()), self._on_timer)

    def _send(self, payload: bytes, address: Address) -> None:
        try:
            self._datagrams.sendto(payload, destination(address, self._datagrams.family))
        except OSError:  # buffer full, no route: to the protocol this is loss
            self.counters["send_errors"] += 1
            return
        self.counters["datagrams_sent"] += 1
        self.counters["bytes_sent"] += len(payload)

    def _announce(self, event: Event) -> None:
        self.counters[f"event_{type(event).__name__}"] += 1
        if isinstance(event, Rejected):
            self.counters[f"rejected_{event.reason}"] += 1
            self._complain(event)
        elif isinstance(event, Answered) and event.number in self._pings:
            self._pings.pop(event.number).set_result(event.rtt_s)
        elif isinstance(event, KeysChanged):
            self._keep_keys()
            log.info("gossip keys changed ids=%s", ",".join(identity.hex() for identity in event.ids))
        elif isinstance(event, NameConflict):
            gives_way = "this node gives way: give it another name" if event.gives_way else "the other has to give way"
            log.error("gossip name conflict name=%s address=%s %s", self.name, event.address, gives_way)
        elif not isinstance(event, _QUIET):
            member = getattr(event, "member", None)
            what = f"member={member.name} address={member.address}" if isinstance(member, Member) else repr(event)
            log.info("gossip event=%s %s", type(event).__name__, what)
        self._subscriptions = [listener for listener in self._subscriptions if not listener.closed]
        for subscription in self._subscriptions:
            subscription.put(event)

    def _complain(self, event: Rejected) -> None:
        """Log what was dropped, once in a while: junk on a port is weather, but a wrong key somebody has to mend."""
        now = time.monotonic()
        if now >= self._complain_at:
            self._complain_at = now + _COMPLAINT_S
            counts = {name: count for name, count in self.counters.items() if name.startswith("rejected")}
            log.warning("gossip dropped a packet reason=%s source=%s so_far=%s", event.reason, event.source, counts)

    # Streams

    async def _dial(self, exchange: Exchange) -> str:
        """Carry out a conversation that this node opens. Returns what went wrong, or nothing."""
        try:
            problem, error = await dial(exchange, self._progress, self.config.stream_timeout_s)
        finally:
            self.settled = True
        self.counters["streams"] += 1
        if problem and error is None:
            self.counters["dial_errors"] += 1
        self._hang_up(exchange, error)
        return problem

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        node, task = self._node, asyncio.current_task()
        if node is None or task is None or self._served >= self.config.streams_max:
            self.counters["streams_refused"] += 1
            writer.close()
            return
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        source = source_address(writer.get_extra_info("peername"))
        try:
            exchange = node.answer(source)
        except WireError as refusal:
            writer.close()
            self._announce(Rejected(refusal.reason, source))
            return
        self._served += 1
        self.counters["streams"] += 1
        try:
            _, error = await converse(exchange, reader, writer, self._progress, self.config.stream_timeout_s)
        finally:
            self._served -= 1
        self._hang_up(exchange, error)

    def _progress(self, exchange: Exchange, received: bytes) -> None:
        """Hand a stream's bytes to the core, and do what it wants then."""
        exchange.feed(received, time.monotonic())
        self._after()

    def _hang_up(self, exchange: Exchange, error: WireError | None) -> None:
        if self._node is not None:
            self._node.hang_up(exchange, time.monotonic(), error)
            self._after()

    # Joining

    async def _keep_joining(self) -> None:
        """Resolve the seeds and hand them to the core, which tries them until they are reached."""
        while True:
            addresses = [address for host, port in self._seeds for address in await self._resolve(host, port)]
            if not any(member.live for member in self.members()):
                addresses += self._remembered
            if addresses:
                self._running.join(addresses, time.monotonic())
            else:
                self.settled = True
            self._after()
            alone = not any(member.live for member in self.members())
            await asyncio.sleep(_RESOLVE_ALONE_S if alone else _RESOLVE_S)

    async def _resolve(self, host: str, port: int) -> list[Address]:
        try:
            found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that no resolver can be asked for
            log.warning("gossip seed not resolved host=%s error=%s", host, error)
            return []
        return [source_address(name) for *_, name in found]

    # Parts

    def _make_node(self, bound: tuple[Any, ...]) -> Node:
        host, port = self._listen.advertise or (outward_host(self._listen.host), 0)
        try:
            address = Address(str(ipaddress.ip_address(host)), port or bound[1])
        except ValueError as error:
            raise ConfigError(f"advertised address {host!r} must be an IP address") from error
        epoch = time.time_ns() // 1_000_000
        if self._memory is not None:
            epoch = max(epoch, self._memory.epoch + 1)
        now = time.monotonic()
        me = Member(
            self.name,
            address,
            epoch,
            0,
            State.ALIVE,
            self._metadata,
            changed_at=now,
            protocol=self.config.protocol,
        )
        return Node(self.config, me, self._seal, random.Random(self._rng_seed), now, self._delegate)

    @property
    def _remembered(self) -> tuple[Address, ...]:
        return self._memory.addresses if self._memory is not None else ()

    def _stalled(self, lag_s: float) -> None:
        self.counters["stalls"] += 1
        log.warning("gossip event loop stalled lag_s=%.3f", lag_s)
        self._running.note_late_loop()

    @property
    def _running(self) -> Node:
        if self._node is None:
            raise StateError("gossip is not running")
        return self._node

    def _spawn(self, work: Coroutine[Any, Any, object]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("gossip task failed", exc_info=task.exception())
