"""The budget of blobs that pass through memory, where the cache has no space for them."""

from typing import Protocol


class InMemory(Protocol):
    """A fetch whose blob passes through memory."""

    @property
    def is_idle(self) -> bool:
        """Whether nobody reads it now."""
        ...

    @property
    def was_read_locally(self) -> bool:
        """Whether a client of this node ever read it."""
        ...

    async def evict(self) -> None:
        """End the fetch; return when its memory is free."""
        ...


class MemoryBudget:
    """Bounds how many fetches pass through memory at once.

    Args:
        fetches_max: the bound.
    """

    def __init__(self, fetches_max: int) -> None:
        self._fetches_max = fetches_max
        self._fetches: list[InMemory] = []

    def __len__(self) -> int:
        return len(self._fetches)

    @property
    def fetches_max(self) -> int:
        """The bound."""
        return self._fetches_max

    async def admit(self, fetch: InMemory) -> bool:
        """Count a fetch in, if need be by ending one that nobody reads; return False if there is no space."""
        while len(self._fetches) >= self._fetches_max:  # another one may have been counted in meanwhile
            if not await self._evict_idle():
                return False
        self._fetches.append(fetch)
        return True

    def release(self, fetch: InMemory) -> None:
        """Count a fetch out; one that was never admitted is ignored."""
        if fetch in self._fetches:
            self._fetches.remove(fetch)

    async def _evict_idle(self) -> bool:
        """End a fetch that nobody reads; return whether there was one.

        One that only other members asked for goes first: a client that lost its connection comes back.
        """
        idle = sorted((fetch for fetch in self._fetches if fetch.is_idle), key=lambda fetch: fetch.was_read_locally)
        for fetch in idle[:1]:
            await fetch.evict()
            self.release(fetch)
        return bool(idle)
