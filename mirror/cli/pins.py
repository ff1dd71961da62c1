"""`skvaller pin`, `unpin` and `pins`: what the cluster keeps whatever happens."""

import sys
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from ..quantities import size_text
from ..tables import parse_duration
from .jobs import progress
from .known_names import image_names
from .orders import order, orders_agent
from .running_agent import ask, asks_agent, short_digest, short_name, show_json, show_table

_LOOK_S: Final = 1.0
"""Time between two looks whether copies are there, s."""


class Copies(click.ParamType):  # type: ignore[type-arg,unused-ignore] # generic in the newest click alone
    """A number of members, or all."""

    name = "copies"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """How help shows it."""
        return "R|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it."""
        if value == "all" or isinstance(value, int):
            return value
        if not (value.isascii() and value.isdigit() and int(value) > 0):
            self.fail(f"{value!r}: give a number of members, or all", param, ctx)
        return int(value)


@click.command()
@click.argument("names", metavar="REF|PATTERN…", nargs=-1, required=True, shell_complete=image_names)
@click.option("--copies", type=Copies(), help="On how many members.  [default: 2, or as before]")
@click.option(
    "--platform",
    "platforms",
    metavar="OS/ARCH",
    multiple=True,
    help="Of an index keep the images of these platforms; all: of all.  [default: the agent's own]",
)
@click.option("--wait", is_flag=True, help="Wait until all copies are there.")
@click.option(
    "--timeout",
    "timeout_s",
    default="1h",
    show_default=True,
    metavar="TIME",
    callback=lambda context, option, text: _time_s(text),
    help="How long --wait waits at most, as 90s, 30m or 2h.",
)
@orders_agent
def pin(  # noqa: PLR0913, PLR0917 - an argument for each flag
    names: Sequence[str],
    copies: Any,
    platforms: Sequence[str],
    wait: bool,
    timeout_s: float,
    url: str,
    as_json: bool,
    key_file: Path | None,
) -> None:
    """Keep images on some members, and let nobody evict them.

    REF is an image name such as nginx:1.27 or ghcr.io/org/app@sha256:…; PATTERN has * or ?, as in 'ghcr.io/org/*:v1.*',
    and covers all tags that members know, now and later. A tag stays with what it means now: pin it again to keep what
    it means then. Exit status 1 if something was not pinned, or with --wait if copies lack in the end.
    """
    wanted = "all" if "all" in platforms else list(platforms) or None
    answer = order(url, "/api/v1/pins", {"names": list(names), "copies": copies, "platforms": wanted}, key_file)
    missing = 0
    if wait and answer["pinned"]:
        answer["pins"] = rows = _waited(url, answer["pinned"], time.monotonic() + timeout_s)
        missing = sum(row["missing"] for row in rows)
    if as_json:
        show_json(answer)
    else:
        for name in answer["pinned"]:
            click.echo(f"{name} is pinned")
        _complain(answer["problems"])
        if wait and answer["pinned"]:
            _show(answer["pins"])
    if answer["problems"] or missing:
        sys.exit(1)


@click.command()
@click.argument("names", metavar="REF|PATTERN…", nargs=-1, required=True, shell_complete=image_names)
@click.option("--force", is_flag=True, help="Also what stands in the settings of a node that is gone for good.")
@orders_agent
def unpin(names: Sequence[str], force: bool, url: str, as_json: bool, key_file: Path | None) -> None:
    """Pin images no more: they go when their place is needed.

    A pattern takes with it what was pinned because of it. Exit status 1 if something was not pinned.
    """
    answer = order(url, "/api/v1/unpin", {"names": list(names), "force": force}, key_file)
    if as_json:
        show_json(answer)
    else:
        for name in answer["unpinned"]:
            click.echo(f"{name} is pinned no more")
        _complain(answer["problems"])
    if answer["problems"]:
        sys.exit(1)


@click.command()
@click.argument("names", metavar="[REF|PATTERN]…", nargs=-1, shell_complete=image_names)
@asks_agent
def pins(names: Sequence[str], url: str, as_json: bool) -> None:
    """Show what is pinned, the copies that are wanted, held and missing, and how many bytes are still to come.

    Exit status 1 if copies are missing, or if no pin has the names that are given.
    """
    answer = _asked(url, names)
    if as_json:
        show_json(answer)
    elif answer["pins"]:
        _show(answer["pins"])
    else:
        click.echo(f"no pin is called {' or '.join(names)}" if names else "nothing is pinned")
    if any(row["missing"] for row in answer["pins"]) or (names and not answer["pins"]):
        sys.exit(1)


def _time_s(text: str) -> float:
    """Read a time; a bare number is seconds."""
    try:
        return parse_duration(f"{text}s" if text.isascii() and text.isdigit() else text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: give {error}") from None


def _asked(url: str, names: Sequence[str]) -> Any:
    query = urllib.parse.urlencode([("name", name) for name in names])
    return ask(url, "/api/v1/pins" + (f"?{query}" if query else ""))


def _waited(url: str, names: Sequence[str], until: float) -> list[dict[str, Any]]:
    """Wait until all copies are there, or the time is over."""
    while True:
        rows: list[dict[str, Any]] = _asked(url, names)["pins"]
        missing, to_go = sum(row["missing"] for row in rows), sum(row["bytes_to_go"] for row in rows)
        if not missing or time.monotonic() >= until:
            progress("")
            return rows
        progress(
            f"{missing} of {sum(row['wanted'] for row in rows)} copies are missing, {size_text(to_go)} are to come"
        )
        time.sleep(_LOOK_S)


def _complain(problems: Mapping[str, str]) -> None:
    for name, why in problems.items():
        click.echo(f"{name}: {why}", err=True)


def _show(rows: Sequence[dict[str, Any]]) -> None:
    shown = [
        (
            short_name(row["name"]),
            "-" if row["digest"] is None else short_digest(row["digest"]),
            str(row["copies"]),
            f"{row['held']} of {row['wanted']}" if row["wanted"] else "-",
            size_text(row["bytes"]),
            size_text(row["bytes_to_go"]) if row["bytes_to_go"] else "-",
            " ".join(f"{it['member']}{'' if not it['parts_missing'] else '?'}" for it in row["keepers"]) or "-",
        )
        for row in rows
    ]
    show_table(("pin", "digest", "copies", "held", "size", "to come", "kept by"), shown)
    for row in rows:
        if said := _remark(row):
            click.echo(f"{short_name(row['name'])}: {said}")


def _remark(row: Mapping[str, Any]) -> str:
    said = [str(row["problem"])] if row["problem"] else []
    if row["pattern"]:
        said.append(f"because of {row['pattern']}")
    if row["configured_by"]:
        said.append(f"in the settings of {row['configured_by']}")
    return "; ".join(said)
