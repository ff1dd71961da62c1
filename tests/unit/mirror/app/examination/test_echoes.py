"""Datagrams that try the way: what is asked is answered, to members alone, and not without end."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from mirror.app.examination.echoes import Echoes
from mirror.doctor.facts import ASKING, Datagram
from mirror.routers import Place
from mirror.settings import DoctorSettings

FULL = 1400


@dataclass
class Wire:
    """Carries datagrams to another node's echoes, and loses those that `loses` says."""

    name: str
    loses: Callable[[bytes], bool] = lambda payload: False
    there: "Echoes | None" = None
    sent: list[tuple[str, int]] = field(default_factory=list)
    namesake: str = ""

    def place(self, name: str) -> Place | None:
        return None

    def send(self, name: str, payload: bytes, *, fill: bool = False) -> None:
        payload = payload.ljust(FULL, b"x") if fill else payload
        self.sent.append((name, len(payload)))
        if self.there is not None and not self.loses(payload):
            self.there.take(self.name, payload)

    async def follow(self, heard: Callable[[str, bytes], object]) -> None:
        raise NotImplementedError


def two(settings: DoctorSettings | None = None, loses: Callable[[bytes], bool] | None = None) -> tuple[Echoes, Echoes]:
    """The echoes of a and of b; `loses` says what is lost from a to b."""
    settings = settings or DoctorSettings(spacing_s=0.0, echo_s=0.0)
    to_b, to_a = Wire("a", loses or (lambda payload: False)), Wire("b")
    a, b = Echoes(to_b, settings), Echoes(to_a, settings)
    to_b.there, to_a.there = b, a
    return a, b


def test_each_kind_is_answered_by_its_own() -> None:
    a, b = two()
    asyncio.run(a.send("b", 7))
    assert a.heard("b", 7) == {Datagram.SMALL_CAME, Datagram.FULL_CAME, Datagram.FULL_BACK}
    assert b.heard("a", 7) == set(ASKING)
    assert a.heard("b", 8) == set()


def test_large_ones_that_are_lost_leave_the_small_ones() -> None:
    a, b = two(loses=lambda payload: len(payload) == FULL)
    asyncio.run(a.send("b", 7))
    assert a.heard("b", 7) == {Datagram.SMALL_CAME, Datagram.FULL_BACK}, "it is lost on the way there alone"
    assert b.heard("a", 7) == {Datagram.SMALL, Datagram.WANT_FULL}


def test_waiting_ends_when_all_have_come_or_the_time_is_over() -> None:
    async def main() -> None:
        a, _ = two(DoctorSettings(spacing_s=0.0, echo_s=60.0))
        waiting = asyncio.create_task(a.until_heard("b", 7, {Datagram.SMALL_CAME}))
        await asyncio.sleep(0)
        await a.send("b", 7)
        assert Datagram.SMALL_CAME in await waiting
        b, _ = two()
        assert await b.until_heard("a", 9, {Datagram.SMALL_CAME}) == set()

    asyncio.run(main())


def test_a_flood_is_answered_within_a_bound() -> None:
    now = [0.0]
    wire = Wire("a")
    echoes = Echoes(wire, DoctorSettings(echoes_max=5), lambda: now[0])
    asking = Wire("b", there=echoes)
    for number in range(20):
        asyncio.run(Echoes(asking, DoctorSettings(copies=1)).send("a", number, [Datagram.WANT_FULL]))
    assert len(wire.sent) == 5
    now[0] = 1.0
    asyncio.run(Echoes(asking, DoctorSettings(copies=1)).send("a", 20, [Datagram.WANT_FULL]))
    assert len(wire.sent) == 6
    assert {name for name, _ in wire.sent} == {"b"}, "to who asks, by the name that gossip knows"


def test_few_trials_are_remembered() -> None:
    a, b = two(DoctorSettings(spacing_s=0.0, trials_max=3))
    for number in range(10):
        asyncio.run(a.send("b", number))
    assert [bool(b.heard("a", number)) for number in range(10)] == [False] * 7 + [True] * 3


def test_what_is_none_is_passed_over() -> None:
    a, _ = two()
    for payload in (b"", b"try1", b"x" * 100, b"try1\xff" + bytes(8)):
        a.take("b", payload)
