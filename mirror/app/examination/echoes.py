"""Datagrams that try the way between two nodes: sent, answered, and remembered by the number of the trial."""

import asyncio
import struct
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Final

from ...doctor.facts import ASKING, Datagram
from ...routers import Datagrams
from ...settings import DoctorSettings

_FORM: Final = struct.Struct("!4sBQ")
"""A mark, the kind, and the number of the trial; anything may follow."""
_MARK: Final = b"try1"
_CODES: Final = tuple(Datagram)
"""The code of a kind is its place here."""
NUMBER_BITS: Final = 64

_ANSWERS: Final = {
    Datagram.SMALL: Datagram.SMALL_CAME,
    Datagram.FULL: Datagram.FULL_CAME,
    Datagram.WANT_FULL: Datagram.FULL_BACK,
}
_FULL: Final = (Datagram.FULL, Datagram.FULL_BACK)
_WINDOW_S: Final = 1.0
"""Time in which `DoctorSettings.echoes_max` counts, s."""


class Echoes:
    """Tries the way to members by datagrams, and answers those of others, to where gossip knows them and nowhere else.

    Args:
        datagrams: carries them.
        settings: bounds.
        clock: gives monotonic time, s.
    """

    def __init__(
        self, datagrams: Datagrams, settings: DoctorSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._datagrams = datagrams
        self._settings = settings
        self._clock = clock
        self._heard: OrderedDict[tuple[str, int], set[Datagram]] = OrderedDict()
        self._came = asyncio.Event()
        self._window: tuple[float, int] = (-_WINDOW_S, 0)
        """When the present second began, and how many were answered in it."""

    async def run(self) -> None:
        """Take in what comes, until cancelled."""
        await self._datagrams.follow(self.take)

    def take(self, sender: str, payload: bytes) -> None:
        """Take a datagram that a member sent; what is none of these is passed over."""
        if len(payload) < _FORM.size:
            return
        mark, code, number = _FORM.unpack_from(payload)
        if mark != _MARK or code >= len(_CODES):
            return
        kind = _CODES[code]
        self._heard.setdefault((sender, number), set()).add(kind)
        while len(self._heard) > self._settings.trials_max:
            self._heard.popitem(last=False)
        self._came.set()
        if kind in _ANSWERS and self._may_answer():
            self._send(sender, _ANSWERS[kind], number)

    def heard(self, member: str, number: int) -> set[Datagram]:
        """The kinds that have come from a member in a trial."""
        return set(self._heard.get((member, number), ()))

    async def until_heard(self, member: str, number: int, kinds: Collection[Datagram]) -> set[Datagram]:
        """Wait until all these kinds have come, at most for the time of the settings; return those that have."""
        try:
            async with asyncio.timeout(self._settings.echo_s):
                while not self.heard(member, number).issuperset(kinds):
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            pass
        return self.heard(member, number)

    async def send(self, member: str, number: int, kinds: Collection[Datagram] = ASKING) -> None:
        """Send some copies of datagrams of these kinds to a member, at intervals."""
        for turn in range(self._settings.copies):
            if turn:
                await asyncio.sleep(self._settings.spacing_s)
            for kind in kinds:
                self._send(member, kind, number)

    def _send(self, member: str, kind: Datagram, number: int) -> None:
        payload = _FORM.pack(_MARK, _CODES.index(kind), number)
        self._datagrams.send(member, payload, fill=kind in _FULL)

    def _may_answer(self) -> bool:
        began, count = self._window
        if (now := self._clock()) - began >= _WINDOW_S:
            began, count = now, 0
        self._window = began, count + 1
        return count < self._settings.echoes_max
