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
from typing import Any, Final

from ..core.config import GossipConfig
from ..core.errors import ConfigError, StateError, WireError
from ..core.events import Event, FilterChanged, Rejected
from ..core.exchange import Exchange
from ..core.members import Address, Member, State, check_metadata, check_name
from ..core.node import Node
from ..core.seal import NONCE_BYTES, Seal
from .sockets import bind, destination, outward_host, parse_address, source_address
from .subscriptions import Subscription

log = logging.getLogger(__name__)

_READ_BYTES: Final = 65536
_READS_MAX: Final = 512  # datagrams per turn of the loop, so that a flood cannot keep others from running
_TIMER_MIN_S: Final = 0.001
_COMPLAINT_S: Final = 60.0
_RESOLVE_ALONE_S: Final = 5.0
_RESOLVE_S: Final = 60.0
_ROOT_ERRORS: Final = (OSError, TimeoutError, asyncio.IncompleteReadError)


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
        rng_seed: makes chance repeatable, for tests; sealing is never repeatable.

    Raises:
        ConfigError: an argument is not allowed; the message says what is.
    """

    def __init__(
        self,
        name: str,
        config: GossipConfig | None = None,
        *,
        listen: Listen | None = None,
        seeds: Sequence[str] = (),
        keys: Sequence[bytes] = (),
        rng_seed: int | None = None,
    ) -> None:
        self.name = check_name(name)
        self.config = config or GossipConfig()
        self.counters: Counter[str] = Counter()
        self.settled = not seeds
        self._listen = listen or Listen()
        self._metadata = b""
        self._seeds = [parse_address(seed) for seed in seeds]
        self._seal = Seal(self.config.label, keys, lambda: os.urandom(NONCE_BYTES))
        self._rng_seed = secrets.randbits(64) if rng_seed is None else rng_seed
        self._node: Node | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._tasks: set[asyncio.Task[None]] = set()
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
        self._datagrams, streams = bind(self._listen.host, self._listen.port)
        try:
            self._node = self._make_node(self._datagrams.getsockname())
            self._server = await asyncio.start_server(self._serve, sock=streams, limit=_READ_BYTES)
        except BaseException:
            self._datagrams.close()
            streams.close()
            raise
        self._loop.add_reader(self._datagrams, self._readable)
        self._after()
        if self._seeds:
            self._spawn(self._keep_joining())
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
        self._node = None
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
        return self._running.me.address

    @property
    def me(self) -> Member:
        """This node's own record."""
        return self._running.me

    @property
    def health(self) -> int:
        """How much this node doubts itself; 0 is healthy."""
        return self._running.health

    def members(self) -> list[Member]:
        """All others, the dead and departed included until they are forgotten."""
        return self._running.members()

    def holders(self, key: bytes) -> list[Member]:
        """Alive members, without this node, that may hold the key. Local memory, microseconds."""
        return self._running.holders(key)

    def key_count(self, name: str) -> int:
        """How many keys a member says that it holds; for this node, how many it does."""
        node = self._running
        replica = node.directory.replica(name)
        return node.key_count if name == self.name else replica.sequence if replica else 0

    def fingerprint(self) -> bytes:
        """8 bytes, equal on members that know the same."""
        return self._running.fingerprint

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

    # Datagrams and time

    def _readable(self) -> None:
        self._read_dry()
        self._after()

    def _read_dry(self) -> bool:
        """Take all datagrams that wait. Returns whether that were all, or just as many as one turn allows."""
        node = self._running
        for _ in range(_READS_MAX):
            try:
                payload, name = self._datagrams.recvfrom(_READ_BYTES)
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
        if node.farewell_heard:
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
        if isinstance(event, Rejected):
            self.counters[f"rejected_{event.reason}"] += 1
            self._complain(event)
        elif not isinstance(event, FilterChanged):
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

    async def _dial(self, exchange: Exchange) -> None:
        error: WireError | None = None
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(self.config.stream_timeout_s):
                reader, writer = await asyncio.open_connection(exchange.remote.host, exchange.remote.port)
                await self._converse(exchange, reader, writer)
        except WireError as failure:
            error = failure
        except _ROOT_ERRORS as failure:
            self.counters["dial_errors"] += 1
            log.debug("gossip stream failed remote=%s error=%r", exchange.remote, failure)
        finally:
            self._hang_up(exchange, writer, error)
            self.settled = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._node is None or self._served >= self.config.streams_max:
            self.counters["streams_refused"] += 1
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._served += 1
        error: WireError | None = None
        exchange = self._node.answer(source_address(writer.get_extra_info("peername")))
        try:
            async with asyncio.timeout(self.config.stream_timeout_s):
                await self._converse(exchange, reader, writer)
        except WireError as failure:
            error = failure
        except _ROOT_ERRORS as failure:
            log.debug("gossip stream failed remote=%s error=%r", exchange.remote, failure)
        finally:
            self._served -= 1
            self._hang_up(exchange, writer, error)

    async def _converse(self, exchange: Exchange, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.counters["streams"] += 1
        while not exchange.finished:
            if exchange.my_turn:
                for frame in exchange.frames():
                    writer.write(frame)
                    await writer.drain()
                continue
            received = await reader.read(_READ_BYTES)
            if not received:
                raise asyncio.IncompleteReadError(b"", None)
            exchange.feed(received, time.monotonic())
            self._after()

    def _hang_up(self, exchange: Exchange, writer: asyncio.StreamWriter | None, error: WireError | None) -> None:
        if writer is not None:
            writer.close()
        if self._node is not None:
            self._node.hang_up(exchange, time.monotonic(), error)
            self._after()

    # Joining

    async def _keep_joining(self) -> None:
        """Resolve the seeds and hand them to the core, which tries them until they are reached."""
        while True:
            addresses = [address for host, port in self._seeds for address in await self._resolve(host, port)]
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
        except OSError as error:
            log.warning("gossip seed not resolved host=%s error=%s", host, error.strerror)
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
        now = time.monotonic()
        me = Member(self.name, address, epoch, 0, State.ALIVE, self._metadata, changed_at=now)
        return Node(self.config, me, self._seal, random.Random(self._rng_seed), now)

    @property
    def _running(self) -> Node:
        if self._node is None:
            raise StateError("gossip is not running")
        return self._node

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("gossip task failed", exc_info=task.exception())
