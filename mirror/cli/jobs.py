"""Orders that take a while: a job that the agent carries out, followed to its end."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import click

from .running_agent import Refused, ask

_LOOK_S: Final = 0.5
"""Time between two looks at a job, s."""


def follow(url: str, job: Mapping[str, Any], line: Callable[[Mapping[str, Any]], str]) -> Mapping[str, Any]:
    """Follow a job until it has ended, with a line of progress on a terminal; return what became of it.

    Args:
        url: of the agent.
        job: as the agent showed it when it began.
        line: the progress of a job, in a few words.

    Raises:
        Refused: the job failed before there was anything to show.
    """
    while job["state"] == "runs":
        progress(line(job))
        time.sleep(_LOOK_S)
        job = ask(url, f"/api/v1/jobs/{job['job']}")
    progress("")
    if job["state"] == "failed" and not job["rows"]:
        raise Refused(f"{url}: {job['error']}")
    return job


def progress(text: str) -> None:
    """Show how far something is, in the last line of a terminal; elsewhere nothing."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{text}", nl=False, err=True)
