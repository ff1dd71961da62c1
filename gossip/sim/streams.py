"""Carries streams between simulated nodes, one turn of their conversation after the other."""

from collections.abc import Callable
from dataclasses import dataclass

from ..core.errors import WireError
from ..core.membership.member import Address
from ..core.node import Node
from ..core.streams.exchange import Exchange
from .clock import ARRIVAL
from .host import Host
from .simulation import Simulation


@dataclass(frozen=True, slots=True)
class _End:
    """One end of a stream."""

    host: Host
    node: Node
    exchange: Exchange

    @property
    def runs(self) -> bool:
        """Whether the process that has this end still runs."""
        return self.host.node is self.node


@dataclass(frozen=True, slots=True)
class _Stream:
    """A stream: its two ends, the one that dialled first, and when it is cut off, seconds."""

    ends: tuple[_End, _End]
    until: float


class Streams:
    """All streams of a cluster.

    Args:
        simulation: the nodes' surroundings.
        after_input: is called for each host whose node had an input.
        hears: is told the name, the run, and from which address that is given something.
    """

    def __init__(
        self,
        simulation: Simulation,
        after_input: Callable[[Host], None],
        hears: Callable[[str, int, Address], None],
    ) -> None:
        self._timeout_s = simulation.config.stream_timeout_s
        self._clock = simulation.clock
        self._network = simulation.network
        self._addresses = simulation.addresses
        self._journal = simulation.journal
        self._after_input = after_input
        self._hears = hears

    def dial(self, host: Host, node: Node, exchange: Exchange) -> None:
        """Open a stream. A host without a node refuses at once; where nobody answers, the dial takes the whole time."""
        dialler = _End(host, node, exchange)
        target = self._addresses.host_at(exchange.remote)
        remote = target.node if target is not None else None
        if target is None or remote is None or not self._network.connected(host.address, exchange.remote):
            delay_s = self._network.delay() if target is not None and remote is None else self._timeout_s
            self._clock.at(self._clock.now + delay_s, ARRIVAL, lambda: self._hang_up(dialler, None))
            return
        self._journal.happened["streams"] += 1
        if exchange.purpose is not None:
            self._journal.happened[f"stream: {exchange.purpose.value}"] += 1
        answerer = _End(target, remote, remote.answer(host.address))
        stream = _Stream((dialler, answerer), self._clock.now + self._timeout_s)
        self._next_turn(stream, 1)

    def _next_turn(self, stream: _Stream, speaker: int) -> None:
        self._clock.at(self._clock.now + self._network.turn_delay(), ARRIVAL, lambda: self._turn(stream, speaker))

    def _turn(self, stream: _Stream, speaker: int) -> None:
        """Carry one turn of a conversation over, then the next one, or end the stream."""
        mine, other = stream.ends[speaker], stream.ends[1 - speaker]
        go_on_at = min(max(mine.host.paused_until, other.host.paused_until), stream.until)
        if self._clock.now < go_on_at:
            self._clock.at(go_on_at, ARRIVAL, lambda: self._turn(stream, speaker))
            return
        whole = mine.runs and other.runs and self._clock.now < stream.until
        error: WireError | None = None
        if whole and self._network.connected(mine.host.address, other.host.address):
            error = self._carry(mine, other)
            if error is None and other.exchange.my_turn:
                self._next_turn(stream, 1 - speaker)
                return
        for end in stream.ends:
            self._hang_up(end, error)

    def _carry(self, mine: _End, other: _End) -> WireError | None:
        """Feed all that one end has to say to the other. Returns what the other finds wrong with it."""
        error: WireError | None = None
        self._hears(other.host.name, other.host.run, mine.host.address)
        try:
            for frame in mine.exchange.frames():
                self._journal.happened["stream bytes"] += len(frame)
                other.exchange.feed(frame, self._clock.now)
        except WireError as failure:
            error = failure
        self._after_input(mine.host)
        self._after_input(other.host)
        return error

    def _hang_up(self, end: _End, error: WireError | None) -> None:
        if end.runs:
            end.node.hang_up(end.exchange, self._clock.now, error)
            self._after_input(end.host)
