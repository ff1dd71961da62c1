"""How many blobs pass through memory at once."""

import asyncio
from dataclasses import dataclass, field

from mirror.fetch.memory import MemoryBudget


@dataclass(eq=False)
class Passing:
    """A fetch whose blob passes through memory."""

    is_idle: bool = False
    was_read_locally: bool = True
    evicted: list[str] = field(default_factory=list)

    async def evict(self) -> None:
        self.evicted.append("yes")
        await asyncio.sleep(0)  # it takes a moment to end


def test_beyond_the_bound_nothing_is_admitted_while_all_are_read() -> None:
    async def story() -> None:
        budget = MemoryBudget(2)
        first, second = Passing(), Passing()
        assert await budget.admit(first)
        assert await budget.admit(second)
        assert not await budget.admit(Passing())
        budget.release(first)
        assert await budget.admit(Passing())
        assert len(budget) == 2

    asyncio.run(story())


def test_one_that_nobody_reads_is_evicted_and_first_one_that_only_members_asked_for() -> None:
    async def story() -> None:
        budget = MemoryBudget(3)
        read, idle, relayed = Passing(), Passing(is_idle=True), Passing(is_idle=True, was_read_locally=False)
        for it in (read, idle, relayed):
            assert await budget.admit(it)
        assert await budget.admit(Passing())
        assert (read.evicted, idle.evicted, relayed.evicted) == ([], [], ["yes"])
        assert await budget.admit(Passing())
        assert (read.evicted, idle.evicted) == ([], ["yes"])
        assert not await budget.admit(Passing())

    asyncio.run(story())


def test_two_that_come_at_once_do_not_both_take_the_place_of_one() -> None:
    async def story() -> None:
        budget = MemoryBudget(1)
        assert await budget.admit(Passing(is_idle=True))
        assert sorted(await asyncio.gather(budget.admit(Passing()), budget.admit(Passing()))) == [False, True]
        assert len(budget) == 1

    asyncio.run(story())


def test_releasing_what_was_never_admitted_changes_nothing() -> None:
    budget = MemoryBudget(1)
    budget.release(Passing())
    assert len(budget) == 0
