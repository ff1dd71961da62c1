"""What belongs to Kubernetes: `skvaller configure kubernetes` for people, and what the chart's small pods run."""

import os
import signal
import sys
from pathlib import Path
from typing import Any, Final

import click

from ..config import parse_seed
from .running_agent import show_table

_LEFT_SHOWN: Final = 20
"""Bounds the lines about what is not deleted."""


class OrKubernetes(click.Command):
    """A command that is another one if its first word is `kubernetes`, which is no runtime of this host."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """What is to be run."""
        if args[:1] == ["kubernetes"]:
            return distributions.make_context(f"{info_name} kubernetes", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command("kubernetes")
@click.option("--distribution", "name", metavar="NAME", help="Which one; without it, all are listed.")
@click.option("--machine", is_flag=True, help="Print what its machines have to be told, and not the chart's values.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=5000,
    show_default=True,
    help="Of the node, where containerd asks the agent.",
)
def distributions(name: str | None, machine: bool, port: int) -> None:
    """Print the chart's values for a distribution of Kubernetes, or the configuration of its machines.

    Nothing is written: the output is a file for helm, or for the distribution's own tool.
    """
    from ..kubernetes.distributions import DISTRIBUTIONS, distribution
    from ..sources.upstream.registries import known_registries

    if name is None:
        rows = [
            (it.name, it.title, "the machine's configuration" if it.machine and it.machine.is_needed else "the chart",
             "yes" if it.keeps_layers else "no", it.basis.value)
            for it in DISTRIBUTIONS
        ]  # fmt: skip
        show_table(("distribution", "", "who tells containerd", "keeps layers", "known from"), rows)
        return
    row = distribution(name)
    if machine:
        click.echo(row.shown_machine(list(known_registries(())), port), nl=False)
        return
    click.echo(row.shown_values(port), nl=False)
    steps = [row.first] if row.first else []
    steps.append("helm install skvaller deploy/chart/skvaller -n skvaller --create-namespace --values FILE")
    click.echo("\n".join(["", "then:", *(f"  {step}" for step in steps)]), err=True)


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
    """Delete what agents made in a folder, but not the folder, which is a mount."""
    from ..kubernetes.own_files import delete_own

    left = delete_own(folder)
    if left is None:
        click.echo(f"nothing is deleted: no agent ever used {folder}, for there is no file `lock` in it")
        return
    for path in left[:_LEFT_SHOWN]:
        click.echo(f"left: {path}")
    if len(left) > _LEFT_SHOWN:
        click.echo(f"left: {len(left) - _LEFT_SHOWN} more")
    click.echo(f"what agents keep in {folder} is deleted, and nothing else")


@kubernetes.command()
def hold() -> None:
    """Do nothing until SIGTERM: a pod that is done stays, so that it counts as ready."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    click.echo("done on this node", err=True)
    while True:
        signal.pause()
