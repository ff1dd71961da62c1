"""`skvaller configure` and `skvaller unconfigure`: this host's container runtimes ask the agent first, or no more."""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ..config import AgentConfig, parse_address
from ..errors import ConfigError, NameInvalid
from ..oci.reference import parse_registry
from ..service import Service
from ..settings import RuntimeSettings
from ..sources.upstream.registries import known_registries
from .kubernetes import OrKubernetes
from .running_agent import NoAgent, agent_url, exchange, show_json

if TYPE_CHECKING:
    from ..runtimes import Runtime, Wanted
    from .runtime_files import RuntimeFiles

MACHINE: Final = Path("/")
"""Where the agent's unit and its settings are, which say where it listens; a test has another place."""
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
"""Of another mirror. Everybody on the machine reads its file and the command line, so neither has a password."""
_ALIKE: Final = 0.8
"""How alike two names of registries are, from 0 to 1, for one of them to be a slip: docker.oi and docker.io, and not
registry.lab and any public one."""


def _writes(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags that say what it may do, and where all is."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option(
            "--data-dir",
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="The agent's data folder, where it is remembered what was written.  [default: as in its settings]",
        ),
        click.option(
            "--config",
            type=click.Path(path_type=Path),
            envvar="SKVALLER_CONFIG",
            help="The agent's settings.  [env: SKVALLER_CONFIG]  [default: as its unit says]",
        ),
        click.option(
            "--root",
            type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True),
            default=Path("/"),
            metavar="DIR",
            help="The host's /, for a container that has it mounted.  [default: /]",
        ),
        click.option("--restart", is_flag=True, help="Restart or reload what has to read its files again."),
        click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing."),
    ):
        command = option(command)
    return command


