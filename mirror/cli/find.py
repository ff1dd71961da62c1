"""`skvaller find`: who has an image."""

import sys
import urllib.parse

import click

from .running_agent import ask, asks_agent, show_json, show_table


@click.command()
@click.argument("what", metavar="REF|DIGEST")
@asks_agent
def find(what: str, url: str, as_json: bool) -> None:
    """Show which members have an image or a digest.

    REF is an image name such as nginx:1.27 or ghcr.io/org/app@sha256:…, DIGEST is sha256:….
    Exit status 1 if nobody has it.
    """
    answer = ask(url, "/api/v1/find?" + urllib.parse.urlencode({"q": what}))
    holders = [(digest, row) for digest, rows in answer["holders"].items() for row in rows]
    if as_json:
        show_json(answer)
    else:
        for row in answer.get("tags", ()):
            click.echo(f"{answer['reference']} is {row['digest']}")
            click.echo(f"  says {row['member']}: from {row['authority']}, {row['age_seconds']:.0f} s ago")
        rows = [
            (row["member"], digest[:19] + "…", f"{row['bytes']:,} bytes" if row["has"] else f"no: {row['reason']}")
            for digest, row in holders
        ]
        if rows:
            show_table(("member", "digest", "has it"), rows)
        else:
            click.echo(f"no member has {what}")
    if not any(row["has"] for _, row in holders):
        sys.exit(1)
