"""`skvaller save`: images from the cluster into an archive."""

from contextlib import suppress
from pathlib import Path

import click

from ..errors import AgentError, ArchiveError, DigestInvalid, NameInvalid
from ..oci.digest import Digest
from ..oci.reference import Reference, Repository, parse_image
from ..settings import ArchiveSettings
from .known_names import image_names
from .load import failed, logs_in, registry_of
from .running_agent import printable, pulls_from_agent, show_json

_EXAMPLES = """\b
Examples:
  skvaller save nginx:1.27 ghcr.io/org/app:2.0 -o images.tar
  skvaller save --platform linux/arm64 nginx:1.27 -o - | zstd > nginx.tar.zst
"""


@click.command(epilog=_EXAMPLES)
@click.argument("names", metavar="REF...", nargs=-1, required=True, shell_complete=image_names)
@click.option("-o", "--output", required=True, metavar="FILE|-", help="The archive; - is standard output.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Only this platform of images for several.")
@logs_in
@pulls_from_agent
def save(
    names: tuple[str, ...], output: str, platform: str | None, key_file: Path | None, url: str, as_json: bool
) -> None:
    """Write images of the cluster into one archive, whichever nodes hold them.

    REF is an image name with a tag or digest. The archive is an OCI layout in a tar file, which docker, ctr, podman,
    skopeo and `skvaller load` read. The same images are the same bytes, wherever and whenever they are saved. FILE gets
    its name when it is whole and each digest is checked; until then it is FILE.partial, with which a save that broke
    off goes on.
    """
    from ..archives.naming import shown_name
    from ..archives.progress import shown
    from ..archives.saving import Saver
    from ..archives.trees import Trees
    from ..archives.written import target
    from ..oci.platforms import parse_platform

    settings = ArchiveSettings()
    to_stderr = output == "-"
    shown_output = "standard output" if to_stderr else output
    try:
        wanted = [_image(name) for name in dict.fromkeys(names)]
        only = None if platform is None else parse_platform(platform)
    except (NameInvalid, DigestInvalid, ValueError) as error:
        raise click.BadParameter(str(error)) from None
    registry = registry_of(url, "save", key_file, settings)
    try:
        grower = Trees(registry, only, settings)
        trees = [grower.grow(name) for name in dict.fromkeys(wanted)]
        with target(output) as out, shown("save", settings.line_s) as progress:
            written = Saver(registry, settings, progress).save(trees, out)
    except ArchiveError as error:
        raise click.ClickException(f"{shown_output}: {error}") from None
    except AgentError as error:
        raise failed(error) from None
    finally:
        registry.close()
    rows = [
        {"name": shown_name(tree.name), "digest": str(tree.root.digest), "left_out": tree.left_out} for tree in trees
    ]
    if as_json and not to_stderr:
        show_json({"images": rows, "bytes": written})
        return
    for row in rows:
        click.echo(f"{row['name']} is {row['digest']}", err=to_stderr)
        if row["left_out"]:
            click.echo(f"  without {printable(', '.join(row['left_out']))}", err=to_stderr)
    click.echo(f"{written:,} bytes in {shown_output}", err=to_stderr)


def _image(name: str) -> tuple[Repository, Digest] | Reference:
    """The image that a person means; raise NameInvalid if a digest has no name: in an archive it needs one."""
    with suppress(DigestInvalid):
        Digest.parse(name)
        raise NameInvalid(f"{name} is a digest alone; give the name with it, as in nginx@{name}")
    return parse_image(name)
