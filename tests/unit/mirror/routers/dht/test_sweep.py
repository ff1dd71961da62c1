"""When keys are told to the nodes closest to them: at once, before the records expire, and soon after a failure."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mirror.routers.dht.boundary import Counts
from mirror.settings import DhtTiming

trio: Any = pytest.importorskip("trio")
trio_testing: Any = pytest.importorskip("trio.testing")
KEYS = [bytes([number] * 32) for number in range(6)]
AGAIN_S, FAILED_S = 900.0, 300.0


class Told:
    """The keys that a sweep has told, each with the time."""

    def __init__(self, **timing: Any) -> None:
        from mirror.routers.dht.sweep import Sweep

        self.told: list[tuple[float, bytes]] = []
        self.is_taken = True
        self.counts = Counts()
        timing = {"provide_again_s": AGAIN_S, "provide_failed_s": FAILED_S, "provide_workers": 1, **timing}
        self.sweep = Sweep(self._tell, DhtTiming(**timing), self.counts)

    async def _tell(self, key: bytes) -> bool:
        self.told.append((trio.current_time() - self.began_at, key))
        return self.is_taken

    async def during(self, seconds: float, *, first: Callable[[], None]) -> list[tuple[float, bytes]]:
        """What is told within some simulated seconds."""
        self.began_at = trio.current_time()
        self.told.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.sweep.run)
            first()
            await trio.sleep(seconds)
            nursery.cancel_scope.cancel()
        return self.told


def play(story: Callable[[], Awaitable[None]]) -> None:
    trio.run(story, clock=trio_testing.MockClock(autojump_threshold=0))


def test_a_key_is_told_at_once_and_again_before_its_record_expires() -> None:
    async def story() -> None:
        told = Told()
        assert await told.during(2 * AGAIN_S + 1, first=lambda: told.sweep.add(KEYS[:2])) == [
            (0.0, KEYS[0]), (0.0, KEYS[1]),
            (AGAIN_S, KEYS[0]), (AGAIN_S, KEYS[1]),
            (2 * AGAIN_S, KEYS[0]), (2 * AGAIN_S, KEYS[1]),
        ]  # fmt: skip
        assert told.counts.told == {"taken": 6, "failed": 0, "over_bound": 0}
        assert DhtTiming().record_s > AGAIN_S

    play(story)


def test_what_nobody_took_is_told_again_sooner_and_at_once_when_somebody_is_there() -> None:
    async def story() -> None:
        told = Told()
        told.is_taken = False
        assert await told.during(FAILED_S + 1, first=lambda: told.sweep.add(KEYS[:1])) == [
            (0.0, KEYS[0]), (FAILED_S, KEYS[0]),
        ]  # fmt: skip
        told.is_taken = True
        assert await told.during(10, first=told.sweep.tell_all_again) == [(0.0, KEYS[0])]

    play(story)


def test_a_key_that_is_gone_is_told_no_more_and_one_that_comes_twice_once() -> None:
    async def story() -> None:
        told = Told()

        def change() -> None:
            told.sweep.add(KEYS[:3])
            told.sweep.add(KEYS[:3])
            told.sweep.remove([KEYS[1], KEYS[5]])

        assert await told.during(1, first=change) == [(0.0, KEYS[0]), (0.0, KEYS[2])]
        assert [key for _, key in await told.during(AGAIN_S, first=lambda: told.sweep.remove(KEYS[:1]))] == [KEYS[2]]

    play(story)


def test_one_that_is_removed_while_it_is_told_does_not_come_back() -> None:
    async def story() -> None:
        told = Told()
        tell = told.sweep

        async def gone(key: bytes) -> bool:
            tell.remove([key])
            return True

        from mirror.routers.dht.sweep import Sweep

        timing = DhtTiming(provide_again_s=AGAIN_S, provide_failed_s=FAILED_S, provide_workers=1)
        tell = Sweep(gone, timing, told.counts)
        told.sweep = tell
        await told.during(10 * AGAIN_S, first=lambda: tell.add(KEYS[:1]))
        assert told.counts.told["taken"] == 1

    play(story)


def test_keys_beyond_the_bound_are_counted_and_not_told() -> None:
    async def story() -> None:
        told = Told(keys_max=4)
        assert len(await told.during(1, first=lambda: told.sweep.add(KEYS))) == 4
        assert told.counts.told["over_bound"] == 2

    play(story)
