"""The benches' command line: `python -m bench NAME`, from the repository's root."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import click
from rich.console import Console

from mirror.config import parse_size
from mirror.errors import ConfigError

from .report import BenchError, Report

GIB = 1024**3
_FILE_COLUMNS = 110


class _Size(click.ParamType[int]):
    """A number of bytes, such as `512MiB`."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_size(value)
        except (ConfigError, ValueError) as error:
            self.fail(str(error), param, ctx)


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that every bench has."""
    for option in (
        click.option(
            "--json", "target", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures too."
        ),
        click.option("--size", type=_Size(), default=GIB, metavar="SIZE", help="Of the blob.  [default: 1GiB]"),
        click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="For its files."),
    ):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure Skvaller beside others. Each bench ends by itself within two minutes and leaves nothing behind."""


@main.command()
@_options
def serve(target: Path | None, size: int, folder: Path | None) -> None:
    """Serving what is cached: the agent, nginx with sendfile, and docker-registry."""
    from .serve import measure

    _run(lambda console: measure(console, size, folder), target)


@main.command()
@_options
def relay(target: Path | None, size: int, folder: Path | None) -> None:
    """Passing a blob on while it arrives: the agent, nginx proxy_cache, and docker-registry as a proxy."""
    from .relay import measure

    _run(lambda console: measure(console, size, folder), target)


def _run(measure: Callable[[Console], Report], target: Path | None) -> None:
    console = Console() if sys.stdout.isatty() else Console(width=_FILE_COLUMNS)
    signal.signal(signal.SIGTERM, _end)
    try:
        report = measure(console)
        report.show(console)
        if target is not None:
            report.write(target)
    except (BenchError, OSError) as error:
        raise click.ClickException(str(error)) from None


def _end(number: int, frame: FrameType | None) -> None:
    """Unwind, so that everything that was started is stopped."""
    sys.exit(128 + number)


if __name__ == "__main__":
    main(prog_name="python -m bench")
