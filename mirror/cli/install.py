"""`skvaller install`, `uninstall` and `join-token`: the agent as a service of this machine."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..config import SETTINGS
from ..errors import ConfigError
from ..installation.places import SETTINGS_FILE
from .agent import takes_settings
from .configure import configure, unconfigure

if TYPE_CHECKING:
    from ..installation.join_token import JoinToken
    from ..installation.places import Places
    from ..installation.plan import Plan
    from ..installation.program import Program

_SHOWN = ("name", "advertise", "join", "cache-size", "containerd", "containerd-namespace")
"""Settings that stand in the help of `install`; the others are in that of `agent`."""
_WORD_COLUMNS = 11
"""Width of the first column of what is told."""

_EXAMPLES = """\b
Any other setting of `skvaller agent --help` may be given as well. It is written into /etc/skvaller/agent.toml.

\b
  skvaller install --restart                                  the first node
  skvaller join-token | ssh NODE skvaller install --restart --join-token -
"""


def _root_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--root", default="/", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
        help="A folder that stands for /, as of an image that is being made: nothing is started.",
    )(command)  # fmt: skip


def _hide_settings(command: click.Command) -> click.Command:
    """Leave the settings that few need out of the help, and what they mean to `agent` alone."""
    settings = {setting.attribute: setting for setting in SETTINGS}
    for option in command.params:
        if isinstance(option, click.Option) and (setting := settings.get(option.name or "")) is not None:
            option.hidden = setting.name not in _SHOWN
            option.help = setting.help
    return command


@_hide_settings
@click.command(epilog=_EXAMPLES)
@takes_settings
@click.option(
    "--join-token", type=click.Path(path_type=Path, allow_dash=True), metavar="FILE|-",
    help="Join the cluster of the node on which `skvaller join-token` printed it. -: read it from standard input.",
)  # fmt: skip
@click.option("--restart", is_flag=True, help="Restart container runtimes that must be, to ask the agent.")
@click.option("--no-configure", is_flag=True, help="Leave the files of container runtimes as they are.")
@click.option("--dry-run", is_flag=True, help="Only show what would be written.")
@_root_option
def install(
    join_token: Path | None, restart: bool, no_configure: bool, dry_run: bool, root: Path, **flags: Any
) -> None:
    """Install or upgrade the agent as a systemd service of this machine.

    Puts this Skvaller into /opt/skvaller, makes a user, settings, the cluster's key and a unit, starts the agent, and
    has the container runtimes ask it. What is there is kept: of the settings only those that you name change. If the
    agent does not start, everything is put back as it was. At the end `skvaller doctor` looks at it.
    Exit status 1 if the agent does not start, a port is taken, or a runtime's file is not in order; 2 if a setting is
    wrong. What the doctor finds does not change it.
    """
    from ..installation import program
    from ..installation.carrying_out import Installation
    from ..installation.machine import Machine
    from ..installation.places import Places

    places = Places(root)
    _refuse_others_than_root(places, "install", may=dry_run)
    running = program.running()
    try:
        plan = _planned(places, running, join_token, flags, is_all_shown=dry_run)
        if not dry_run:
            Installation(places, Machine(places), _tell).carry_out(plan)
    finally:
        if running.release is not None:
            program.Releases(places).forget(running.release)  # unless it is the one that runs now
    is_well = no_configure or _configure(places, plan.config.data_dir, restart=restart, dry_run=dry_run)
    if not dry_run:
        _finish(plan, places, can_start=Machine(places).can_start)
    if not is_well:
        sys.exit(1)


def _planned(
    places: "Places", running: "Program", join_token: Path | None, flags: Mapping[str, Any], *, is_all_shown: bool
) -> "Plan":
    """What is to be written; shows what changes in files that are there, or all of it."""
    from ..installation import containerds
    from ..installation.plan import plan_of

    token = _token(join_token)
    given = {name.replace("_", "-"): list(v) if isinstance(v, tuple) else v for name, v in flags.items() if v}
    plan = plan_of(places, running, given, token, containerds.find(places))
    for file in plan.files:
        if file.changes and (is_all_shown or file.before is not None):
            click.echo(file.diff)
    for note in plan.notes:
        _tell("note", note)
    return plan


def _finish(plan: "Plan", places: "Places", *, can_start: bool) -> None:
    """Have the doctor look at the node, and say what is next."""
    if not can_start:
        _say_how_to_start(plan.program.command, is_here=places.is_here)
        return
    click.echo()
    subprocess.run([plan.program.command, "doctor"], check=False)  # what it finds may be another node's
    if plan.settings.before is None and not plan.config.join:
        _say_what_is_next(plan)


@click.command()
@click.option("--purge", is_flag=True, help="Delete the settings, the cluster's key, the cache and the user as well.")
@click.option("--yes", is_flag=True, help="Do not ask before --purge deletes.")
@click.option("--restart", is_flag=True, help="Restart container runtimes that must be, to forget the agent.")
@click.option("--no-configure", is_flag=True, help="Leave the files of container runtimes as they are.")
@_root_option
def uninstall(purge: bool, yes: bool, restart: bool, no_configure: bool, root: Path) -> None:
    """Take back what `install` did to this machine.

    Has the container runtimes forget the agent, stops it, and deletes the unit and the program. Settings, the cluster's
    key and the cache stay, and are named, unless you say --purge.
    """
    from ..installation.machine import Machine
    from ..installation.places import Places
    from ..installation.taking_away import Removal

    places = Places(root)
    _refuse_others_than_root(places, "uninstall")
    if purge and not yes:
        click.confirm(
            "This deletes the cache of this node, and what was pushed or pinned may be on no other node. Go on?",
            abort=True,
        )
    removal = Removal(places, Machine(places), _tell)
    if not no_configure and not _unconfigure(places, removal.data_dir, restart=restart):
        raise click.ClickException("nothing was uninstalled: mend this, or leave runtimes as they are: --no-configure")
    removal.take_away(purge=purge)


@click.command("join-token")
@click.option(
    "--config", type=click.Path(path_type=Path), envvar="SKVALLER_CONFIG", metavar="FILE",
    default=SETTINGS_FILE, show_default=True, help="The settings of this node.  [env: SKVALLER_CONFIG]",
)  # fmt: skip
def join_token(config: Path) -> None:
    """Print what another node needs to join: `skvaller install --join-token -` reads it there.

    It carries the address of this node and the cluster's key. So it is as secret as the key, and good until the key is
    changed with `skvaller keys`. Run this as a user who may read the key file.
    """
    import tomllib

    from ..config import load
    from ..installation.join_token import token_of

    settings = load({}, {}, config)
    click.echo(token_of(settings, tomllib.loads(config.read_text())).text)


def _configure(places: "Places", data_dir: Path, *, restart: bool, dry_run: bool) -> bool:
    """Have the runtimes of the host ask the agent; whether that went well. Those that come later are for later."""
    from ..runtimes.host import Host
    from ..runtimes.known import known

    host = Host(places.root)
    try:
        if not any(runtime.look(host) for runtime in known()):
            _tell("runtimes", "none is here yet; when one is, run: skvaller install --restart")
            return True
    except ConfigError:
        pass  # `configure` says it
    file, data = places.at(SETTINGS_FILE), places.at(str(data_dir))
    config = file if file.exists() else None  # it is not, if all is only shown
    is_restarted = restart and places.is_here  # an image that is being made has nothing that runs
    return _ends_well(configure, root=places.root, config=config, data_dir=data, restart=is_restarted, dry_run=dry_run)


def _unconfigure(places: "Places", data_dir: str, *, restart: bool) -> bool:
    """Have the runtimes of the host forget the agent, if they were told of it; whether that went well."""
    from ..runtimes.records import Records

    if not Records(places.at(data_dir)).names():
        return True
    is_restarted = restart and places.is_here
    return _ends_well(unconfigure, root=places.root, data_dir=places.at(data_dir), restart=is_restarted)


def _ends_well(command: click.Command, **arguments: Any) -> bool:
    try:
        click.get_current_context().invoke(command, **arguments)
    except SystemExit as end:
        return end.code in (0, None)
    return True


def _refuse_others_than_root(places: "Places", command: str, *, may: bool = False) -> None:
    if os.geteuid() != 0 and places.is_here and not may:
        raise ConfigError(
            f"{command} writes below /etc and /opt: run it with sudo. Without root, `skvaller agent` runs with a "
            "--data-dir of your own"
        )


def _token(file: Path | None) -> "JoinToken | None":
    """The join token in a file, or from standard input, which a terminal does not show."""
    from ..installation.join_token import TOKEN_MAX, JoinToken, read_token

    if file is None:
        return None
    if str(file).startswith("skvaller-join-"):
        raise ConfigError(
            "--join-token: name a file, or - for standard input: all users of this machine see a command line"
        )
    if str(file) != "-":
        return read_token(file)
    if sys.stdin.isatty():
        return JoinToken.parse(click.prompt("Join token", hide_input=True))
    return JoinToken.parse(sys.stdin.read(TOKEN_MAX))


def _tell(what: str, sentence: str) -> None:
    click.echo(f"{what:<{_WORD_COLUMNS}} {sentence}")


def _say_how_to_start(command: str, *, is_here: bool) -> None:
    """What to do where no systemd runs."""
    start = f"{command} agent --config {SETTINGS_FILE}"
    if is_here:
        _tell("agent", f"not started: no systemd runs here. Have what starts services here run, as root: {start}")
    else:
        _tell("agent", "starts with the machine, by systemd")


def _say_what_is_next(plan: "Plan") -> None:
    """How others join, and what has to be open for that."""
    config = plan.config
    _name, where = config.discovery
    if config.key_file is None:
        return
    click.echo(f"""
To add a node, copy the same file to it. Then, from a machine that reaches both:
  ssh THIS-NODE skvaller join-token | ssh NEW-NODE {plan.program.on_others} install --restart --join-token -
Between nodes TCP {config.peer.port}, and TCP and UDP {where.port} must be open. `skvaller members` shows all.""")
