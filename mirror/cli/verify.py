"""`skvaller verify`: whether the line may be cut."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from ..quantities import count_text, size_text
from .jobs import follow
from .orders import order, orders_agent
from .pins import Copies
from .running_agent import exchange, read, short_digest, short_name, show_json, show_table

_AT_ONCE: Final = 200
"""Images that one order names: their names fit into its body."""


@click.command()
@click.option(
    "--images",
    "source",
    metavar="FILE|-",
    help="A plain list, Kubernetes manifests, what a Helm chart renders, or a compose file.  [default: all pins]",
)
@click.option("--copies", type=Copies(), help="Copies that are wanted of each.  [default: those of its pin, else 1]")
@click.option(
    "--platform",
    "platforms",
    metavar="OS/ARCH",
    multiple=True,
    help="Of an index, the platforms that are wanted; all: all.  [default: those of the pin, else the agent's own]",
)
@click.option("--deep", is_flag=True, help="Have every member hash what is on its disk.")
@orders_agent
def verify(  # noqa: PLR0913, PLR0917 - an argument for each flag
    source: str | None,
    copies: Any,
    platforms: Sequence[str],
    deep: bool,
    url: str,
    as_json: bool,
    key_file: Path | None,
) -> None:
    """Say whether every byte of some images is in the cluster, on how many members, and whose loss would hurt.

    No registry is asked. Exit status 0 if all is there with the copies that are wanted: then the line may be cut; 1 if
    something lacks, or names of images could not be read.
    """
    images, unclear = (None, ()) if source is None else _listed(source)
    what = {"copies": copies, "platforms": "all" if "all" in platforms else list(platforms) or None}
    rows: list[dict[str, Any]] = []
    batches = [None] if images is None else [images[at : at + _AT_ONCE] for at in range(0, len(images), _AT_ONCE)]
    for batch in batches:
        job = _begun(url, {**what, "images": batch}, key_file, is_deep=deep)
        rows += follow(url, job, _line)["rows"]
    is_enough = all(row["enough"] for row in rows) and not unclear
    if as_json:
        show_json({"enough": is_enough, "images": rows, "unclear": unclear})
    else:
        _show(rows, unclear, is_enough=is_enough)
    if not is_enough:
        sys.exit(1)


def _begun(url: str, what: Mapping[str, Any], key_file: Path | None, *, is_deep: bool) -> Any:
    """Begin to verify: an order only if members are to read their disks."""
    if is_deep:
        return order(url, "/api/v1/verify?deep=1", what, key_file)
    return read(url, exchange(url, "/api/v1/verify", json.dumps(what).encode()))


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"it is no text in UTF-8 (byte {error.start}); `skvaller load` reads archives") from None


def _listed(source: str) -> tuple[list[str], Sequence[str]]:
    """The images that a file names, and what in it is not understood."""
    from .image_lists import LIST_MAX_BYTES, images_of

    try:
        if source == "-":
            content = sys.stdin.buffer.read(LIST_MAX_BYTES + 1)
        else:
            with open(source, "rb") as file:
                content = file.read(LIST_MAX_BYTES + 1)
        if len(content) > LIST_MAX_BYTES:
            raise ValueError(f"it has more than {LIST_MAX_BYTES} bytes")
        found = images_of(_text(content))
    except OSError as error:
        raise click.BadParameter(f"{source}: {error.strerror}", param_hint="--images") from None
    except ValueError as error:
        raise click.BadParameter(f"{source}: {error}", param_hint="--images") from None
    if not found.images and not found.unclear:
        raise click.BadParameter(f"{source}: it names no image", param_hint="--images")
    return list(found.images), found.unclear


def _line(job: Mapping[str, Any]) -> str:
    progress = job["progress"]
    if "hashed_bytes" in progress:
        return f"{size_text(progress['hashed_bytes'])} of {size_text(progress['bytes'])} are hashed"
    return f"{progress.get('looked', 0)} of {progress.get('images', '…')} images"


def _show(rows: Sequence[Mapping[str, Any]], unclear: Sequence[str], *, is_enough: bool) -> None:
    if rows:
        shown = [
            (
                short_name(row["image"]),
                "-" if row["digest"] is None else short_digest(row["digest"]),
                "whole" if row["whole"] else "lacks" if row["digest"] else "unknown",
                f"{row['copies']} of {row['copies_wanted']}",
                size_text(row["bytes"]),
                " ".join(row["needed_members"]) or "-",
            )
            for row in rows
        ]
        show_table(("image", "digest", "is", "copies", "size", "its loss would hurt"), shown)
        for row in rows:
            if said := _remark(row):
                click.echo(f"{short_name(row['image'])}: {said}")
    for line in unclear:
        click.echo(f"could not be read: {line}", err=True)
    lacking = sum(not row["enough"] for row in rows)
    if is_enough:
        all_of_them = "the image is" if len(rows) == 1 else f"all {len(rows)} images are"
        click.echo(f"{all_of_them} whole, with the copies that are wanted: the line may be cut")
    else:
        also = f", and {count_text(len(unclear), 'name')} could not be read" if unclear else ""
        lack = f"{'lacks' if lacking == 1 else 'lack'} bytes or copies{also}"
        click.echo(f"{lacking} of {count_text(len(rows), 'image')} {lack}: the line must not be cut")


def _remark(row: Mapping[str, Any]) -> str:
    said = list(row["problems"])
    if row["lacking_count"]:
        first = short_digest(row["lacking"][0]["digest"])
        said.append(f"nobody has {row['lacking_count']} of {row['parts']} parts, such as {first}")
    said += [f"{it['member']}: its copy of {short_digest(it['digest'])} is {it['found']}" for it in row["wrong"][:3]]
    return "; ".join(said)
