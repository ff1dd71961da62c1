"""`skvaller load`: images from an archive into the cluster."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import AgentError, ArchiveError, NameInvalid
from ..oci.reference import Reference, Repository
from ..quantities import count_text, size_text
from ..settings import ArchiveSettings
from .running_agent import NoAgent, Refused, is_on_this_machine, printable, pulls_from_agent, show_json

if TYPE_CHECKING:
    from ..archives.distribution import Distribution

_EXAMPLES = """\b
Examples:
  skvaller load images.tar.zst
  docker save app:1.0 | skvaller load -
  skvaller load --as registry.lan/team/app:1.0 layout/
"""


def logs_in(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flag of those that change something on an agent of another machine."""
    return click.option(
        "--key-file",
        type=click.Path(path_type=Path),
        envvar="SKVALLER_KEY_FILE",
        help="Log in with a key of this file. An agent of another machine wants that.  [env: SKVALLER_KEY_FILE]",
    )(command)


@click.command(epilog=_EXAMPLES)
@click.argument("archive", metavar="FILE|FOLDER|-")
@click.option("--as", "name", metavar="NAME[:TAG]", help="What the only image of the archive is to be called.")
@logs_in
@pulls_from_agent
def load(archive: str, name: str | None, key_file: Path | None, url: str, as_json: bool) -> None:
    """Put the images of an archive into the cluster, for all nodes to pull.

    FILE, or what comes in a pipe, is what docker, ctr, podman, skopeo or buildx save: an OCI layout, or an archive of
    docker, as a tar file, plain or compressed with gzip or zstd. FOLDER is one that is unpacked. Each digest is
    checked. Tags are this cluster's from then on, and win over those of the registry. If it breaks off, start it again:
    what has arrived is passed over.
    """
    from ..archives.loading import Loader
    from ..archives.progress import shown

    wanted = None if name is None else _wanted(name)
    settings = ArchiveSettings()
    registry = registry_of(url, "load", key_file, settings)
    try:
        with shown("load", settings.line_s) as progress:
            loaded = Loader(registry, settings, progress).load(archive, wanted)
    except ArchiveError as error:  # it may quote names that stand in the archive
        what = "standard input" if archive == "-" else archive
        raise click.ClickException(f"{what}: {printable(str(error))}") from None
    except AgentError as error:
        raise failed(error) from None
    finally:
        registry.close()
    if as_json:
        show_json({"images": [dataclasses.asdict(image) for image in loaded]})
        return
    for image in loaded:
        new = f"{image.sent} of {count_text(image.blobs, 'blob')} were new, {size_text(image.sent_bytes)}"
        for called in image.names:
            click.echo(f"{called} is {image.digest}")
        click.echo(f"  {new}")
        if image.left_out:
            click.echo(f"  the archive does not have {printable(', '.join(image.left_out))}")


def registry_of(url: str, command: str, key_file: Path | None, settings: ArchiveSettings) -> "Distribution":
    """The agent that a command speaks to, as a registry. On another machine it wants a password, made with the key."""
    from ..archives.distribution import Distribution

    if key_file is None or is_on_this_machine(url):
        return Distribution(url, command, None, settings)
    from ..routers.swim import load_keys
    from ..sources.peers.auth import PeerAuth

    return Distribution(url, command, PeerAuth(load_keys(key_file)).password(settings.password_s), settings)


def failed(error: AgentError) -> click.ClickException:
    """What a command says where the agent did not do what it should."""
    if error.status is None:
        return NoAgent(f"no agent answers at {error}: start one with `skvaller agent`, or name it with --agent")
    return Refused(str(error))


def _wanted(name: str) -> Repository | Reference:
    """The name that somebody wants for an image, with its tag if it has one."""
    try:
        has_tag = ":" in name.rpartition("/")[2]
        return Reference.parse(name) if has_tag else Repository.parse(name)
    except NameInvalid as error:
        raise click.BadParameter(str(error), param_hint="--as") from None
