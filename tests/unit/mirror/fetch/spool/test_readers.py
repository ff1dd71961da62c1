"""Who reads where, who waits, and who is woken."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from mirror.errors import Unavailable
from mirror.fetch.demand import Audience
from mirror.fetch.spool.readers import Cursor, Readers
from mirror.oci.ranges import RangeSet

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def told() -> list[None]:
    return []


@pytest.fixture
def readers(told: list[None]) -> Readers:
    return Readers(lambda: told.append(None))


def test_readers_are_counted_by_audience_and_nobody_is_idle(readers: Readers, told: list[None]) -> None:
    assert readers.idle.is_set()
    readers.join(Audience.MEMBER)
    readers.join(Audience.LOCAL)
    readers.join(Audience.LOCAL)
    assert len(told) == 3
    assert (len(readers), readers.joined(Audience.LOCAL), readers.joined(Audience.MEMBER)) == (3, 2, 1)
    readers.leave(Audience.MEMBER)
    readers.leave(Audience.LOCAL)
    assert not readers.idle.is_set()
    readers.leave(Audience.LOCAL)
    assert readers.idle.is_set()
    assert (len(readers), readers.joined(Audience.LOCAL)) == (0, 0)


def test_spans_are_of_those_that_follow_a_range_now(readers: Readers, told: list[None]) -> None:
    own, other = Cursor(Audience.LOCAL, 10, 20), Cursor(Audience.MEMBER, 5, 6)
    readers.start(own)
    readers.start(other)
    assert len(told) == 2
    own.position = 15
    assert readers.spans(Audience.LOCAL) == [(15, 20)]
    assert readers.spans(Audience.MEMBER) == [(5, 6)]
    readers.stop(own)
    assert len(told) == 3
    assert readers.spans(Audience.LOCAL) == []


def test_who_waits_on_this_node(readers: Readers) -> None:
    for audience, position, is_waiting in (
        (Audience.LOCAL, 30, True),
        (Audience.LAZY, 10, True),
        (Audience.LOCAL, 5, False),
        (Audience.MEMBER, 1, True),
    ):
        readers.start(Cursor(audience, position, 100, is_waiting=is_waiting))
    assert [cursor.position for cursor in readers.waiting()] == [30, 10]


def test_all_look_again_who_wait_for_a_cursor_or_a_move(readers: Readers, told: list[None]) -> None:
    cursor = Cursor(Audience.LAZY, 3, 100, is_waiting=True)
    readers.start(cursor)

    async def story() -> None:
        moved = asyncio.create_task(readers.moved())
        await asyncio.sleep(0)
        told.clear()
        readers.look_again()
        await moved
        assert (cursor.wake.is_set(), len(told)) == (True, 1)

    asyncio.run(story())


def test_those_are_woken_whose_next_byte_came(readers: Readers) -> None:
    cursors = [Cursor(Audience.LOCAL, position, 100) for position in (9, 10, 19, 20)]
    for cursor in cursors:
        readers.start(cursor)
    readers.wake_at(10, 20)
    assert [cursor.wake.is_set() for cursor in cursors] == [False, True, True, False]
    readers.wake_all()
    assert all(cursor.wake.is_set() for cursor in cursors)


def test_members_are_refused_what_this_node_cannot_fetch_and_nobody_else(readers: Readers) -> None:
    error = Unavailable("nobody to ask")
    own, stuck, other = Cursor(Audience.LOCAL, 10, 20), Cursor(Audience.MEMBER, 10, 20), Cursor(Audience.MEMBER, 5, 20)
    for cursor in (own, stuck, other):
        readers.start(cursor)
    readers.refuse_members(RangeSet((10, 12)), error)
    assert [cursor.refusal for cursor in (own, stuck, other)] == [None, error, None]
    assert stuck.wake.is_set()


@pytest.mark.parametrize(
    ("start", "given_stop", "expected"),
    [(0, 10, None), (0, 11, (10, 11)), (15, 15, None), (15, 16, (15, 16)), (5, 30, (10, 20)), (20, 30, None)],
)
def test_it_is_known_who_was_given_which_bytes_of_a_range(
    readers: Readers, start: int, given_stop: int, expected: tuple[int, int] | None
) -> None:
    cursor = Cursor(Audience.LOCAL, start, 100)
    cursor.given_stop = given_stop
    readers.start(cursor)
    assert readers.given(10, 20) == ([(cursor, *expected)] if expected else [])


def test_a_reader_that_was_given_wrong_bytes_learns_of_it_at_once() -> None:
    cursor = Cursor(Audience.LOCAL, 0, 100)
    cursor.mislead()
    assert cursor.was_misled
    assert cursor.wake.is_set()


def test_every_move_wakes_whoever_waits_for_one(readers: Readers) -> None:
    async def check() -> None:
        moves: list[Callable[[], None]] = [partial(readers.join, Audience.LOCAL), readers.note_move]
        for move in moves:
            waiting = [asyncio.create_task(readers.moved()) for _ in range(2)]
            await asyncio.sleep(0)
            assert not any(task.done() for task in waiting)
            move()
            await asyncio.gather(*waiting)

    asyncio.run(check())
