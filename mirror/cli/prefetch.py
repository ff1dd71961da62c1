"""`skvaller prefetch`: have nodes fetch images, without pinning them."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ..quantities import size_text
from .jobs import follow
from .known_names import image_names, member_names
from .orders import order, orders_agent
from .running_agent import short_name, show_json, show_table


@click.command()
@click.argument("images", metavar="REF…", nargs=-1, required=True, shell_complete=image_names)
@click.option(
    "--nodes",
    metavar="all|N|NAME,…",
    default="all",
    show_default=True,
    help="Which nodes: all that are up, so many of them, or these.",
    shell_complete=member_names,
)
@click.option(
    "--platform",
    "platforms",
    metavar="OS/ARCH",
    multiple=True,
    help="Of an index the images of these platforms; all: of all.  [default: the agent's own]",
)
@orders_agent
def prefetch(
    images: Sequence[str], nodes: str, platforms: Sequence[str], url: str, as_json: bool, key_file: Path | None
) -> None:
    """Have nodes fetch images before somebody asks for them.

    They may be evicted again: `skvaller pin` keeps them. Exit status 1 if an image was not fetched everywhere.
    """
    wanted = "all" if "all" in platforms else list(platforms) or None
    chosen: Any = int(nodes) if nodes.isascii() and nodes.isdigit() else nodes
    if isinstance(chosen, str) and chosen != "all":
        chosen = [name.strip() for name in chosen.split(",") if name.strip()]
    job = order(url, "/api/v1/prefetch", {"images": list(images), "nodes": chosen, "platforms": wanted}, key_file)
    job = follow(url, job, _line)
    if as_json:
        show_json(job)
    else:
        rows = [
            (
                short_name(row["image"]),
                row.get("member", "-"),
                row["state"],
                size_text(row.get("bytes", 0)),
                size_text(row["missing_bytes"]) if row.get("missing_bytes") else "-",
            )
            for row in job["rows"]
        ]
        show_table(("image", "member", "state", "size", "to come"), rows)
        for row in job["rows"]:
            if row["problem"]:
                where = f" on {row['member']}" if "member" in row else ""
                click.echo(f"{short_name(row['image'])}{where}: {row['problem']}", err=True)
    if job["state"] != "done":
        sys.exit(1)


def _line(job: Mapping[str, Any]) -> str:
    """How far it is."""
    rows = job["rows"]
    done, missing = sum(row.get("state") == "done" for row in rows), sum(row.get("missing_bytes", 0) for row in rows)
    return f"{done} of {len(rows)} copies are there, {size_text(missing)} are to come"
