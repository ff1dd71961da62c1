"""`skvaller refresh`: ask upstream now what a tag means."""

import json
import urllib.parse

import click

from ..errors import NameInvalid
from ..oci.reference import Reference, parse_image
from .known_names import image_names
from .running_agent import Refused, exchange, printable, pulls_from_agent, show_json


@click.command()
@click.argument("name", metavar="REF", shell_complete=image_names)
@pulls_from_agent
def refresh(name: str, url: str, as_json: bool) -> None:
    """Ask upstream now what a tag means, however fresh the last answer is.

    REF is an image name with a tag, such as nginx:1.27. This node answers with the new meaning from now on; the others
    do when their own answer is fresh no longer.
    Exit status 1 if there is no such tag.
    """
    reference = _tag(name)
    path = f"/v2/{reference.repository.path}/manifests/{reference.tag}?" + urllib.parse.urlencode(
        {"ns": reference.repository.registry}
    )
    answer = exchange(url, path, headers={"Cache-Control": "no-cache"})
    if answer.status != 200:
        raise Refused(f"{reference}: {_why(answer.body, answer.status)}")
    digest, warning = answer.headers.get("docker-content-digest", ""), answer.headers.get("warning")
    if as_json:
        show_json({"reference": str(reference), "digest": digest, "warning": warning})
        return
    click.echo(f"{reference} is {digest}")
    if warning:
        click.echo(f"  upstream did not say so now: {printable(warning)}")


def _tag(name: str) -> Reference:
    """The tag that a person means; raise BadParameter if it is none."""
    try:
        parsed = parse_image(name)
    except NameInvalid as error:
        raise click.BadParameter(str(error)) from None
    if not isinstance(parsed, Reference):
        raise click.BadParameter(f"{name!r} names a digest, which never changes; give a name with a tag")
    return parsed


def _why(body: bytes, status: int) -> str:
    """What an agent says of an error."""
    try:
        return str(json.loads(body)["errors"][0]["message"])
    except (ValueError, KeyError, IndexError, TypeError):
        return f"the agent answered {status}: is it asked at its client endpoint (--listen)?"
