"""The lines that a reader of events gets, and what becomes of those who follow."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette

from mirror.app.events import EventsEndpoint
from mirror.events import BanEnded, Feed, Kind, MemberChanged
from mirror.settings import EventSettings


class Reader:
    """Takes an answer of the endpoint, and keeps it in a queue."""

    def __init__(self, feed: Feed, endpoint: EventsEndpoint | None = None) -> None:
        self._app = Starlette(routes=[*(endpoint or EventsEndpoint(feed)).routes()])
        self.gone = asyncio.Event()
        self.takes = asyncio.Event()
        self.takes.set()
        self.status = 0
        self.parts: asyncio.Queue[str] = asyncio.Queue()

    async def ask(self, query: str = "") -> None:
        """Ask, until the answer ends."""
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/api/v1/events",
            "root_path": "",
            "headers": [],
            "query_string": query.encode(),
        }
        await self._app(scope, self._receive, self._send)

    async def lines(self) -> list[dict[str, Any]]:
        """Those of the next part."""
        return [json.loads(line) for line in (await self.parts.get()).splitlines()]

    async def _receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self.takes.wait()
        self.status = message.get("status", self.status)
        if body := message.get("body"):
            self.parts.put_nowait(body.decode())


@asynccontextmanager
async def following(
    feed: Feed, query: str = "follow=1", endpoint: EventsEndpoint | None = None
) -> AsyncIterator[Reader]:
    """One who follows within `with`, and goes without a word."""
    reader = Reader(feed, endpoint)
    task = asyncio.create_task(reader.ask(query))
    try:
        yield reader
    finally:
        reader.gone.set()
        await task


async def asked(feed: Feed, query: str = "") -> tuple[int, list[dict[str, Any]]]:
    """The status and the lines of an answer that ends by itself."""
    reader = Reader(feed)
    await reader.ask(query)
    return reader.status, [line for _ in range(reader.parts.qsize()) for line in await reader.lines()]


def run(story: Any) -> None:
    asyncio.run(asyncio.wait_for(story, 20))


def test_what_is_remembered_is_told_and_the_answer_ends() -> None:
    async def story() -> None:
        feed = Feed()
        feed.tell(BanEnded("a"))
        feed.tell(MemberChanged(Kind.MEMBER_DIED, "b", "10.0.0.2:7946"))
        status, (ban, death) = await asked(feed)
        assert (status, ban["kind"], death["kind"], death["member"]) == (200, "ban-ended", "member-died", "b")
        assert [row["kind"] for row in (await asked(feed, f"after={ban['number']}"))[1]] == ["member-died"]
        assert [row["kind"] for row in (await asked(feed, "kind=pull,ban"))[1]] == ["ban-ended"]
        assert (await asked(feed, "within_s=0"))[1] == []

    run(story())


def test_a_reader_that_comes_back_late_is_told_what_it_missed() -> None:
    async def story() -> None:
        feed = Feed(EventSettings(kept_max=2))
        for name in "abcd":
            feed.tell(BanEnded(name))
        first = feed.newest - 3
        _, (lost, *rows) = await asked(feed, f"after={first}")
        assert (lost["kind"], lost["lost"]) == ("lost", 1)
        assert [row["member"] for row in rows] == ["c", "d"]
        assert [row["kind"] for row in (await asked(feed))[1]] == ["ban-ended"] * 2, "it had nothing, so misses nothing"

    run(story())


@pytest.mark.parametrize(
    ("query", "said"), [("after=x", "of the last line"), ("kind=bans", "no kind"), ("within_s=-1", "seconds")]
)
def test_a_query_that_means_nothing_is_answered_with_what_is_allowed(query: str, said: str) -> None:
    async def story() -> None:
        status, ((row),) = await asked(Feed(), query)
        assert status == 400
        assert said in row["error"]

    run(story())


def test_who_follows_gets_each_event_as_it_comes_until_the_agent_stops() -> None:
    async def story() -> None:
        feed = Feed()
        feed.tell(BanEnded("a"))
        async with following(feed) as reader:
            assert [row["member"] for row in await reader.lines()] == ["a"]
            feed.tell(BanEnded("b"))
            feed.tell(BanEnded("c"))
            assert [row["member"] for row in await reader.lines()] == ["b", "c"]
            feed.close()
        assert reader.status == 200

    run(story())


def test_nothing_for_a_while_is_a_heartbeat_from_whose_number_a_reader_goes_on() -> None:
    async def story() -> None:
        feed = Feed(EventSettings(heartbeat_s=0.01))
        async with following(feed, "follow=1&kind=pull") as reader:
            feed.tell(BanEnded("a"))
            (row,) = await reader.lines()
            while row["number"] != feed.newest:
                (row,) = await reader.lines()
            assert row["kind"] == "heartbeat"

    run(story())


def test_a_reader_that_is_slower_than_the_ring_is_dropped_with_a_word() -> None:
    async def story() -> None:
        feed = Feed(EventSettings(kept_max=2))
        feed.tell(BanEnded("a"))
        reader = Reader(feed)
        task = asyncio.create_task(reader.ask("follow=1"))
        await reader.lines()
        reader.takes.clear()
        feed.tell(BanEnded("b"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for name in "cdef":
            feed.tell(BanEnded(name))
        reader.takes.set()
        await task
        rows = [line for _ in range(reader.parts.qsize()) for line in await reader.lines()]
        assert rows[-1]["kind"] == "dropped"
        assert rows[-1]["lost"] > 0

    run(story())


def test_so_many_may_follow_and_a_place_that_is_left_is_free() -> None:
    async def story() -> None:
        feed = Feed(EventSettings(followers_max=1))
        feed.tell(BanEnded("a"))
        endpoint = EventsEndpoint(feed)
        async with following(feed, endpoint=endpoint) as first:
            await first.lines()
            async with following(feed, endpoint=endpoint) as second:
                assert "already follow" in (await second.lines())[0]["error"]
            assert second.status == 503
        async with following(feed, endpoint=endpoint) as third:
            assert await third.lines()
        assert third.status == 200

    run(story())
