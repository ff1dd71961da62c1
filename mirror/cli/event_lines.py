"""Events in words, one line each, and how much a person should mind them. Pure: rows of `/api/v1/events` in, text out.

Names in them come from other machines and from whoever pulls, so no control character of theirs reaches a terminal.
"""

import enum
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from ..quantities import count_text, size_text, time_text
from .running_agent import printable, short_name

Row: TypeAlias = Mapping[str, Any]


class Loudness(enum.Enum):
    """How much a person should mind an event."""

    BAD = enum.auto()
    """Something does not work."""
    ODD = enum.auto()
    """Something may be about to."""
    GOOD = enum.auto()
    """Something works again."""
    PLAIN = enum.auto()
    QUIET = enum.auto()
    """Of no interest but for who looks for it."""


def text_of(row: Row) -> str:
    """An event in a line."""
    words = _WORDS.get(row["kind"])
    text = words(row) if words is not None else _unknown(row)
    return printable(text)


def loudness_of(row: Row) -> Loudness:
    """How much a person should mind an event."""
    if row["kind"] == "pull-ended":
        return Loudness.BAD if row.get("error") else Loudness.PLAIN
    return _LOUDNESS.get(row["kind"], Loudness.PLAIN)


def sources_text(sources: Mapping[str, int]) -> str:
    """Bytes by who sent them, as people say it: `cache 3.1 MiB, n2 40 MiB`."""
    return ", ".join(f"{name} {size_text(count)}" for name, count in sources.items())


def _pull_ended(row: Row) -> str:
    parts = [f"pulled {short_name(row['image'])}: {size_text(row['bytes'])} in {_seconds(row['seconds'])}"]
    if row["sources"]:
        parts.append(f"from {sources_text(row['sources'])}")
    if row["why_upstream"]:
        homes = f", {size_text(row['home_bytes'])} by homes" if row["home_bytes"] else ""
        parts.append(f"{row['why_upstream']}: {size_text(row['upstream_bytes'])} by upstream{homes}")
    if row["error"]:
        parts.append(f"not all: {row['error']}")
    return f"{'; '.join(parts)} ({row['client']})"


def _member(what: str) -> Callable[[Row], str]:
    return lambda row: f"{row['member']} {what}" + (f" ({row['address']})" if "address" in row else "")


def _budget(row: Row) -> str:
    if row["kind"] == "budget-spent":
        return f"{row['registry']} lets nobody pull for {time_text(row['wait_s'])}: what members hold is served"
    left = "" if row["left"] is None else f": {count_text(row['left'], 'pull')} left"
    state = (
        "few pulls are left, and one member asks for all" if row["kind"] == "budget-low" else "may be asked as usual"
    )
    return f"{row['registry']}: {state}{left}"


def _outage_ended(row: Row) -> str:
    how = "answers again" if row["answers"] else "does not answer, and nobody wants it any more,"
    return f"{row['registry']} {how} after {time_text(row['seconds'])}"


def _unknown(row: Row) -> str:
    """An event of an agent that is newer than this command."""
    fields = ", ".join(f"{name} {row[name]}" for name in row if name not in ("number", "time_unix_s", "kind"))
    return f"{row['kind']}: {fields}" if fields else str(row["kind"])


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else time_text(seconds)


_WORDS: Final[Mapping[str, Callable[[Row], str]]] = {
    "agent-started": lambda row: f"the agent {row['name']} started, version {row['version']}",
    "pull-began": lambda row: f"pulling {short_name(row['image'])} ({row['client']})",
    "pull-ended": _pull_ended,
    "member-joined": _member("joined"),
    "member-suspected": _member("does not answer, and is asked once more"),
    "member-refuted": _member("lives after all"),
    "member-died": _member("is dead"),
    "member-left": _member("left"),
    "ban-began": lambda row: (
        f"{row['member']} sent wrong bytes of {row['content']}: left alone for {time_text(row['seconds'])}; "
        f"`skvaller verify --deep` there looks at its disk"
    ),
    "ban-ended": lambda row: f"{row['member']} is asked again",
    "budget-low": _budget,
    "budget-spent": _budget,
    "budget-back": _budget,
    "outage-began": lambda row: f"{row['registry']} does not answer: {row['why']}; what members hold is served",
    "outage-ended": _outage_ended,
    "cache-stopped": lambda row: f"nothing is cached from now on: {row['why']}",
    "cache-works": lambda row: "blobs are cached again",
    "cache-evicted": lambda row: f"{count_text(row['blobs'], 'blob')} left the cache to make room",
    "keys-changed": lambda row: f"the cluster has other keys: {', '.join(row['ids'])}; the first one seals",
    "pin-lacking": lambda row: f"the pinned image {short_name(row['image'])} is not whole here: {row['why']}",
    "pin-whole": lambda row: f"the pinned image {short_name(row['image'])} is whole here",
    "lost": lambda row: f"{count_text(row['lost'], 'event')} before this are not remembered any more",
    "dropped": lambda row: f"this was read too slowly: {count_text(row['lost'], 'event')} are missing",
}

_LOUDNESS: Final[Mapping[str, Loudness]] = {
    "pull-began": Loudness.QUIET,
    "member-suspected": Loudness.ODD,
    "member-died": Loudness.BAD,
    "ban-began": Loudness.BAD,
    "budget-low": Loudness.ODD,
    "budget-spent": Loudness.BAD,
    "outage-began": Loudness.BAD,
    "cache-stopped": Loudness.BAD,
    "cache-evicted": Loudness.QUIET,
    "pin-lacking": Loudness.ODD,
    "lost": Loudness.ODD,
    "dropped": Loudness.ODD,
    **dict.fromkeys(
        ("member-joined", "member-refuted", "ban-ended", "budget-back", "outage-ended", "cache-works", "pin-whole"),
        Loudness.GOOD,
    ),
}
