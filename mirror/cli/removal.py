"""`skvaller delete` and `skvaller prune`: content goes from caches by hand."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ..quantities import count_text, size_text
from ..tables import parse_duration, parse_size
from .known_names import image_names
from .orders import order, orders_agent
from .running_agent import short_digest, show_json, show_table

_RUNTIME = "containerd's own copy is never touched: remove that with `ctr images rm`, or let the kubelet do it"

_STAYS = {"pinned": "pinned", "read": "being read"}
"""Why blobs stay, by their key in the agent's answer."""


@click.command()
@click.argument("what", metavar="REF|DIGEST", shell_complete=image_names)
@click.option("--everywhere", is_flag=True, help="From the caches of all members, which takes a cluster key.")
@orders_agent
def delete(what: str, everywhere: bool, url: str, as_json: bool, key_file: Path | None) -> None:
    """Delete an image, or one blob, from this node's cache.

    REF is an image name such as nginx:1.27: its tag is forgotten here, and what no other image of this node has is
    deleted. DIGEST is sha256:…, of an image with all its tags, or of one blob. Who reads it now reads it to its end.
    What is pinned stays until it is unpinned. What containerd holds itself is never touched, and other members keep
    their copies, unless you say --everywhere: so the image may come back with the next pull.
    Exit status 1 if nothing was there, or a member did not do it.
    """
    answer = order(url, "/api/v1/delete", {"what": what, "everywhere": everywhere}, key_file)
    members = answer["members"]
    is_there = any(row.get("blobs") or row.get("tags") for row in members)
    if as_json:
        show_json(answer)
    else:
        show_table(("member", "tags", "blobs", "freed", "problem"), [_deleted_row(row) for row in members])
        shares = sorted({name for row in members for name in row.get("shares", ())})
        if shares:
            click.echo(f"What other images have too was kept, or is theirs as well: {', '.join(shares[:8])}")
        own = sorted({name for row in members for name in row.get("own", ())})
        if own:
            click.echo(f"This cluster's own tags stay: {', '.join(own[:8])}. --everywhere deletes them, too")
        if any(row.get("runtime") for row in members):
            click.echo(_RUNTIME)
        if not is_there and not any(row["problem"] for row in members):
            click.echo(f"nothing of {what} was there to delete: `skvaller find {what}` shows who has it")
    if any(row["problem"] for row in members) or not is_there:
        sys.exit(1)


@click.command()
@click.option("--unused", metavar="TIME", help="What no client of this node used for so long, as 12h or 30d.")
@click.option("--keep-size", metavar="SIZE", help="What is too much for so large a cache, as 20GiB; the oldest first.")
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@click.option("--yes", is_flag=True, help="Do not ask before it goes.")
@orders_agent
def prune(  # noqa: PLR0913, PLR0917 - the flags
    unused: str | None,
    keep_size: str | None,
    dry_run: bool,
    yes: bool,
    url: str,
    as_json: bool,
    key_file: Path | None,
) -> None:
    """Delete from this node's cache what is not used, image by image.

    Shows what would go, and asks. What is pinned never goes, nor what somebody reads now, nor anything of containerd's
    own. An image goes as a whole, but for what images that stay have as well.
    """
    if unused is None and keep_size is None:
        raise click.UsageError("say what may go: --unused 30d, --keep-size 20GiB, or both")
    rule = {
        "unused_s": _parsed("--unused", unused, parse_duration),
        "keep_bytes": _parsed("--keep-size", keep_size, parse_size),
    }
    plan = order(url, "/api/v1/prune", {**rule, "dry_run": True}, key_file)
    if not as_json:
        _show_plan(plan)
    if dry_run or not plan["blobs"]:
        if as_json:
            show_json(plan)
        return
    if not yes:
        click.confirm("Delete that?", abort=True, err=as_json)
    done = order(url, "/api/v1/prune", {**rule, "dry_run": False}, key_file)
    if as_json:
        show_json(done)
    else:
        click.echo(f"deleted {count_text(done['blobs'], 'blob')}, {size_text(done['bytes'])}")


def _parsed(option: str, text: str | None, parse: Any) -> Any:
    """The value of an option; raise BadParameter if it is none."""
    try:
        return None if text is None else parse(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: give {error}", param_hint=option) from None


def _show_plan(plan: Mapping[str, Any]) -> None:
    if plan["images"]:
        rows = [
            (row["reference"] or "-", short_digest(row["digest"]), size_text(row["bytes"])) for row in plan["images"]
        ]
        show_table(("image", "digest", "size"), rows)
    stays = [f"{count_text(plan[what], 'blob')} {text}" for what, text in _STAYS.items() if plan[what]]
    also = f"; what stays: {' and '.join(stays)}" if stays else ""
    goes = f"{count_text(plan['blobs'], 'blob')}, {size_text(plan['bytes'])}" if plan["blobs"] else "nothing"
    click.echo(f"to go from the cache of {plan['node']}: {goes}{also}")


def _deleted_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    if row["problem"]:
        return (row["member"], "-", "-", "-", row["problem"])
    return (row["member"], " ".join(row["tags"]) or "-", str(row["blobs"]), size_text(row["bytes"]), "-")
