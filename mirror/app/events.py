"""What happens on a node, as lines of JSON: those that are remembered, and those that come.

Each line is an object with `number`, `time_unix_s` and `kind`. Three kinds are said by the endpoint and are none of the
feed: `lost` (some events between two lines are not remembered any more), `heartbeat` (nothing happened for a while) and
`dropped` (the last line for a reader that is too slow).
"""

import json
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from ..events import Entry, Feed, Kind, kinds_of
from .blob import LongResponse

MEDIA_TYPE: Final = b"application/x-ndjson"
_HEADERS: Final = [
    (b"content-type", MEDIA_TYPE),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
]
_YES: Final = ("1", "true", "yes")
_DIGITS_MAX: Final = 18
"""Bounds the number of an event, in digits: microseconds of Unix time have 16."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a reader wants.

    Args:
        after: the number of the last event that it has; None if it has none.
        kinds: those that it wants to see; empty: all.
        within_s: how old remembered ones may be, s; None: however old.
        follows: whether it waits for what comes.
    """

    after: int | None
    kinds: frozenset[Kind]
    within_s: float | None
    follows: bool

    @classmethod
    def of(cls, request: Request) -> "Wanted":
        """Read a query.

        Raises:
            ValueError: it cannot be understood; the message says what is allowed.
        """
        query = request.query_params
        after, within_s = query.get("after"), query.get("within_s")
        if after is not None and not (after.isascii() and after.isdigit() and len(after) <= _DIGITS_MAX):
            raise ValueError(f"after={after[:50]!r} is no number of an event: give the `number` of the last line")
        if within_s is not None and not (within_s.isascii() and within_s.isdigit() and len(within_s) <= _DIGITS_MAX):
            raise ValueError(f"within_s={within_s[:50]!r} is no number of seconds")
        names = [name for text in query.getlist("kind") for name in text.split(",") if name]
        return cls(
            None if after is None else int(after),
            kinds_of(names),
            None if within_s is None else float(within_s),
            query.get("follow", "").lower() in _YES,
        )

    def shows(self, entry: Entry) -> bool:
        """Whether the reader wants to see an event."""
        return not self.kinds or entry.event.kind in self.kinds


class EventsEndpoint:
    """The route `/api/v1/events`.

    Args:
        feed: what is shown.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._followers = 0

    def routes(self) -> list[Route]:
        """For a Starlette application."""
        return [Route("/api/v1/events", self.events)]

    async def events(self, request: Request) -> Response | LongResponse:
        """Events after `after`, of kinds or groups `kind` (several, or by commas), at most `within_s` old.

        With `follow=1` the answer goes on with what comes.
        """
        try:
            wanted = Wanted.of(request)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        if not wanted.follows:
            return _Lines(self._feed, wanted, lambda: None)
        if self._followers >= (most := self._feed.settings.followers_max):
            message = f"{most} already follow the events of this agent: end one, or ask without follow"
            return JSONResponse({"error": message}, status_code=503)
        self._followers += 1
        return _Lines(self._feed, wanted, self._leave)

    def _leave(self) -> None:
        self._followers -= 1


class _Lines(LongResponse):
    """Events as lines.

    Args:
        feed: what is shown.
        wanted: of what is there.
        on_end: called when the answer has ended, in one way or another.
    """

    def __init__(self, feed: Feed, wanted: Wanted, on_end: Callable[[], None]) -> None:
        super().__init__(200, _HEADERS)
        self._feed = feed
        self._wanted = wanted
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_end()

    async def _parts(self, scope: Scope) -> AsyncGenerator[tuple[Message, int], None]:
        feed, wanted = self._feed, self._wanted
        batch = feed.since(wanted.after or 0, wanted.within_s)
        lost = [self._said("lost", batch.after, lost=batch.lost)] if batch.lost and wanted.after is not None else []
        yield _part([*lost, *map(Entry.row, filter(wanted.shows, batch.entries))])
        due_at = time.monotonic() + feed.settings.heartbeat_s
        while wanted.follows and not feed.is_closed:
            await feed.news(batch.after, due_at - time.monotonic())
            batch = feed.since(batch.after)
            rows = [entry.row() for entry in batch.entries if wanted.shows(entry)]
            if batch.lost:
                yield _part([self._said("dropped", batch.after, lost=batch.lost)])
                return
            if not rows and time.monotonic() >= due_at:
                rows = [self._said("heartbeat", batch.after)]
            if rows:
                yield _part(rows)
                due_at = time.monotonic() + feed.settings.heartbeat_s

    def _said(self, kind: str, number: int, **fields: object) -> dict[str, Any]:
        """A line that is none of the feed; its number is a place to go on from."""
        return {"number": number, "time_unix_s": round(time.time(), 3), "kind": kind, **fields}


def _part(rows: list[dict[str, Any]]) -> tuple[Message, int]:
    body = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    return {"type": "http.response.body", "body": body, "more_body": True}, len(body)
