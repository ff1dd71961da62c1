"""The sweep: tells each key to the nodes closest to it, and again before the records expire. Runs on trio."""

import heapq
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable

import trio

from ...settings import DhtTiming
from .boundary import Counts


class Sweep:
    """The keys of this node, each with the time when it is to be told.

    Args:
        tell: tells a key; says whether anybody took it.
        timing: when, and how many.
        counts: where it is counted.
    """

    def __init__(self, tell: Callable[[bytes], Awaitable[bool]], timing: DhtTiming, counts: Counts) -> None:
        self._tell = tell
        self._timing = timing
        self._counts = counts
        self._fresh: OrderedDict[bytes, None] = OrderedDict()
        """Keys to tell now, in order."""
        self._due: dict[bytes, float] = {}
        """Keys that were told, and when they are to be told again."""
        self._heap: list[tuple[float, bytes]] = []
        """The same in order; entries that `_due` does not confirm are left over."""
        self._woken = trio.Event()

    def add(self, keys: Iterable[bytes]) -> None:
        """Tell keys from now on; those beyond the bound are only counted."""
        for key in keys:
            if key in self._due or key in self._fresh:
                continue
            if len(self._due) + len(self._fresh) >= self._timing.keys_max:
                self._counts.told["over_bound"] += 1
                continue
            self._fresh[key] = None
        self._wake()

    def remove(self, keys: Iterable[bytes]) -> None:
        """Tell keys no more."""
        for key in keys:
            self._fresh.pop(key, None)
            self._due.pop(key, None)
        self._wake()

    def tell_all_again(self) -> None:
        """Tell all keys now: somebody is there who was not."""
        for key in self._due:
            self._fresh[key] = None
        self._due.clear()
        self._heap.clear()
        self._wake()

    async def run(self) -> None:
        """Tell keys until cancelled, some at a time."""
        async with trio.open_nursery() as nursery:
            for _ in range(self._timing.provide_workers):
                nursery.start_soon(self._work)

    async def _work(self) -> None:
        while True:
            key = await self._next()
            self._schedule(key, self._timing.provide_failed_s)  # beforehand: it may be removed meanwhile
            if await self._tell(key):
                self._counts.told["taken"] += 1
                if key in self._due:
                    self._schedule(key, self._timing.provide_again_s)
            else:
                self._counts.told["failed"] += 1

    async def _next(self) -> bytes:
        """Wait for a key that is due, and take it."""
        while True:
            now = trio.current_time()
            while self._heap and (self._due.get(self._heap[0][1]) != self._heap[0][0] or self._heap[0][0] <= now):
                due, key = heapq.heappop(self._heap)
                if self._due.get(key) == due:
                    del self._due[key]
                    self._fresh[key] = None
            self._counts.waiting = len(self._fresh)
            if self._fresh:
                return self._fresh.popitem(last=False)[0]
            with trio.move_on_after(self._heap[0][0] - now if self._heap else float("inf")):
                await self._woken.wait()

    def _schedule(self, key: bytes, after_s: float) -> None:
        due = self._due[key] = trio.current_time() + after_s
        heapq.heappush(self._heap, (due, key))

    def _wake(self) -> None:
        self._counts.waiting = len(self._fresh)
        self._woken.set()
        self._woken = trio.Event()
