"""`skvaller doctor`: is this node well, and if not, what mends it."""

import json
import os
import shutil
import socket
import sys
import textwrap
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ..addresses import ListenAddress, UnixAddress
from ..config import AgentConfig
from ..doctor import EXIT_STATUS, Finding, Verdict, worst
from ..doctor.advice import Advice, Firewall
from ..doctor.checks import Check, examine
from ..doctor.settings import FoundSettings
from ..installation.places import SETTINGS_FILE, UNIT
from ..interfaces import machine_addresses
from ..runtimes.host import Host
from ..runtimes.units import file_of
from ..service import Service
from .agent_settings import found_settings
from .running_agent import NoAgent, agent_url, asks_agent, count_text, exchange, is_on_this_machine, printable, read

if TYPE_CHECKING:
    from ..doctor.patient import Machine

_FIRST_S: Final = 5.0
"""Bounds the first question, s: an agent that does not answer within this time does not serve anybody."""
_STYLES: Final[Mapping[Verdict, Mapping[str, Any]]] = {
    Verdict.OK: {"fg": "green"},
    Verdict.SKIPPED: {"dim": True},
    Verdict.WARNING: {"fg": "yellow"},
    Verdict.ERROR: {"fg": "red", "bold": True},
}
_VERDICT_COLUMNS: Final = 9
_CHECK_COLUMNS: Final = 12
_NARROWEST: Final = 40
"""Characters of a line of text, however narrow the terminal is."""

_EPILOG = """\b
Exit status, as the plugins of monitoring systems have it:
  0  all is well
  1  warnings: it works, and somebody should look at it
  2  errors: something does not work; or a flag is wrong
  3  the agent that --agent names is on another machine, and does not answer
"""


@click.command(epilog=_EPILOG)
@asks_agent
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="SKVALLER_CONFIG",
    help="The agent's file of settings.  [default: what its unit names, or /etc/skvaller/agent.toml]",
)
@click.option("--no-probe", is_flag=True, help="Do not have the runtimes pull; only read their files.")
@click.option("--root", type=click.Path(path_type=Path), default=Path("/"), help="Where the host's / is mounted.")
@click.argument("agent_flags", nargs=-1, metavar="[-- FLAG…]")
@click.pass_context
def doctor(  # noqa: PLR0913, PLR0917 - a flag each
    context: click.Context,
    agent_flags: Sequence[str],
    config: Path | None,
    no_probe: bool,
    root: Path,
    url: str,
    as_json: bool,
) -> None:
    """Examine this node: whether it is well, what is wrong, and the command that mends it.

    Asks the agent, has the other members try to reach this node, has each runtime pull a name that nobody has to see
    whether it asks the agent, and asks the registries. If no agent runs, says why it does not start. Nothing is
    changed, and nothing stays in a runtime. Run it as the agent is run, which is as root most of the time.

    After --, give the flags with which the agent is started, if that is done by hand.
    """
    from ..doctor.patient import Machine

    settings = found_settings(agent_flags, config, root)
    is_given = context.get_parameter_source("url") is not click.core.ParameterSource.DEFAULT
    if not is_given and settings.config is not None:
        url = _api_of(settings.config)
    machine = Machine(url, settings, _advice(settings, root), root, _refuse, is_probing=not no_probe)
    checks, sources, name = _patient(machine)
    findings = _in_order(checks, _worked_through(checks, examine(checks, sources), as_json))
    verdict = worst(findings)
    if as_json:
        rows = [asdict(it) for it in findings]
        click.echo(json.dumps({"node": name, "agent": url, "verdict": verdict, "findings": rows}, indent=2))
    else:
        _show(findings)
    sys.exit(EXIT_STATUS[verdict])


def _patient(machine: "Machine") -> tuple[Sequence[Check], Any, str | None]:
    """The checks that it takes, their sources, and the name of the node if its agent answers."""
    from ..doctor.patient import RunningAgent, checks_down, checks_up

    url = machine.url
    try:
        first = read(url, exchange(url, "/api/v1/doctor/node", timeout_s=_FIRST_S))
    except NoAgent as error:
        why = str(error.message).partition(": start one")[0]
        if not _is_here(url):
            raise NoAgent(f"{why}; a node is examined on itself: run `skvaller doctor` there") from None
        return *checks_down(machine, why), None
    agent = RunningAgent(lambda path: read(url, exchange(url, path)), lambda path: read(url, exchange(url, path, b"")))
    return *checks_up(machine, agent), str(first["name"])


