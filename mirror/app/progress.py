"""Pulls in progress: the fetches of one repository that go on together, and the clients that wait for them. Pure."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..fetch import Progress

CACHE: Final = "cache"
"""The source of what this node held in its memory or on its disk, or had of an earlier fetch."""
_ROWS_MAX: Final = 64
"""Bounds the pulls that are shown, the last that began."""
_BLOBS_MAX: Final = 32
"""Bounds the blobs of one pull that are shown: an image has some tens, and runtimes ask for a few at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientPull:
    """What one client asked for under one name, at one moment.

    Args:
        repository: the name.
        image: the same, with the tag if a client named one.
        client: its IP address, or `unix`.
        seconds: since it began, s.
        held: bytes that it got of what this node had already.
        is_waiting: whether an answer is under way.
    """

    repository: str
    image: str
    client: str
    seconds: float
    held: int
    is_waiting: bool


def pulls_in_progress(
    fetches: Iterable[Progress], clients: Sequence[ClientPull], quiet_s: float, now_unix_s: float | None = None
) -> list[dict[str, Any]]:
    """The pulls that go on now, the last that began first, each as a row of JSON (docs/operations.md lists its keys).

    Args:
        fetches: all that are remembered.
        clients: what clients asked for, what they ask for no more for a moment included.
        quiet_s: fetches of one repository with no longer pause between them belong together, s.
        now_unix_s: Unix time, s; None: the clock's.
    """
    now = time.time() if now_unix_s is None else now_unix_s
    by_name: dict[str, list[Progress]] = {}
    for fetch in fetches:
        by_name.setdefault(fetch.repository, []).append(fetch)
    going_on = {name for name, those in by_name.items() if any(it.is_running for it in those)}
    going_on |= {it.repository for it in clients if it.is_waiting}
    rows = [
        _row(name, _last(by_name.get(name, ()), quiet_s, now), [it for it in clients if it.repository == name], now)
        for name in going_on
    ]
    rows.sort(key=lambda row: (row["seconds"], row["image"]))
    return rows[:_ROWS_MAX]


def _last(fetches: Iterable[Progress], quiet_s: float, now: float) -> list[Progress]:
    """Those that go on, and those before them without a longer pause: what was fetched for the pull that goes on."""
    chain: list[Progress] = []
    since = now
    for fetch in sorted(fetches, key=lambda it: it.started_unix_s, reverse=True):
        ended = now if fetch.is_running else fetch.started_unix_s + fetch.seconds
        if ended + quiet_s < since:
            break
        chain.append(fetch)
        since = min(since, fetch.started_unix_s)
    return chain[::-1]


def _row(name: str, fetches: Sequence[Progress], clients: Sequence[ClientPull], now: float) -> dict[str, Any]:
    held = max((it.held for it in clients), default=0)
    had = held + sum(it.resumed for it in fetches)
    sources = {CACHE: had} if had else {}
    for fetch in fetches:
        for source, count in fetch.sources.items():
            sources[source] = sources.get(source, 0) + count
    count, of_count = sum(sources.values()), None
    if fetches and all(it.size is not None for it in fetches if it.is_running):
        of_count = max(count, held + sum(it.size or it.bytes for it in fetches))
    images = sorted({it.image for it in clients})
    running = [it for it in fetches if it.is_running]
    began = min([it.started_unix_s for it in fetches] + [now - it.seconds for it in clients], default=now)
    return {
        "image": next((image for image in images if image != name), name),
        "repository": name,
        "for": _for(fetches, clients),
        "clients": sorted({it.client for it in clients}),
        "seconds": round(now - began, 1),
        "bytes": count,
        "of_bytes": of_count,
        "sources": sources,
        "blobs": [_blob(it) for it in running[:_BLOBS_MAX]],
        "failures": [failure for it in fetches for failure in it.failures][-4:],
    }


def _for(fetches: Sequence[Progress], clients: Sequence[ClientPull]) -> str:
    """For whom it is: clients of this node, what this node keeps by itself, or other members."""
    if clients:
        return "clients"
    return "keeping" if any(it.for_clients for it in fetches) else "members"


def _blob(fetch: Progress) -> dict[str, Any]:
    return {
        "digest": fetch.digest,
        "bytes": fetch.bytes,
        "of_bytes": fetch.size,
        "sources": dict(fetch.sources),
    }
