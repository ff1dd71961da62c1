"""`skvaller images`: which images this node and the cluster hold."""

import sys
import urllib.parse
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import click

from ..quantities import size_text, time_text
from .known_names import image_names
from .running_agent import ask, asks_agent, short_digest, short_name, show_json, show_table

_ORDERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Any]]] = {
    "name": lambda row: (not row["reference"], row["reference"], row["digest"]),
    "size": lambda row: -row["bytes"],
    "copies": lambda row: len(row["whole"]),
    "unused": lambda row: -(row["unused_s"] or 0.0),
}

_HEAD: Final = ("image", "digest", "size", "copies", "pinned", "here", "unused", "from")

_EPILOG = """\b
Reading it:
  size      the most that one member holds of it; images share layers
  copies    how many members have all of it, for one platform; +1 part: one has a part
  pinned    on how many members it is kept, whatever happens
  here      the stores of this node that have it; in brackets how many blobs, if not all
  unused    how long ago a client of any member asked for it, or else when it came
  from      who sent most of it to this node, if that is remembered
"""


@click.command(epilog=_EPILOG)
@click.argument("patterns", metavar="[PATTERN]...", nargs=-1, shell_complete=image_names)
@click.option("--here", is_flag=True, help="Of this node alone; no member is asked.")
@click.option("--sort", "order", type=click.Choice(list(_ORDERS)), default="name", show_default=True)
@asks_agent
def images(patterns: tuple[str, ...], here: bool, order: str, url: str, as_json: bool) -> None:
    """Show which images this node and the other members hold.

    PATTERN is a name in which * stands for any characters, such as 'nginx:*' or 'ghcr.io/org/*', or the beginning of a
    digest; several may be given. An image without a tag was pulled by digest, or its tag means something else now.
    Members are asked at the moment; who does not answer is named, and its copies are missing in the table.
    Exit status 1 if there is none.
    """
    query = [("pattern", pattern) for pattern in patterns] + ([("here", "1")] if here else [])
    answer = ask(url, "/api/v1/images?" + urllib.parse.urlencode(query))
    rows = sorted(answer["images"], key=_ORDERS[order])
    if as_json:
        show_json({**answer, "images": rows})
    else:
        if rows:
            show_table(
                ("image", "digest", "size", "copies", "pinned", "here", "unused", "from"), [_row(row) for row in rows]
            )
        else:
            click.echo(f"no member has an image that fits {' or '.join(patterns)}" if patterns else "there is no image")
        for silent in answer["silent"]:
            click.echo(f"{silent['member']} does not tell what it holds: {silent['reason']}", err=True)
    if not rows:
        sys.exit(1)


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    copies = str(len(row["whole"])) + (f" +{len(row['partial'])} part" if row["partial"] else "")
    pinned = "-" if row["pinned"] is None else str(row["pinned"])
    unused = "-" if row["unused_s"] is None else time_text(row["unused_s"])
    name = short_name(row["reference"])
    return (
        name or "-",
        short_digest(row["digest"]),
        size_text(row["bytes"]),
        copies,
        pinned,
        _here(row["here"]),
        unused,
        _from(row),
    )


def _here(here: Mapping[str, Any] | None) -> str:
    if here is None:
        return "-"
    part = "" if here["held"] >= here["named"] else f" ({here['held']} of {here['named']})"
    return "+".join(here["stores"]) + part


def _from(row: Mapping[str, Any]) -> str:
    top = Counter(row["from"]).most_common()
    return "-" if not top else top[0][0] + (f" +{len(top) - 1}" if len(top) > 1 else "")
