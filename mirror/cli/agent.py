"""`skvaller agent`: run a node. Its flags are `mirror.config.SETTINGS`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..config import SETTINGS


def takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command a flag for every setting."""
    for setting in reversed(SETTINGS):
        text = f"{setting.help}  [env: {setting.variable}]"
        if setting.default:
            text += f"  [default: {setting.default}]"
        command = click.option(f"--{setting.name}", metavar=setting.metavar, help=text, multiple=setting.many)(command)
    return command


@click.command()
@takes_settings
@click.option("--check", is_flag=True, help="Say whether the settings and their files are in order, and end.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="SKVALLER_CONFIG",
    help="A TOML file with these settings as keys.  [env: SKVALLER_CONFIG]",
)
def agent(config: Path | None, check: bool, **flags: Any) -> None:
    """Run this node's agent until SIGTERM.

    A flag wins over its environment variable, that over the TOML file.
    Exit status 2 if a setting is wrong: then it is of no use to start the agent again.
    """
    import asyncio
    import os

    import uvloop

    from ..agent import Agent
    from ..config import load
    from ..doctor import last_words
    from ..logs import start_logging
    from ..malloc import keep_little

    settings = load({name.replace("_", "-"): value for name, value in flags.items()}, os.environ, config)
    if check:
        checked = Agent(settings)
        for warning in checked.warnings:
            click.echo(f"warning: {warning}", err=True)
        click.echo(f"the settings are in order: {checked.summary}")
        return
    start_logging(settings.log_level, settings.log_format)
    keep_little()
    with last_words.kept(settings.data_dir), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Agent(settings).run())
