"""When the cache keeps nothing, and who is told; and how blobs that leave become one event."""

import asyncio

from mirror.events import CacheEvicted, CacheStopped, CacheWorks, Event
from mirror.stores.cache.evictions import Evictions
from mirror.stores.cache.keeping import Keeping


def test_people_are_told_once_that_nothing_is_kept_and_once_that_it_is_again() -> None:
    told: list[Event] = []
    now = 0.0
    keeping = Keeping(10.0, lambda: now, told.append)
    keeping.works()
    keeping.failed("the disk is full")
    keeping.failed("the disk is full: 3 MiB are left")
    now = 5.0
    keeping.works()
    assert told == [CacheStopped("the disk is full")]
    now = 10.0
    keeping.works()
    keeping.works()
    assert told[1:] == [CacheWorks()]


def test_blobs_that_leave_within_a_while_are_one_event() -> None:
    told: list[Event] = []

    async def story() -> None:
        evictions = Evictions(told.append, 0.01)
        for count in (0, 3, 4):
            evictions.note(count)
        while not told:
            await asyncio.sleep(0)
        evictions.note(1)
        while len(told) < 2:
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(story(), 20))
    assert told == [CacheEvicted(7, 0.01), CacheEvicted(1, 0.01)]
