"""`skvaller kubernetes`: what pods of the chart run beside the agent. People need none of it."""

import os
import shutil
import signal
import sys
from pathlib import Path

import click

from ..config import parse_seed
from .running_agent import show_table


@click.group(hidden=True)
def kubernetes() -> None:
    """Run what the chart's small pods do."""


@kubernetes.command()
@click.option("--here", metavar="IP", help="An address of this pod; agents of its family are asked.")
@click.argument("service", metavar="NAME:PORT", callback=lambda context, option, text: parse_seed(text))
def check(service: str, here: str | None) -> None:
    """Ask all agents behind a service's name whether they are ready and know each other."""
    from ..kubernetes.check import addresses_of, ask_all, is_well

    name, _, port = service.rpartition(":")
    if not name:
        raise click.BadParameter("give a name and the port of the metrics", param_hint="NAME:PORT")
    answers = ask_all(addresses_of(name, int(port), here), int(port))
    rows = [(it.address, "-" if it.members is None else str(it.members), it.problem or "ready") for it in answers]
    show_table(("agent", "members it knows", "state"), rows)
    if not is_well(answers):
        click.echo(f"of {len(answers)} agents not all are ready and know all others", err=True)
        sys.exit(1)


@kubernetes.command("await-cleanup")
@click.option("--timeout", "timeout_s", type=click.IntRange(1), default=300, show_default=True, metavar="SECONDS")
@click.argument("daemon_set", metavar="DAEMONSET")
def await_cleanup(daemon_set: str, timeout_s: int) -> None:
    """Wait until a DaemonSet has undone the runtime's configuration on all nodes."""
    from ..kubernetes.cleanup import wait
    from ..kubernetes.server import Server

    if not wait(Server.of_pod(os.environ), daemon_set, timeout_s, click.echo):
        sys.exit(1)


@kubernetes.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
def empty(folder: Path) -> None:
    """Delete all that is in a folder, but not the folder, which is a mount."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    click.echo(f"{folder} is empty")


@kubernetes.command()
def hold() -> None:
    """Do nothing until SIGTERM: a pod that is done stays, so that it counts as ready."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    click.echo("done on this node", err=True)
    while True:
        signal.pause()
