"""What the feed remembers, in which order, and what a reader learns of what is forgotten."""

import asyncio

import pytest

from mirror.events import BanEnded, Entry, Feed, Kind, MemberChanged, Refuted, kinds_of
from mirror.settings import EventSettings

START_S = 1_000.0
FIRST = 1_000_000_000


def feed_of(*names: str, kept: int = 1024) -> Feed:
    clock = iter(range(1000, 10_000))
    feed = Feed(EventSettings(kept_max=kept), lambda: float(next(clock)))
    for name in names:
        feed.tell(BanEnded(name))
    return feed


def names(entries: object) -> list[str]:
    assert isinstance(entries, list)
    return [entry.event.member for entry in entries]


def test_a_reader_gets_what_came_after_its_place_and_then_nothing_twice() -> None:
    feed = feed_of("a", "b", "c")
    batch = feed.since(FIRST)
    assert (batch.lost, names(batch.entries), batch.after) == (0, ["b", "c"], FIRST + 2)
    assert feed.since(batch.after).entries == []
    feed.tell(BanEnded("d"))
    assert names(feed.since(batch.after).entries) == ["d"]


def test_numbers_go_on_by_one_and_what_is_forgotten_is_counted() -> None:
    feed = feed_of(*"abcdefg", kept=3)
    batch = feed.since(FIRST)
    assert [entry.number for entry in batch.entries] == [FIRST + 4, FIRST + 5, FIRST + 6]
    assert batch.lost == 3, "b, c and d"
    assert feed.since(FIRST + 3).lost == 0


@pytest.mark.parametrize("after", [0, 17, FIRST - 2, FIRST + 1000])
def test_a_place_of_an_earlier_run_is_before_all_that_happened_in_this_one(after: int) -> None:
    batch = feed_of("a", "b").since(after)
    assert (batch.lost, names(batch.entries)) == (0, ["a", "b"])


def test_what_is_older_than_a_reader_wants_is_left_out() -> None:
    feed = feed_of("a", "b", "c")  # at 1001, 1002 and 1003 s; it is 1004 s
    assert names(feed.since(0, within_s=2.0).entries) == ["b", "c"]


def test_who_waits_is_woken_by_what_happens_by_the_end_and_by_time() -> None:
    async def story() -> None:
        feed = feed_of("a")
        assert not await feed.news(feed.newest, 0.0)
        waiting = [asyncio.create_task(feed.news(feed.newest, 60.0)) for _ in range(3)]
        await asyncio.sleep(0)
        feed.tell(BanEnded("b"))
        feed.tell(BanEnded("c"))
        assert all(await asyncio.gather(*waiting))
        waiting = [asyncio.create_task(feed.news(feed.newest, 60.0))]
        await asyncio.sleep(0)
        feed.close()
        assert await waiting[0]
        assert await feed.news(feed.newest, 60.0), "after the end nobody waits"

    asyncio.run(asyncio.wait_for(story(), 20))


def test_an_event_in_json_has_its_kind_and_bounded_texts() -> None:
    row = Entry(7, 12.3456, MemberChanged(Kind.MEMBER_DIED, "n" * 2000, "10.0.0.1:7946")).row()
    assert row == {
        "number": 7,
        "time_unix_s": 12.346,
        "kind": "member-died",
        "member": "n" * 500,
        "address": "10.0.0.1:7946",
    }
    assert Entry(8, 1.0, Refuted("me")).row()["kind"] == "member-refuted"


def test_kinds_are_named_one_by_one_or_by_their_group() -> None:
    assert kinds_of(["ban", "pull-ended"]) == {Kind.BAN_BEGAN, Kind.BAN_ENDED, Kind.PULL_ENDED}
    assert kinds_of([]) == frozenset()
    with pytest.raises(ValueError, match=r"'bans' is no kind of events: name agent, pull, member, ban, .* pin-whole"):
        kinds_of(["ban", "bans"])
