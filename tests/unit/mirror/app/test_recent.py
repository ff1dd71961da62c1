"""Answers that are made once for all who ask within a moment."""

import asyncio
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from mirror.app.recent import Recent, max_age_of


def request(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "headers": raw, "query_string": b""})


class Made:
    """Counts how often an answer is made; each is another one."""

    def __init__(self) -> None:
        self.count = 0
        self.now = 0.0
        self.recent = Recent(self.make, lambda: self.now)

    async def make(self) -> Any:
        await asyncio.sleep(0)
        self.count += 1
        return {"number": self.count}


def test_all_who_ask_within_the_time_get_the_same_and_it_is_made_once() -> None:
    made = Made()

    async def ask() -> list[Response]:
        first = await asyncio.gather(*(made.recent.answer(request(), 1.0) for _ in range(20)))
        made.now = 0.9
        first.append(await made.recent.answer(request(), 1.0))
        made.now = 1.0
        return [*first, await made.recent.answer(request(), 1.0)]

    *same, last = asyncio.run(ask())
    assert {bytes(it.body) for it in same} == {b'{"number":1}'}
    assert bytes(last.body) == b'{"number":2}'
    assert made.count == 2


def test_who_has_it_already_is_told_so_and_its_age_is_told() -> None:
    made = Made()

    async def ask() -> tuple[Response, Response, Response]:
        first = await made.recent.answer(request(), 100.0)
        made.now = 7.4
        again = await made.recent.answer(request(if_none_match=first.headers["etag"]), 100.0)
        made.now = 200.0
        return first, again, await made.recent.answer(request(if_none_match=first.headers["etag"]), 100.0)

    first, again, later = asyncio.run(ask())
    assert (first.status_code, again.status_code, later.status_code) == (200, 304, 200)
    assert (again.body, again.headers["age"], later.headers["age"]) == (b"", "7", "0")


@pytest.mark.parametrize(
    ("header", "age_s"),
    [
        ("max-age=30", 30.0),
        ("no-transform, Max-Age=5", 5.0),
        ("max-age=0", 0.0),
        ("no-cache", 0.0),
        ("max-age=-1", 0.0),
        ("s-max-age=30", 0.0),
        ("max-age=99999999999", 0.0),
    ],
)
def test_how_old_an_answer_may_be_is_the_clients_word(header: str, age_s: float) -> None:
    assert max_age_of(request(cache_control=header)) == age_s
    assert max_age_of(request()) == 0
