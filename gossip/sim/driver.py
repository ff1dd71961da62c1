"""Does for simulated nodes what the asyncio driver does for real ones: carries datagrams and streams, lets timers fire.

After every step the node that moved is held against the invariants.
"""

from collections.abc import Callable

from ..core.membership.member import Address
from ..core.node import Node
from .clock import ARRIVAL, TIMER
from .host import Host
from .invariants import Checker
from .observing import Observer
from .simulation import Simulation
from .streams import Streams


class Driver:
    """Drives the nodes of all hosts.

    Args:
        simulation: their surroundings.
        checker: is told what nodes send, and when their timers fire.
        observer: shows the checker a node after each step; None: the checker sees no node, and large clusters run many
            times faster.
    """

    def __init__(self, simulation: Simulation, checker: Checker, observer: Observer | None) -> None:
        self._datagram_max_bytes = simulation.config.datagram_max_bytes
        self._clock = simulation.clock
        self._network = simulation.network
        self._addresses = simulation.addresses
        self._journal = simulation.journal
        self._checker = checker
        self._observer = observer
        self._streams = Streams(simulation, self.after_input, checker.hears)

    def after_input(self, host: Host) -> None:
        """Carry out what a host's node wants after an input, and check the node."""
        node = host.node
        if node is None:
            return
        for datagram in node.datagrams():
            self._send(host, datagram.payload, datagram.destination)
        for exchange in node.dials():
            self._streams.dial(host, node, exchange)
        for event in node.events():
            self._journal.event(host, event)
        if node.view.me.epoch != host.epoch:
            host.epoch = node.view.me.epoch
            self._journal.happened["epoch raised"] += 1
            self._journal.say(host, f"goes on as epoch={host.epoch}")
        if self._observer is not None:
            self._checker.check(self._observer.observe(host, node, self._clock.now))
        self._set_timer(host, node)

    # Datagrams

    def _send(self, host: Host, payload: bytes, destination: Address) -> None:
        self._checker.sends(host.name, len(payload), self._datagram_max_bytes)
        self._journal.sent(host, destination, payload)
        source = host.address
        self._network.datagram(source, destination, lambda: self._deliver(destination, payload, source))

    def _deliver(self, destination: Address, payload: bytes, source: Address) -> None:
        host = self._addresses.host_at(destination)
        if host is not None and host.node is not None:
            self._receive(host, host.node, payload, source)

    def _receive(self, host: Host, node: Node, payload: bytes, source: Address) -> None:
        """Hand a datagram to a node; what waits in the socket of a process that stands still dies with the process."""
        if host.node is not node:
            return
        if not self._waits(host, ARRIVAL, lambda: self._receive(host, node, payload, source)):
            self._checker.hears(host.name, host.run, source)
            node.receive(payload, source, self._clock.now)
            self.after_input(host)

    # Timers

    def _set_timer(self, host: Host, node: Node) -> None:
        deadline = node.next_deadline()
        if deadline != host.timer_at:
            host.timer_at = deadline
            if deadline is not None:
                self._clock.at(deadline, TIMER, lambda: self._tick(host, node, deadline))

    def _tick(self, host: Host, node: Node, deadline: float) -> None:
        if host.node is not node or host.timer_at != deadline:
            return
        if self._waits(host, TIMER, lambda: self._tick(host, node, deadline)):
            return
        self._checker.ticks(host.name, self._clock.now)
        host.timer_at = None
        node.tick(self._clock.now)
        self.after_input(host)

    def _waits(self, host: Host, kind: int, again: Callable[[], None]) -> bool:
        """Whether a host's process stands still; if so, `again` is called when it goes on."""
        if host.paused_until <= self._clock.now:
            return False
        self._clock.at(host.paused_until, kind, again)
        return True
