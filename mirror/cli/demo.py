"""`skvaller demo`: a cluster on this machine."""

import sys

import click

from ..errors import ConfigError
from ..tables import parse_size

_SIZE_MIN_BYTES, _SIZE_MAX_BYTES = 2**20, 8 * 2**30
"""Below it the layers are too small to be shared in pieces; above it the copies fill most disks."""


@click.command()
@click.option(
    "--nodes", default=3, show_default=True, type=click.IntRange(2, 20), metavar="N", help="How many agents, 2 to 20."
)
@click.option(
    "--size", default="64MiB", show_default=True, metavar="SIZE", help="Size of the image, all layers together."
)
def demo(nodes: int, size: str) -> None:
    """Watch a cluster on this machine share an image.

    Starts agents and a small registry on 127.0.0.x and pulls an image through all agents at the same moment; then
    kills one, stops the registry, adds an agent that is new and empty, and pulls again. Shows where every byte came
    from. Exit status 0 only if the registry served each byte once, for all. Leaves nothing behind.
    """
    try:
        size_bytes = parse_size(size)
        if not _SIZE_MIN_BYTES <= size_bytes <= _SIZE_MAX_BYTES:
            raise ValueError("a size from 1MiB to 8GiB")
    except ValueError as error:
        raise ConfigError(f"--size: {size!r} is not allowed; give {error}") from None
    from ..demo import run

    sys.exit(run(nodes, size_bytes))