def _is_here(url: str) -> bool:
    """Whether an agent's URL leads to this machine, by loopback or by an address of its own."""
    host = urllib.parse.urlsplit(url).hostname or ""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return is_on_this_machine(url) or host in machine_addresses(family)


def _api_of(config: AgentConfig) -> str:
    """Where an agent with these settings has its API."""
    address: ListenAddress = config.listen_api or config.listen[0]
    return agent_url(str(address if isinstance(address, UnixAddress) else address.reached_here))


def _refuse(config: AgentConfig) -> None:
    """Raise ConfigError if an agent refuses these settings, as `skvaller agent --check` does."""
    from ..agent import Agent

    Agent(config)


def _advice(settings: FoundSettings, root: Path) -> Advice:
    firewall: Firewall = "ufw" if shutil.which("ufw") else "firewalld" if shutil.which("firewall-cmd") else "nft"
    service = Service.of(os.environ)
    if service is Service.SYSTEMD and file_of(Host(root), UNIT) is None:
        service = Service.BY_HAND
    file = settings.origin if settings.origin.endswith(".toml") else SETTINGS_FILE
    return Advice(firewall, service, file, settings.config.name if settings.config is not None else "")


def _worked_through(
    checks: Sequence[Check], results: Iterable[tuple[Check, list[Finding]]], is_quiet: bool
) -> dict[str, list[Finding]]:
    """All findings, by the name of their check; what is still looked at is shown meanwhile, if somebody looks on."""
    waiting = [check.name for check in checks]
    done: dict[str, list[Finding]] = {}
    if is_quiet or not sys.stderr.isatty():
        for check, findings in results:
            done[check.name] = findings
        return done
    from rich.console import Console

    with Console(stderr=True).status(f"looking at {', '.join(waiting)}") as status:
        for check, findings in results:
            done[check.name] = findings
            waiting.remove(check.name)
            status.update(f"looking at {', '.join(waiting)}")
    return done


def _in_order(checks: Sequence[Check], done: dict[str, list[Finding]]) -> list[Finding]:
    return [finding for check in checks for finding in done[check.name]]


def _show(findings: Sequence[Finding]) -> None:
    """A line for each finding; below those that are not well, what it means and what mends it. A count at the end."""
    for it in findings:
        verdict = click.style(f"{it.verdict:{_VERDICT_COLUMNS}}", **_STYLES[it.verdict])
        click.echo(f"{verdict}{it.check:{_CHECK_COLUMNS}}{_wrapped(it.says, _VERDICT_COLUMNS + _CHECK_COLUMNS)}")
        indent = " " * (_VERDICT_COLUMNS + _CHECK_COLUMNS)
        if it.means:
            click.echo(f"{indent}{_wrapped(it.means, len(indent))}")
        if it.command:  # in one line, to be copied
            click.echo(f"{indent}{click.style('mend it:', bold=True)} {printable(it.command)}")
    counts = {verdict: sum(it.verdict is verdict for it in findings) for verdict in Verdict}
    summary = [
        count_text(counts[Verdict.ERROR], "error"),
        count_text(counts[Verdict.WARNING], "warning"),
        f"{counts[Verdict.OK]} ok",
        f"{counts[Verdict.SKIPPED]} not looked at",
    ]
    click.echo(f"\n{', '.join(summary)}")


def _wrapped(text: str, indent: int) -> str:
    """A text in lines as wide as the terminal, the first of which is begun already; in one line where there is none.

    It may quote what a member, a registry or the command line of any process says, so it commands no terminal.
    """
    text = printable(" ".join(text.split()))
    if not sys.stdout.isatty():
        return text.strip()
    width = max(_NARROWEST, shutil.get_terminal_size().columns - indent)
    return f"\n{' ' * indent}".join(textwrap.wrap(text.strip(), width, break_on_hyphens=False))
