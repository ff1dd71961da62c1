"""`skvaller top`: the cluster at a glance, again and again."""

import json
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import click

from .running_agent import NoAgent, Refused, ask, asks_agent, lines

if TYPE_CHECKING:
    from rich.console import Console

_EVENTS_MAX: Final = 40
"""Bounds the events that are remembered to be shown; a terminal has room for fewer."""
_WAIT_S: Final = 10.0
"""Bounds the wait for the agent's events, s: all that it sends is there already."""
_DELAY_MIN_S: Final = 0.2
"""Shortest time between two looks, s; the agent makes its answer anew once a second at most."""


@click.command()
@click.option(
    "-n", "--looks", type=click.IntRange(1), help="How many looks.  [default: until Ctrl-C on a terminal, else 1]"
)
@click.option(
    "-d", "--delay", "delay_s", type=click.FloatRange(_DELAY_MIN_S, 3600.0), default=1.0, show_default=True,
    metavar="SECONDS", help="Time between two looks.",
)  # fmt: skip
@asks_agent
def top(looks: int | None, delay_s: float, url: str, as_json: bool) -> None:
    """Watch the cluster: members, pulls by source, rates, budgets, and what is wrong.

    Shows what this node's agent sees; where it goes away, what it said last stays until it is back. On a terminal the
    picture is renewed in its place, elsewhere each look is printed below the one before. Ctrl-C ends it. With --json
    each look is an object on a line of its own, as GET /api/v1/status has it.
    """
    watch = Watch(url)
    watch.look()  # an agent that is not there at first is an error
    try:
        if as_json:
            for _ in _times(looks or 1, delay_s, watch):
                click.echo(json.dumps(watch.status))
        elif looks is None and sys.stdout.isatty():
            _renew(watch, delay_s)
        else:
            for _ in _times(looks or 1, delay_s, watch):
                _console().print(_picture(watch, _console(), height=None))
    except KeyboardInterrupt:
        sys.exit(130)


@dataclass(slots=True)
class Watch:
    """What an agent said last.

    Args:
        url: of the agent.
        status: its status.
        events: the last events, the oldest first.
        after: the number of the last one.
        silence: why the last look brought nothing; empty if it did.
        seen_at: when it last answered, monotonic seconds.
    """

    url: str
    status: dict[str, Any] = field(default_factory=dict)
    events: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_EVENTS_MAX))
    after: int | None = None
    silence: str = ""
    seen_at: float = 0.0

    def look(self) -> None:
        """Ask it; raise NoAgent if it does not answer, or Refused."""
        self.status = ask(self.url, "/api/v1/status")
        path = "/api/v1/events" + ("" if self.after is None else f"?after={self.after}")
        for line in lines(self.url, path, _WAIT_S):
            row = json.loads(line)
            self.after = row["number"]
            self.events.append(row)
        self.silence, self.seen_at = "", time.monotonic()

    def look_again(self) -> None:
        """Ask it; where it does not answer, what it said last stays."""
        try:
            self.look()
        except (NoAgent, Refused) as error:
            self.silence = error.message


def _times(looks: int, delay_s: float, watch: Watch) -> Iterator[None]:
    """So many looks, of which the first is done."""
    yield
    for _ in range(looks - 1):
        time.sleep(delay_s)
        watch.look_again()
        yield


def _renew(watch: Watch, delay_s: float) -> None:
    """Look until somebody presses Ctrl-C, in the same place of the terminal."""
    from rich.live import Live

    console = _console()
    with Live(_picture(watch, console, console.height), console=console, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(delay_s)
            watch.look_again()
            live.update(_picture(watch, console, console.height), refresh=True)


def _picture(watch: Watch, console: "Console", height: int | None) -> Any:
    from .top_view import picture

    silence = f"{watch.silence} (last seen {time.monotonic() - watch.seen_at:.0f} s ago)" if watch.silence else ""
    return picture(watch.status, watch.events, silence, height, console.width)


def _console() -> "Console":
    from .running_agent import console

    return console()
