"""`skvaller find`: who has an image."""

import sys
import urllib.parse
from collections.abc import Mapping
from typing import Any

import click

from ..quantities import time_text
from .known_names import image_names
from .running_agent import ask, asks_agent, authority_text, short_digest, show_json, show_table


@click.command()
@click.argument("what", metavar="REF|DIGEST", shell_complete=image_names)
@asks_agent
def find(what: str, url: str, as_json: bool) -> None:
    """Show which members have an image or a digest.

    REF is an image name such as nginx:1.27 or ghcr.io/org/app@sha256:…, DIGEST is sha256:… or sha512:…. Who has
    the manifest of an image and not all that it names does not have the image.
    Exit status 1 if nobody has it.
    """
    answer = ask(url, "/api/v1/find?" + urllib.parse.urlencode({"q": what}))
    holders = [(digest, row) for digest, rows in answer["holders"].items() for row in rows]
    if as_json:
        show_json(answer)
    else:
        for row in answer.get("tags", ()):
            click.echo(f"{answer['reference']} is {row['digest']}")
            click.echo(
                f"  says {row['member']}: {authority_text(row['authority'])}, {time_text(row['age_seconds'])} ago"
            )
        rows = [(row["member"], short_digest(digest), _found(row)) for digest, row in holders]
        if rows:
            show_table(("member", "digest", "has it"), rows)
        else:
            click.echo(f"no member has {what}: `skvaller why {what}` says why")
    if not any(row["has"] for _, row in holders):
        sys.exit(1)


def _found(row: Mapping[str, Any]) -> str:
    """What one member has."""
    blobs = f"{row['held']} of {row['blobs']} blobs" if "blobs" in row else ""
    if row["has"]:
        return f"image, {blobs}" if blobs else f"{row['bytes']:,} bytes"
    return f"no: the manifest, and {blobs}" if blobs else f"no: {row['reason']}"
