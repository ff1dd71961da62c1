"""The command line. Every error is one line that says what to do next; libraries load when a command needs them."""

import base64
import json
import logging
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from .. import __version__
from ..config import SETTINGS, Address, parse_size
from ..errors import ConfigError

_JSON = {"Content-Type": "application/json"}
_ANSWER_S = 90  # to change keys the agent asks members twice, which each may take its time to answer

_EPILOG = """\b
A first cluster of three nodes:
  node1$ skvaller agent --peer 0.0.0.0:5001 --gossip 0.0.0.0:7946
  node2$ skvaller agent --peer 0.0.0.0:5001 --gossip 0.0.0.0:7946 --join node1
  node3$ skvaller agent --peer 0.0.0.0:5001 --gossip 0.0.0.0:7946 --join node1
then let each node's container runtime use http://127.0.0.1:5000 as its mirror.
To see it all on this machine first: skvaller demo
"""


class _OneLine(click.Group):
    """Turns the errors that are somebody's to mend into one line."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            raise click.ClickException(str(error)) from None


@click.group(
    cls=_OneLine, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="skvaller")
def main() -> None:
    """Share container images inside a small cluster.

    One agent per node answers the container runtime as a registry mirror. What any node holds, every node can pull at
    LAN speed; only what none holds comes from upstream.
    """


def _settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command a flag for every setting."""
    for setting in reversed(SETTINGS):
        text = f"{setting.help}  [env: {setting.variable}]"
        shown = setting.default if setting.default and not setting.many else None
        if shown:
            text += f"  [default: {shown}]"
        command = click.option(f"--{setting.name}", metavar=setting.metavar, help=text, multiple=setting.many)(command)
    return command


@main.command()
@_settings
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="SKVALLER_CONFIG",
    help="A TOML file with these settings as keys.  [env: SKVALLER_CONFIG]",
)
def agent(config: Path | None, **flags: Any) -> None:
    """Run this node's agent until SIGTERM.

    A flag wins over its environment variable, that over the TOML file.
    """
    import asyncio
    import os

    import uvloop

    from ..agent import Agent
    from ..config import load

    settings = load({name.replace("_", "-"): value for name, value in flags.items()}, os.environ, config)
    logging.basicConfig(
        stream=sys.stderr,
        level=settings.log_level.upper(),
        format="%(asctime)s level=%(levelname)s logger=%(name)s %(message)s",
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Agent(settings).run())


@main.command()
@click.option("--nodes", default=3, show_default=True, type=click.IntRange(2, 20), help="How many agents.")
@click.option("--size", default="64MiB", show_default=True, help="Size of the image, all layers together.")
def demo(nodes: int, size: str) -> None:
    """Watch a cluster on this machine share an image.

    Starts agents and a small registry on 127.0.0.x and pulls an image through all agents at the same moment; then
    kills one, stops the registry, adds an agent that is new and empty, and pulls again. Shows where every byte came
    from. Exit status 0 only if the registry served each byte once, for all. Leaves nothing behind.
    """
    try:
        size_bytes = parse_size(size)
        if not 2**20 <= size_bytes <= 8 * 2**30:
            raise ValueError("a size from 1MiB to 8GiB")
    except ValueError as error:
        raise ConfigError(f"--size: {size!r} is not allowed; give {error}") from None
    from ..demo import run

    sys.exit(run(nodes, size_bytes))