@click.command(cls=OrKubernetes)
@click.argument("runtimes", metavar="[RUNTIME]...", nargs=-1)
@click.option("--registry", "registries", metavar="NAME", multiple=True, help="Only for this one; may be repeated.")
@click.option(
    "--agent",
    "address",
    metavar="HOST:PORT",
    help="Where runtimes find the agent, over TCP.  [default: as in its settings, else 127.0.0.1:5000]",
)
@click.option(
    "--then",
    metavar="URL",
    multiple=True,
    callback=lambda context, option, urls: tuple(map(_mirror_url, urls)),
    help="Another mirror, for containerd alone: asked after the agent, and before the registry; may be repeated.",
)
@click.option("--watch", is_flag=True, help="Stay, and write again what somebody takes away.")
@_writes
def configure(  # noqa: PLR0913, PLR0917 - the flags
    runtimes: tuple[str, ...],
    registries: tuple[str, ...],
    address: str | None,
    then: tuple[str, ...],
    watch: bool,
    dry_run: bool,
    restart: bool,
    root: Path,
    config: Path | None,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Let this host's container runtimes ask the agent first.

    RUNTIME is containerd, docker, k3s and the like; without one, all that are installed. Shows what changes, and
    writes only what is missing into the files of each: what others wrote there stays as it is. A copy of each file is
    kept, and `skvaller unconfigure` takes back exactly what was added. It is the same to run this once or often.
    Nothing is restarted without --restart. `skvaller configure kubernetes` is for clusters.
    Exit status 1 if a runtime's file is not in order or cannot be written, or if no runtime is found.
    """
    settings = _settings(config)
    wanted = replace(_wanted(settings, address, registries), then=then)
    chosen = _chosen(runtimes)
    files = _files(root, data_dir or settings.data_dir, dry_run, restart, as_json)
    told = files.add(chosen, wanted, named=bool(runtimes))
    silent = _silence(wanted.url)
    if as_json:
        show_json({"agent": wanted.url, "silent": silent, "dry_run": dry_run, "runtimes": told})
    elif not told:
        click.echo(f"Error: no runtime is found below {root}; known are {', '.join(_names(chosen))}", err=True)
    if silent is not None:
        click.echo(f"Warning: {silent}", err=True)
    if watch and not dry_run:
        _watch(_files(root, data_dir or settings.data_dir, dry_run, restart, True), chosen, wanted, as_json)
    _end(told, is_fine=bool(told))


@click.command()
@click.argument("runtimes", metavar="[RUNTIME]...", nargs=-1)
@_writes
def unconfigure(  # noqa: PLR0913, PLR0917 - the flags
    runtimes: tuple[str, ...],
    dry_run: bool,
    restart: bool,
    root: Path,
    config: Path | None,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Take back what `skvaller configure` wrote.

    A file that nobody has changed since is as it was before, byte for byte. Where others have changed it, exactly what
    was added goes, and what they wrote stays. Without a RUNTIME, of all.
    Exit status 1 if a file is not in order or cannot be written.
    """
    files = _files(root, data_dir or _settings(config).data_dir, dry_run, restart, as_json)
    told = files.remove(_chosen(runtimes))
    if as_json:
        show_json({"dry_run": dry_run, "runtimes": told})
    elif not told:
        click.echo(f"nothing is to be taken back: {files.records.folder} remembers nothing of it")
    _end(told, is_fine=True)


def _settings(config: Path | None) -> AgentConfig:
    """The agent's settings, as it is started on this machine; raise ConfigError if they are not in order."""
    from ..runtimes.host import unreadable
    from .agent_settings import found_settings

    try:
        found = found_settings((), config, MACHINE)
    except PermissionError as error:
        raise unreadable(str(error.filename), error) from None
    if found.config is None:
        raise ConfigError(found.problem)
    return found.config


def _files(root: Path, data_dir: Path, dry_run: bool, restart: bool, as_json: bool) -> "RuntimeFiles":
    from .runtime_files import RuntimeFiles

    limit_s = RuntimeSettings().restart_s if restart else None
    return RuntimeFiles(root, data_dir, dry_run=dry_run, restart=limit_s, is_quiet=as_json)


def _watch(files: "RuntimeFiles", chosen: "Sequence[Runtime]", wanted: "Wanted", as_json: bool) -> None:
    """Write again what somebody takes away, and say so, until a signal ends it."""
    problems: dict[str, str | None] = {}
    while True:
        time.sleep(RuntimeSettings().look_s)
        for each in files.add(chosen, wanted, named=False):
            is_news = each["problem"] != problems.get(each["runtime"])
            problems[each["runtime"]] = each["problem"]
            if as_json and (is_news or each["files"]):
                click.echo(json.dumps(each))
            elif is_news and each["problem"] is not None:
                click.echo(f"Error: {each['runtime']}: {each['problem']}", err=True)
            for file in () if as_json else each["files"]:
                click.echo("\n".join([f"{each['runtime']}: written again:", *file["diff"]]))
            if each["files"] and each["restart"] and not (as_json or each["restarted"]):
                click.echo(f"to have it read, run this: {' '.join(each['restart'])}")


def _end(told: Iterable[dict[str, Any]], *, is_fine: bool) -> None:
    from .runtime_files import is_well

    if not is_fine or not is_well(list(told)):
        sys.exit(1)


def _names(runtimes: "Iterable[Runtime]") -> list[str]:
    return [runtime.name for runtime in runtimes]


def _chosen(names: Sequence[str]) -> "list[Runtime]":
    """The runtimes of some names, or all of them; raise ConfigError for one that is not known."""
    from ..runtimes.known import known

    runtimes = {runtime.name: runtime for runtime in known()}
    for name in names:
        if name not in runtimes:
            close = get_close_matches(name, runtimes, n=1)
            hint = f"is {close[0]} meant?" if close else f"there are {', '.join(runtimes)}"
            raise ConfigError(f"{name}: no such runtime; {hint}")
    return [runtimes[name] for name in dict.fromkeys(names)] or list(runtimes.values())


def _wanted(settings: AgentConfig, address: str | None, registries: Sequence[str]) -> "Wanted":
    """Whom runtimes are to ask, and for what.

    Raises:
        ConfigError: no runtime can reach the agent, or a registry has no such name or is not known to the agent.
    """
    from ..runtimes import Wanted

    url = _usual_url(settings) if address is None else _given_url(address)
    served = list(known_registries(settings.upstream))
    if not registries:
        return Wanted(url, tuple(served))
    return Wanted(url, tuple(dict.fromkeys(_registry(name, served) for name in registries)), every=False)


def _registry(name: str, served: Sequence[str]) -> str:
    """A registry by its canonical name; of one that the agent may not ask, what was pushed and loaded here is found."""
    try:
        registry = parse_registry(name)
    except NameInvalid as error:
        raise ConfigError(f"--registry: {error}") from None
    if registry not in served:
        if close := get_close_matches(registry, served, n=1, cutoff=_ALIKE):
            raise ConfigError(f"--registry: the agent knows no {registry}; is {close[0]} meant?")
        told = f'upstream = ["{registry}=https://{registry}"] in its settings'
        click.echo(f"Warning: the agent fetches nothing from {registry} unless it has {told}", err=True)
    return registry


def _usual_url(settings: AgentConfig) -> str:
    """Where the agent's settings let clients ask over TCP."""
    if settings.client_url is None:
        raise ConfigError(
            "listen: runtimes speak TCP, and the agent listens at Unix sockets alone; give it 127.0.0.1:5000 as well, "
            "or name where it is with --agent"
        )
    return settings.client_url


def _given_url(text: str) -> str:
    place = text.removeprefix("http://").rstrip("/")
    if place.startswith("["):  # the chart does not know the family of an address; only one of IPv6 keeps its brackets
        try:
            return f"http://{parse_address(place)}"
        except ValueError as error:
            raise click.BadParameter(f"{text!r}: give {error}") from None
    url = agent_url(text).rstrip("/")
    if not url.startswith("http://") or "/" in url.removeprefix("http://"):
        raise click.BadParameter(f"{text!r}: give HOST:PORT of its client endpoint, e.g. 127.0.0.1:5000")
    return url


def _mirror_url(text: str) -> str:
    url = text.rstrip("/")
    scheme, _, host = url.partition("://")
    if scheme not in ("http", "https") or not _HOST.fullmatch(host):
        raise click.BadParameter(
            f"{text!r}: give http:// or https://, HOST:PORT of a registry's mirror, and no password"
        )
    return url


def _silence(url: str) -> str | None:
    """Why an agent is not there, and what to do; None if it is. Runtimes then ask the registries themselves."""
    try:
        answer = exchange(url, "/healthz", timeout_s=RuntimeSettings().answer_s)
    except NoAgent:
        if Service.of(os.environ) is Service.KUBERNETES:  # in a pod this runs before the agent
            return f"no agent answers at {url} yet, so runtimes go on asking the registries themselves until one does"
        return (
            f"no agent answers at {url}, so runtimes go on asking the registries themselves: "
            "`systemctl start skvaller`, or `skvaller agent`"
        )
    if answer.status == 200 and answer.body == b"ok\n":
        return None
    return f"what answers at {url} is no agent: give the agent another port with --listen, and name it with --agent"
