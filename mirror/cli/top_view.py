"""The picture of `skvaller top`: what an agent says, as a rich text that fits into 80 columns. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..quantities import size_text
from .event_lines import Loudness, loudness_of, sources_text, text_of
from .members import budget_line
from .running_agent import printable, short_name

Row: TypeAlias = Mapping[str, Any]

_STYLES: Final[Mapping[Loudness, str]] = {
    Loudness.BAD: "red", Loudness.ODD: "yellow", Loudness.GOOD: "green", Loudness.QUIET: "bright_black",
}  # fmt: skip
_STATES: Final[Mapping[str, str]] = {"alive": "green", "suspect": "yellow", "dead": "red", "left": "bright_black"}
_BAR: Final = 10
"""Characters of a bar of progress."""
_FRAME: Final = 12
"""Lines that heads, empty lines, and lines that say how much more there is take at most."""
_PROBLEMS_MAX: Final = 6
"""Bounds what is shown on a terminal of what is wrong; the worst comes first."""
_WHOLE: Final = 16
"""Characters up to which a column that is not flexible never becomes narrower."""
_LEAST: Final = 3
"""Lines that a part has at least, if it has as many."""


def picture(status: Row, events: Sequence[Row], silence: str, height: int | None, width: int = 80) -> RenderableType:
    """All of it.

    Args:
        status: as `/api/v1/status` has it.
        events: the last ones, the oldest first.
        silence: why the agent does not answer now; empty if it does.
        height: of the terminal, in lines; None: whatever it takes.
        width: of the terminal, in columns.
    """
    problems = list(_problems(status))
    if height is not None:
        problems = problems[:_PROBLEMS_MAX]
    taken = _FRAME + len(status["budgets"]) + sum(-(-len(line) // width) for line in problems) + bool(silence)
    room = None if height is None else max(3 * _LEAST, height - taken)
    parts: list[RenderableType] = [_head(status)]
    if silence:
        parts.append(_line(silence, "bold red"))
    parts += ["", _members(status["members"], None if room is None else max(_LEAST, room // 2))]
    parts += ["", _pulls(status["pulls"], None if room is None else max(_LEAST, room // 4))]
    if lines := [budget_line(row) for row in status["budgets"]]:
        parts += ["", _line("budgets", "bold"), *(_line(f" {line}") for line in lines)]
    if problems:
        parts += ["", _line("what is wrong", "bold"), *problems]
    shown = events if room is None else list(events)[-max(_LEAST, room // 4) :]
    if shown:
        parts += ["", _line("events", "bold"), *map(_event, shown)]
    return Group(*parts)


def _head(status: Row) -> Text:
    alive = sum(row["state"] == "alive" for row in status["members"])
    cache = status["cache"]
    words = [
        f"{status['node']}{'' if status['ready'] else ' is not ready'}",
        f"{alive} of {len(status['members'])} members alive",
        f"cache {size_text(cache['bytes'])} of {size_text(cache['limit_bytes'])}",
        f"upstream {size_text(status['upstream_pace'])}/s",
    ]
    return _line("   ".join(words), "bold")


def _members(rows: Sequence[Row], room: int | None) -> RenderableType:
    """Those that a person should look at first: who is not alive, then who sends most."""
    ordered = sorted(rows, key=lambda row: (row["state"] == "alive" and not row["trouble"], -row["pace"], row["name"]))
    table = _table(
        ("member", "state", "home", "rtt", "sends", "keys", "at"), list(map(_member, ordered[:room])), ("member", "at")
    )
    return _with_rest(table, len(ordered), room, "members")


def _pulls(rows: Sequence[Row], room: int | None) -> RenderableType:
    if not rows:
        return _line("no pull goes on", "bright_black")
    table = _table(("pulling", "done", "so far", "from", "for"), list(map(_pull, rows[:room])), ("pulling", "from"))
    return _with_rest(table, len(rows), room, "pulls")


def _member(row: Row) -> list[Text]:
    state = str(row["trouble"] or row["state"]) + (" flapping" if row["flapping"] else "")
    return [
        _cell(row["name"]),
        Text(state, "yellow" if row["trouble"] or row["flapping"] else _STATES.get(row["state"], "")),
        _cell(row["home"]),
        _cell("-" if row["rtt_ms"] is None else f"{row['rtt_ms']:.1f} ms"),
        _cell(f"{size_text(row['pace'])}/s" if row["pace"] else "-"),
        _cell(str(row["keys"])),
        _cell("this node" if row["itself"] else row["peer"].partition("://")[2]),
    ]


def _pull(row: Row) -> list[Text]:
    of = row["of_bytes"]
    done = min(1.0, row["bytes"] / of) if of else 0.0
    return [
        _cell(short_name(row["image"])),
        Text(f"{'━' * round(done * _BAR):<{_BAR}} {done:4.0%}" if of else "?", "cyan"),
        _cell(size_text(row["bytes"])),
        _cell(sources_text(row["sources"])),
        _cell(", ".join(row["clients"]) or str(row["for"])),
    ]


def _problems(status: Row) -> Iterable[Text]:
    for problem in status["problems"]:
        where = f" (on {problem['on']})" if problem["on"] else ""
        style = "red" if problem["severity"] == "error" else "yellow"
        yield _line(f" {problem['what']} {problem['advice']} {problem['command']}{where}", style)


def _event(row: Row) -> Text:
    when = f"{datetime.fromtimestamp(row['time_unix_s'], UTC).astimezone():%H:%M:%S}"
    line = Text(f" {when}  ", "bright_black", no_wrap=True, overflow="ellipsis")
    return line.append(text_of(row), _STYLES.get(loudness_of(row), "default"))


def _with_rest(table: Table, count: int, room: int | None, what: str) -> RenderableType:
    if room is None or count <= room:
        return table
    return Group(table, _line(f" and {count - room} more {what}", "bright_black"))


def _table(head: Sequence[str], rows: Sequence[Sequence[Text]], flexible: Sequence[str]) -> Table:
    """A table, of which the columns that are named become narrower where there is no room."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for name, *cells in zip(head, *rows, strict=True):
        width = max(map(len, (name, *cells)))
        table.add_column(
            name, overflow="ellipsis", no_wrap=True, min_width=None if name in flexible else min(width, _WHOLE)
        )
    for row in rows:
        table.add_row(*row)
    return table


def _cell(text: str) -> Text:
    """What others named is no markup, and no control character."""
    return Text(printable(text))


def _line(text: str, style: str = "") -> Text:
    return Text(printable(text), style)
