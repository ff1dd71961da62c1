"""`skvaller events`: what happens on a node and in its cluster, line by line."""

import json
import sys
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click

from ..tables import parse_duration
from .event_lines import Loudness, loudness_of, text_of
from .running_agent import NoAgent, asks_agent, lines

_SILENT_S: Final = 30.0
"""Time without a line after which the agent is taken for gone, s: three of its heartbeats."""
_AGAIN_S: Final = 2.0
"""Time between two tries to reach an agent that has gone, s."""
_COLOURS: Final[Mapping[Loudness, str]] = {
    Loudness.BAD: "red",
    Loudness.ODD: "yellow",
    Loudness.GOOD: "green",
    Loudness.QUIET: "bright_black",
}

_EPILOG = """\b
Kinds, by groups; --kind takes a group or a kind, and may be given several times:
  pull      pull-began, pull-ended
  member    member-joined, member-suspected, member-refuted, member-died, member-left
  ban       ban-began, ban-ended
  budget    budget-low, budget-spent, budget-back
  outage    outage-began, outage-ended
  cache     cache-stopped, cache-works, cache-evicted
  pin       pin-lacking, pin-whole
  keys, agent
\b
Examples:
  skvaller events -f                             as it happens
  skvaller events --since 1h --kind pull-ended   what was pulled within the last hour
  skvaller events -f --json | jq -r 'select(.kind == "member-died") .member'
"""


@click.command(epilog=_EPILOG)
@click.option("-f", "--follow", "follows", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="Only events of a kind or group.")
@click.option("--since", metavar="TIME", help="Only what happened within a time, as 30s, 10m, 2h or 1d.")
@asks_agent
def events(follows: bool, kinds: Sequence[str], since: str | None, url: str, as_json: bool) -> None:
    """Show what happens: pulls, members, bans, budgets, outages, the cache, keys and pins.

    Shows what this node's agent remembers, which is the last thousand events since it started. With -f it goes on with
    what comes; where the agent goes away meanwhile, it is waited for. Times are local. With --json each line is an
    object, as docs/operations.md lists them.
    """
    query = _query(kinds, since, follows=follows)
    try:
        for row in _coming(url, query) if follows else _rows(url, query):
            _show(row, as_json=as_json)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()
        sys.exit(0)


def _query(kinds: Sequence[str], since: str | None, *, follows: bool) -> dict[str, Any]:
    query: dict[str, Any] = {"kind": ",".join(kinds)} if kinds else {}
    if since is not None:
        try:
            query["within_s"] = round(parse_duration(since))
        except ValueError as error:
            raise click.BadParameter(f"--since: {since!r}: give {error}") from None
    return query | ({"follow": 1} if follows else {})


def _rows(url: str, query: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What an agent tells, until its answer ends."""
    for line in lines(url, "/api/v1/events?" + urllib.parse.urlencode(query), _SILENT_S):
        yield json.loads(line)


def _coming(url: str, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What an agent tells, also after it was away; raise NoAgent if it is not there at first."""
    said = ""
    while True:
        try:
            for row in _rows(url, query):
                query = {**query, "after": row["number"]}
                query.pop("within_s", None)
                said = ""
                if row["kind"] != "heartbeat":
                    yield row
            problem = f"the agent at {url} stops"
        except NoAgent as error:
            if "after" not in query:
                raise
            problem = error.message
        if not said:
            click.echo(f"{problem}; waiting for it to come back", err=True)
        said = problem
        time.sleep(_AGAIN_S)


def _show(row: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(row))
    else:
        when = f"{datetime.fromtimestamp(row['time_unix_s'], UTC).astimezone():%Y-%m-%d %H:%M:%S}"
        text = click.style(text_of(row), fg=_COLOURS.get(loudness_of(row)))
        click.echo(f"{click.style(when, fg='bright_black')}  {text}")  # click takes colours away but on a terminal
    sys.stdout.flush()
