"""Replays: sealed packets that were received before, or that somebody recorded and sends again.

Each sealed packet bears the run of its process (12 random bytes) and a counter. A window of the latest 1,024 counters
per run tells what was received. A run that is new here could be a recording of one that ended long ago. It is believed
when it answers a question that this node asked: an `Ack` with the right number. Until then a few of its packets wait,
and it is sent only a `Ping` and the answers to its own pings, without rumours. When it is believed, those packets are
taken that are not much older than the proof.

An attacker can still replay packets of a process that runs, which this node, having just started, has not received, and
which are among the latest 64 of their sender. Everything in them is ordered by epochs and incarnations.

Source: RFC 4303 section 3.4.3 and appendix A for the window.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ..membership.member import Address
from ..messages import Packet

_WINDOW: Final = 1024
"""Counters that a window remembers. Datagrams that overtake each other are far closer together than that."""
_MASK: Final = (1 << _WINDOW) - 1
_STRANGERS_MAX: Final = 64
"""Runs that may wait for their proof; beyond it the oldest is forgotten. It bounds what strangers make a node keep."""
_HELD_MAX: Final = 8
"""Packets of one stranger that wait; the latest are kept. Its record and its first news are among them."""
_HELD_LAG_MAX: Final = 64
"""How far behind the proof, in packets, a packet that waited may be. It bounds what can be replayed (see above)."""
_ASK_AGAIN_S: Final = 0.2
"""Seconds between two questions to a stranger: longer than a round trip, shorter than a probe timeout."""


@dataclass(slots=True)
class Window:
    """Which numbers of a growing sequence were seen, among the latest 1,024. Source: RFC 4303 appendix A."""

    top: int = -1
    seen: int = 0

    def admit(self, number: int) -> bool:
        """Note a number. Returns whether it is new; a number too old for the window counts as seen."""
        ahead = number - self.top
        if ahead > 0:
            self.seen = (self.seen << ahead | 1) & _MASK if ahead < _WINDOW else 1
            self.top = number
            return True
        if ahead <= -_WINDOW or self.seen >> -ahead & 1:
            return False
        self.seen |= 1 << -ahead
        return True


@dataclass(frozen=True, slots=True)
class Held:
    """A packet of a stranger that has yet to prove itself."""

    packet: Packet
    source: Address
    counter: int


@dataclass(slots=True)
class _Stranger:
    number: int
    window: Window = field(default_factory=Window)
    asked_at: float = float("-inf")
    asked_where: Address | None = None
    held: list[Held] = field(default_factory=list)


class ReplayGuard:
    """The runs that one node believes, and those that have yet to prove themselves.

    Args:
        number: draws the number of a question, 32 bits of chance.
        runs_max: gives the bound of believed runs; the one believed longest ago goes first, and can prove itself anew.
    """

    def __init__(self, number: Callable[[], int], runs_max: Callable[[], int]) -> None:
        self._number = number
        self._runs_max = runs_max
        self._believed: dict[bytes, Window] = {}
        self._strangers: dict[bytes, _Stranger] = {}

    def __len__(self) -> int:
        return len(self._believed)

    @property
    def strangers(self) -> int:
        """Runs that have yet to prove themselves."""
        return len(self._strangers)

    def admit(self, run: bytes, counter: int) -> bool:
        """Note a packet. Returns whether it is new; a replay is not."""
        window = self._believed.get(run)
        if window is None:
            window = self._stranger(run).window
        return window.admit(counter)

    def believes(self, run: bytes) -> bool:
        """Whether this run has proven that it is alive."""
        return run in self._believed

    def asked(self, run: bytes) -> int:
        """The number of the `Ack` with which a stranger proves itself."""
        return self._stranger(run).number

    def hold(self, run: bytes, held: Held, now: float) -> bool:
        """Keep a stranger's packet for later. Returns whether the stranger is to be asked now."""
        stranger = self._stranger(run)
        stranger.held = [*stranger.held, held][-_HELD_MAX:]
        return now - stranger.asked_at >= _ASK_AGAIN_S

    def ask(self, run: bytes, where: Address, now: float) -> None:
        """The stranger was asked at that address, and is not asked again for a moment."""
        stranger = self._stranger(run)
        stranger.asked_at, stranger.asked_where = now, where

    def asked_where(self, run: bytes) -> Address | None:
        """The address at which a stranger was asked last."""
        return self._stranger(run).asked_where

    def believe(self, run: bytes) -> list[Held]:
        """A run has proven itself. Returns those of its packets that waited and are recent."""
        stranger = self._strangers.pop(run)
        if len(self._believed) >= self._runs_max():
            del self._believed[next(iter(self._believed))]
        self._believed[run] = stranger.window
        return [held for held in stranger.held if held.counter > stranger.window.top - _HELD_LAG_MAX]

    def _stranger(self, run: bytes) -> _Stranger:
        stranger = self._strangers.get(run)
        if stranger is None:
            if len(self._strangers) >= _STRANGERS_MAX:
                del self._strangers[next(iter(self._strangers))]
            stranger = self._strangers[run] = _Stranger(self._number())
        return stranger
