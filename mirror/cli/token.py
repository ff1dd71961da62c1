"""`skvaller token`: a password for programs that push."""

import re
import time
from pathlib import Path

import click

from .running_agent import show_json

_EXAMPLE = """\b
skvaller token --key-file KEY | docker login --username skvaller --password-stdin node1:5000
"""
_UNITS_S = {"m": 60, "h": 3600, "d": 86400}
_LIFE = re.compile(r"([0-9]{1,5})([mhd])")
_LIFE_MAX_S = 366 * 86400
"""Bounds how long a password is good, s: nobody can take it back but by a change of the cluster's key."""


@click.command(epilog=_EXAMPLE)
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    envvar="SKVALLER_KEY_FILE",
    required=True,
    help="Make it with the first key of this file.  [env: SKVALLER_KEY_FILE]",
)
@click.option(
    "--for",
    "life",
    default="12h",
    show_default=True,
    metavar="TIME",
    callback=lambda context, option, text: _life_s(text),
    help="How long it is good, as in 30m, 12h or 90d.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the time until which it is good.")
def token(key_file: Path, life: int, as_json: bool) -> None:
    """Print a password with which programs of other machines push to any node that runs with --push key.

    Every node with the same key takes it, by its own clock, until its time is over. The client endpoint does not speak
    TLS, so whoever reads the line sees it: give it a short life.
    """
    from ..routers.swim import load_keys
    from ..sources.peers.auth import PeerAuth

    password = PeerAuth(load_keys(key_file)).password(life)
    if as_json:
        show_json({"user": "skvaller", "password": password, "good_until_unix_s": int(time.time()) + life})
    else:
        click.echo(password)


def _life_s(text: str) -> int:
    """Read how long a password is good, s; raise BadParameter if it is no time."""
    match = _LIFE.fullmatch(text)
    life_s = int(match[1]) * _UNITS_S[match[2]] if match else 0
    if not 0 < life_s <= _LIFE_MAX_S:
        raise click.BadParameter(f"{text!r}: give a time such as 30m, 12h or 90d, from a minute to a year")
    return life_s
