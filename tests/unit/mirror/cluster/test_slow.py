"""Who is told that it is slow."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from mirror.cluster.slow import SlowNotifier
from mirror.cluster.throughput import Throughput
from mirror.routers import Peer
from mirror.settings import ClusterSettings
from mirror.sources import Role
from tests.unit.mirror.cluster.test_view import ME, Chart

RING = ("a", "b", "c")


def measured(**rates: float) -> Throughput:
    throughput = Throughput()
    for name, rate in rates.items():
        for _ in range(3):
            throughput.landed(name, 1_000_000, 1 / rate, 0.0, time.monotonic(), Role.HOME)
    return throughput


def play(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 30))


def test_a_home_that_is_slow_is_told_how_slow_and_the_others_are_not() -> None:
    async def story() -> None:
        told: list[tuple[str, float]] = []

        async def notify(peer: Peer, rate: float) -> None:
            told.append((peer.name, round(rate, 3)))

        notifier = SlowNotifier(Chart(*RING), measured(a=0.1, b=1.0, c=1.0), notify)
        notifier.notify([ME, *RING])
        await asyncio.sleep(0)
        assert told == [("a", 0.1)]
        notifier.notify([ME, *RING])
        await asyncio.sleep(0)
        assert len(told) == 1, "not twice in a moment"
        await notifier.close()

    play(story())


def test_who_declines_already_is_left_alone() -> None:
    async def story() -> None:
        chart = Chart(*RING)
        chart.declining = {"a"}

        async def notify(peer: Peer, rate: float) -> None:
            raise AssertionError

        notifier = SlowNotifier(chart, measured(a=0.1, b=1.0, c=1.0), notify)
        notifier.notify(RING)
        await notifier.close()

    play(story())


def test_there_is_one_notice_to_a_member_at_a_time() -> None:
    async def story() -> None:
        under_way = 0

        async def notify(peer: Peer, rate: float) -> None:
            nonlocal under_way
            under_way += 1
            await asyncio.Event().wait()

        settings = ClusterSettings(slow_notice_s=0.0)
        notifier = SlowNotifier(Chart(*RING), measured(a=0.1, b=1.0, c=1.0), notify, settings)
        for _ in range(3):
            notifier.notify(RING)
            await asyncio.sleep(0)
        assert under_way == 1
        await notifier.close()

    play(story())