def _asks_agent(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags of those that ask a running agent."""
    command = click.option("--json", "as_json", is_flag=True, help="Print what the agent answered.")(command)
    return click.option(
        "--agent",
        "url",
        default="http://127.0.0.1:5000",
        show_default=True,
        metavar="URL",
        help="The agent's client endpoint.",
    )(command)


@main.command()
@_asks_agent
def members(url: str, as_json: bool) -> None:
    """Show the members of the cluster, as this node's agent sees them."""
    answer = _ask(url, "/api/v1/members")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    rows = [
        (
            row["name"] + (" (this node)" if row["itself"] else ""),
            row["state"] + (" (flapping)" if row["flapping"] else ""),
            row["peer"],
            str(row["keys"]),
            row["home"],
            "-" if row["rtt_ms"] is None else f"{row['rtt_ms']:.1f} ms",
        )
        for row in answer["members"]
    ]
    _table(("member", "state", "peer endpoint", "keys held", "home", "round trip"), rows)


@main.command()
@click.argument("what", metavar="REF|DIGEST")
@_asks_agent
def find(what: str, url: str, as_json: bool) -> None:
    """Show which members have an image or a digest.

    REF is an image name such as nginx:1.27 or ghcr.io/org/app@sha256:…, DIGEST is sha256:….
    Exit status 1 if nobody has it.
    """
    answer = _ask(url, "/api/v1/find?" + urllib.parse.urlencode({"q": what}))
    holders = [(digest, row) for digest, rows in answer["holders"].items() for row in rows]
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        for row in answer.get("tags", ()):
            click.echo(f"{answer['reference']} is {row['digest']}")
            click.echo(f"  says {row['member']}: from {row['authority']}, {row['age_seconds']:.0f} s ago")
        rows = [
            (row["member"], digest[:19] + "…", f"{row['bytes']:,} bytes" if row["has"] else f"no: {row['reason']}")
            for digest, row in holders
        ]
        _table(("member", "digest", "has it"), rows) if rows else click.echo(f"no member has {what}")
    if not any(row["has"] for _, row in holders):
        sys.exit(1)


@main.group()
def keys() -> None:
    r"""Show and change the cluster's keys, on all its members, while it runs.

    \b
    skvaller keys install          a new key, which opens from now on; its id is printed
    skvaller keys use ID           seal with it
    skvaller keys remove OLD-ID    forget the old one

    Each step names the members that did not take it: repeat it for them before you go on. The agents write the keys
    into their key files. Orders are signed with the node's own key, so give them as somebody who may read its key file.
    """


def _orders_agent(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags of those that change keys."""
    command = click.option(
        "--key-file", type=click.Path(path_type=Path), help="Sign with a key of this file.  [default: the agent's own]"
    )(command)
    return _asks_agent(command)


@keys.command("list")
@_asks_agent
def keys_list(url: str, as_json: bool) -> None:
    """Show which member has which keys, by their ids; the first one seals."""
    _show_keys(_ask(url, "/api/v1/keys"), as_json)


@keys.command("install")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@_orders_agent
def keys_install(file: Path | None, url: str, as_json: bool, key_file: Path | None) -> None:
    """Add a key that opens: the one in FILE, which looks like a key file, or a new one that the agent makes."""
    what = {}
    if file is not None:
        from ..routers.swim import load_keys

        key, *more = load_keys(file)
        if more:
            raise ConfigError(f"{file} has {len(more) + 1} keys; give a file with the one to install")
        what["key"] = base64.b64encode(key).decode()
    _show_keys(_order(url, "install", what, key_file), as_json)


@keys.command("use")
@click.argument("identity", metavar="ID")
@_orders_agent
def keys_use(identity: str, url: str, as_json: bool, key_file: Path | None) -> None:
    """Seal with the installed key of that id."""
    _show_keys(_order(url, "use", {"id": identity}, key_file), as_json)


@keys.command("remove")
@click.argument("identity", metavar="ID")
@_orders_agent
def keys_remove(identity: str, url: str, as_json: bool, key_file: Path | None) -> None:
    """Drop the key of that id, which no member may seal with any more."""
    _show_keys(_order(url, "remove", {"id": identity}, key_file), as_json)


def _order(url: str, step: str, what: dict[str, str], key_file: Path | None) -> Any:
    """Have an agent on this machine change the keys, and show it that one may."""
    from ..routers.swim import load_keys
    from ..sources.peers.auth import PeerAuth

    own = _ask(url, "/api/v1/keys")["key_file"]
    if not Address(urllib.parse.urlsplit(url).hostname or "", 0).loopback:
        raise ConfigError(f"--agent: {url!r} is not allowed; keys are changed on the node itself: give a loopback URL")
    if own is None:
        raise ConfigError("this node has no cluster key: give every node the same one with --key-file first")
    path, body = f"/api/v1/keys/{step}", json.dumps(what).encode()
    signed = PeerAuth(load_keys(key_file or Path(own))).sign("POST", path, body)
    return _ask(url, path, body, signed)


def _show_keys(answer: Any, as_json: bool) -> None:
    """Print the keyrings; exit status 1 if a member did not take the step."""
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        if "key" in answer:
            click.echo(f"key {answer['key']}")
        rows = [(row["member"], " ".join(row["keys"]) or "-", row["problem"] or "-") for row in answer["members"]]
        _table(("member", "keys, the one that seals first", "problem"), rows)
    if any(row["problem"] for row in answer["members"]):
        sys.exit(1)


def _ask(url: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Any:
    """Get JSON from an agent's status endpoint, or post some to it and get an answer."""
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"--agent: {url!r} is not allowed; give a URL such as http://127.0.0.1:5000")
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # an agent is not behind the site's proxy
    try:
        request = urllib.request.Request(url.rstrip("/") + path, body, {**_JSON, **(headers or {})})
        with direct.open(request, timeout=_ANSWER_S) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            text = error.read(65536).decode(errors="replace")
        try:
            text = json.loads(text)["error"]
        except (ValueError, KeyError, TypeError):
            text = f"{error.code} {error.reason}"
        raise ConfigError(f"{url}: {text}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise ConfigError(
            f"no agent answers at {url} ({reason}): start one with `skvaller agent`, or name it with --agent"
        ) from None


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*head, box=None, header_style="bold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
