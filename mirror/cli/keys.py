"""`skvaller keys`: the cluster's keys, shown and changed while the cluster runs."""

import base64
import contextlib
import json
import os
import pwd
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..errors import ConfigError
from .orders import signed_order
from .running_agent import ask, asks_agent, is_on_this_machine, show_json, show_table

_PEOPLE = 1000
"""From this id on users are people, below it the system's own. Source: login.defs(5), SYS_UID_MAX."""
_STEPS = """\b
The steps:
  skvaller keys install          a new key, which opens from now on; its id is printed
  skvaller keys use ID           seal with it
  skvaller keys remove OLD-ID    forget the old one
"""


@click.group(epilog=_STEPS)
def keys() -> None:
    """Show and change the cluster's keys, on all its members, while it runs.

    Each step names the members that did not take it: repeat it for them before you go on. The agents write the keys
    into their key files. Orders are signed with the node's own key, so run this as a user who may read its key file.
    """


def _orders_agent(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags of those that change keys."""
    command = click.option(
        "--key-file", type=click.Path(path_type=Path), help="Sign with a key of this file.  [default: the agent's own]"
    )(command)
    return asks_agent(command)


@keys.command("list")
@asks_agent
def keys_list(url: str, as_json: bool) -> None:
    """Show which member has which keys, by their ids; the first one seals."""
    _show(ask(url, "/api/v1/keys"), as_json)


@keys.command("install")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@_orders_agent
def keys_install(file: Path | None, url: str, as_json: bool, key_file: Path | None) -> None:
    """Add a key that opens: the one in FILE, which looks like a key file, or a new one that the agent makes."""
    secret = None
    if file is not None:
        from ..routers.swim import load_keys

        secret, *more = load_keys(file)
        if more:
            raise ConfigError(f"{file} has {len(more) + 1} keys; give a file with the one to install")
    _show(_order(url, "install", {}, key_file, secret), as_json)


@keys.command("use")
@click.argument("identity", metavar="ID")
@_orders_agent
def keys_use(identity: str, url: str, as_json: bool, key_file: Path | None) -> None:
    """Seal with the installed key of that id."""
    _show(_order(url, "use", {"id": identity}, key_file), as_json)


@keys.command("remove")
@click.argument("identity", metavar="ID")
@_orders_agent
def keys_remove(identity: str, url: str, as_json: bool, key_file: Path | None) -> None:
    """Remove the key of that id; a member that still seals with it refuses."""
    _show(_order(url, "remove", {"id": identity}, key_file), as_json)


def _order(url: str, step: str, order: dict[str, str], key_file: Path | None, secret: bytes | None = None) -> Any:
    """Have an agent on this machine take a step with all members. Order and answer are signed with its key.

    What answers may be another program that has taken the agent's address. So it gets no secret that it could read
    without the cluster's key, and does not choose the key either.
    """
    from ..routers.swim import load_keys
    from ..sources.peers.auth import PeerAuth

    shown = ask(url, "/api/v1/keys")
    own, name = shown["key_file"], shown["name"]
    if not is_on_this_machine(url):
        raise ConfigError(f"--agent: {url!r} is not allowed; keys are changed on the node itself: give a loopback URL")
    if own is None:
        raise ConfigError("this node has no cluster key: give every node the same one with --key-file first")
    auth = PeerAuth(load_keys(key_file or _trusted(Path(own))))
    if secret is not None:
        order = {**order, "key": base64.b64encode(auth.seal(name, secret)).decode()}
    path, body = f"/api/v1/keys/{step}", json.dumps(order).encode()
    return signed_order(url, path, body, name, auth)


def _trusted(key_file: Path) -> Path:
    """A key file that an agent names, if neither it nor its folder belongs to anybody but root, you and the agent."""
    try:
        owners = owners_of(key_file)
    except OSError as error:
        raise ConfigError(f"key-file: cannot read {key_file}, which the agent names: {error.strerror}") from None
    if not owners <= {0, os.geteuid(), *_agents_user()}:
        raise ConfigError(f"key-file: {key_file}, which the agent names, is another user's; name it with --key-file")
    return key_file


def _agents_user() -> set[int]:
    """The system user that `skvaller install` makes for the agent, if it is there."""
    from ..installation.places import USER

    with contextlib.suppress(KeyError):
        user = pwd.getpwnam(USER)
        return {user.pw_uid} if user.pw_uid < _PEOPLE else set()
    return set()


def owners_of(file: Path) -> set[int]:
    """Whose a file and its folder are, by user id."""
    return {place.stat().st_uid for place in (file, file.resolve().parent)}


def _show(answer: Any, as_json: bool) -> None:
    """Print the keyrings; exit status 1 if a member did not take the step."""
    if as_json:
        show_json(answer)
    else:
        if "key" in answer:
            click.echo(f"key {answer['key']}")
        rows = [(row["member"], " ".join(row["keys"]) or "-", row["problem"] or "-") for row in answer["members"]]
        show_table(("member", "keys, the one that seals first", "problem"), rows)
    if any(row["problem"] for row in answer["members"]):
        sys.exit(1)
