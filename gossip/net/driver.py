"""A node on real sockets: one UDP socket, one TCP listener on the same port, one timer.

The driver owns the node, its sockets and its timer; every decision is the node's. It reads the socket dry before it
fires a timer: after a stall of the event loop the answers that wait in the kernel are heard before anybody is judged.
All of it belongs to the loop that called `start`, so that it can have a loop and a thread of its own.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from ..core.config import GossipConfig
from ..core.errors import StateError, WireError
from ..core.events import Event, Rejected
from ..core.membership.member import Address
from ..core.node import Node
from ..core.packets.outbox import Datagram
from ..core.streams.exchange import Exchange
from ..core.streams.purpose import Purpose
from .attempts import Attempts
from .counters import Counters, Direction, Failure
from .listener import StreamListener, StreamTls, drop
from .places import Places
from .sockets import bind, can_send, destination, source_address
from .streams import READ_BYTES, converse, dial
from .tasks import Tasks

log = logging.getLogger(__name__)

_READS_MAX: Final = 512
"""Datagrams that are read in one turn of the loop, at most."""
SLICE_S: Final = 0.005
"""Seconds for which datagrams, or what came over one stream, are taken in one turn of the loop: whoever sends much, or
much in few bytes, cannot keep others from running."""
_TIMER_MIN_S: Final = 0.001
"""Seconds until a timer fires, at least: a deadline that has passed still lets the loop turn once."""

MakeNode = Callable[[Address], Node]
"""Makes the node, given the address that the sockets are bound to."""


class Driver:
    """Carries one node: does what the node asks for, and hands it what arrives.

    Args:
        config: settings.
        counters: of what is carried.
        announce: called with each event of the node.
        attempts: told of those to reach the cluster.
        tls: how streams are encrypted; None: they are not.

    `left` is set when enough members have confirmed that this node leaves; `has_dialled` says whether a first stream
    was opened, or could not be.
    """

    def __init__(
        self,
        config: GossipConfig,
        counters: Counters,
        announce: Callable[[Event], None],
        attempts: Attempts,
        tls: StreamTls | None = None,
    ) -> None:
        self._config = config
        self._tls = tls
        self._counters = counters
        self._announce = announce
        self._attempts = attempts
        self._node: Node | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._places = Places(config.streams_max, self._is_member)
        self.tasks = Tasks()
        self.left = asyncio.Event()
        self.has_dialled = False

    @property
    def node(self) -> Node:
        """The node.

        Raises:
            StateError: it does not run.
        """
        if self._node is None:
            raise StateError("gossip is not running")
        return self._node

    @property
    def running(self) -> bool:
        """Whether there is a node."""
        return self._node is not None

    def sends_to(self, address: Address) -> bool:
        """Whether this node's socket can send to addresses of that family: one of IPv4 sends to none of IPv6."""
        return can_send(self._datagrams, address)

    @staticmethod
    def now() -> float:
        """The clock of the node, s."""
        return time.monotonic()

    async def start(self, host: str, port: int, make_node: MakeNode) -> None:
        """Bind, and make the node; call `pump` then.

        Raises:
            ConfigError: the address cannot be bound, or the node cannot be made.
        """
        self._loop = asyncio.get_running_loop()
        self._datagrams, streams = bind(host, port)
        try:
            self._node = make_node(source_address(self._datagrams.getsockname()))
            self._listener = StreamListener(
                streams,
                self._serve,
                partial(self._counters.note_failure, Failure.STREAM_REFUSED),
                self._is_member,
                self._tls,
                read_bytes=READ_BYTES,
            )
        except BaseException:
            self._node = None
            self._datagrams.close()
            streams.close()
            raise
        self._loop.add_reader(self._datagrams, self._on_readable)

    async def close(self) -> None:
        """Stop at once."""
        self._node = None
        self._loop.remove_reader(self._datagrams)
        if self._timer is not None:
            self._timer.cancel()
        self._listener.close()
        await self.tasks.cancel()
        self._datagrams.close()

    def pump(self) -> None:
        """Carry out what the node wants; to be called after any call of the node."""
        node = self._node
        if node is None:
            return
        for datagram in node.datagrams():
            self._send(datagram)
        for exchange in node.dials():
            self.tasks.spawn(self.carry_out(exchange))
        for event in node.events():
            self._announce(event)
        if node.view.farewell_confirmed:
            self.left.set()
        self._arm(node.next_deadline())

    def note_stall(self, lag_s: float) -> None:
        """The event loop ran late, by that many seconds."""
        self._counters.stalls += 1
        log.warning("gossip event loop stalled lag_s=%.3f", lag_s)
        self.node.note_late_loop()

    # Datagrams and time

    def _on_readable(self) -> None:
        self._read_dry()
        self.pump()

    def _on_timer(self) -> None:
        due_at, self._timer, self._timer_at = self._timer_at, None, None
        # A node that is flooded never reads all: it goes on late, and judges nobody by the lost time.
        late = due_at is not None and time.monotonic() - due_at > self._config.probe_timeout_s
        if self._read_dry() or late:
            self.node.tick(time.monotonic())
        self.pump()

    def _read_dry(self) -> bool:
        """Take all datagrams that wait. Returns whether those were all, or just as many as one turn allows."""
        node, ends_at = self.node, time.monotonic() + SLICE_S
        for _ in range(_READS_MAX):
            try:
                payload, name = self._datagrams.recvfrom(READ_BYTES)
            except BlockingIOError:
                return True
            except OSError:  # an ICMP error about an earlier datagram: loss, like any other
                self._counters.note_failure(Failure.RECEIVE)
                continue
            self._counters.note_datagram(Direction.RECEIVED, len(payload))
            node.receive(payload, source_address(name), time.monotonic())
            if time.monotonic() > ends_at:
                return False
        return False

    def _send(self, datagram: Datagram) -> None:
        try:
            self._datagrams.sendto(datagram.payload, destination(datagram.destination, self._datagrams.family))
        except OSError:  # buffer full, no route: to the protocol this is loss
            self._counters.note_failure(Failure.SEND)
            return
        self._counters.note_datagram(Direction.SENT, len(datagram.payload))

    def _arm(self, at: float | None) -> None:
        if at == self._timer_at and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = at
        if at is not None:
            self._timer = self._loop.call_later(max(_TIMER_MIN_S, at - time.monotonic()), self._on_timer)

    # Streams

    async def carry_out(self, exchange: Exchange) -> str:
        """Carry out a conversation that this node opens. Returns what went wrong, or nothing."""
        if exchange.purpose is Purpose.SYNC:
            self._attempts.begin(str(exchange.remote))
        try:
            problem, error = await dial(exchange, self._feed, self._config.stream_timeout_s, self._tls)
        finally:
            self.has_dialled = True
        self._counters.streams += 1
        if problem and error is None:
            self._counters.note_failure(Failure.DIAL)
        self._hang_up(exchange, error)
        if exchange.purpose is Purpose.SYNC:
            self._attempts.note(str(exchange.remote), problem)
        return problem

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Have a conversation carried out that another node opened."""
        node, name = self._node, writer.get_extra_info("peername")
        if name is None:  # it has gone already
            drop(writer)
            return
        source = source_address(name)
        leave = self._places.take(source.host) if node is not None else None
        if node is None or leave is None:
            self._counters.note_failure(Failure.STREAM_REFUSED)
            drop(writer)
            return

        def end() -> None:
            leave()
            drop(writer)

        self.tasks.spawn(self._answer(node, source, reader, writer), end)

    async def _answer(
        self, node: Node, source: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            exchange = node.answer(source)
        except WireError as refusal:
            drop(writer)
            self._announce(Rejected(refusal.reason, source))
            return
        self._counters.streams += 1
        config = self._config
        _, error = await converse(
            exchange, reader, writer, self._feed, config.stream_timeout_s, config.greeting_timeout_s
        )
        self._hang_up(exchange, error)

    async def _feed(self, exchange: Exchange, received: bytes) -> None:
        """Hand a stream's bytes to its conversation, in slices, and do what the node wants then."""
        exchange.take(received)
        ends_at = time.monotonic() + SLICE_S
        while exchange.step(now := time.monotonic()):
            if now > ends_at:
                self.pump()
                await asyncio.sleep(0)
                ends_at = time.monotonic() + SLICE_S
        self.pump()

    def _is_member(self, host: str) -> bool:
        return self._node is not None and any(
            member.live and member.address.host == host for member in self._node.view.members()
        )

    def _hang_up(self, exchange: Exchange, error: WireError | None) -> None:
        if self._node is not None:
            self._node.hang_up(exchange, time.monotonic(), error)
            self.pump()
