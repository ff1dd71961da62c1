"""Sealed packets that are not what they seem: seen before, or kept by somebody and sent again.

Per run of a process (12 random bytes in each sealed packet) a window of the latest 1,024 counters tells what was seen.
A run that is new here could be a recording of one that ended long ago. It is believed when it answers a question that
this node asked: an `Ack` of the right number. Until then its packets wait, a few of them, and at most a `Ping` and the
answers to its pings, without anything riding along, are sent to it. When it is believed, those among them that are
not much older than the proof are taken.

What is left to an attacker: packets of a process that still runs, which this node, having just started, has not seen,
and which are among the latest 64 of their sender. All that they can say is ordered by epochs and incarnations.

Source: RFC 4303 section 3.4.3 and appendix A for the window.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ..membership.member import Address
from ..messages import Packet

_WINDOW: Final = 1024
_MASK: Final = (1 << _WINDOW) - 1
_STRANGERS_MAX: Final = 64
_HELD_MAX: Final = 8
_HELD_LAG_MAX: Final = 64
_ASK_AGAIN_S: Final = 0.2


@dataclass(slots=True)
class Window:
    """Which numbers of a growing sequence were seen, among the latest 1,024."""

    top: int = -1
    seen: int = 0

    def admit(self, number: int) -> bool:
        """Note a number. Returns whether it is new; what is too old to tell is not."""
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
    """A stranger's packet that waits for its proof."""

    packet: Packet
    source: Address
    counter: int


@dataclass(slots=True)
class _Stranger:
    number: int
    window: Window = field(default_factory=Window)
    asked_at: float = float("-inf")
    held: list[Held] = field(default_factory=list)


class ReplayGuard:
    """What one node saw of which runs.

    Args:
        number: draws the number of a question, 32 bits of chance.
        runs_max: gives the bound of believed runs; the one believed longest ago goes first, and may prove itself again.
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
        """The number by whose `Ack` a stranger proves itself."""
        return self._stranger(run).number

    def hold(self, run: bytes, held: Held, now: float) -> bool:
        """Keep a stranger's packet for later. Returns whether the stranger is to be asked now."""
        stranger = self._stranger(run)
        stranger.held = [*stranger.held, held][-_HELD_MAX:]
        return now - stranger.asked_at >= _ASK_AGAIN_S

    def ask(self, run: bytes, now: float) -> None:
        """The stranger was asked, and is not again for a moment: its packet had room for a question in answer."""
        self._stranger(run).asked_at = now

    def believe(self, run: bytes) -> list[Held]:
        """A run has proven itself. Returns its packets that waited, as far as they are recent."""
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
