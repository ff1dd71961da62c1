"""Orders to a running agent: what changes something on its node, or in its cluster."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import ConfigError, PeerError
from .running_agent import NoAgent, ask, asks_agent, exchange, is_on_this_machine, read

if TYPE_CHECKING:
    from ..sources.peers.auth import PeerAuth

_TRIES = 2
"""How often an order is sent: once more if the agent's clock differs."""


def orders_agent(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags of those that order something: `url`, `as_json` and `key_file`."""
    command = click.option(
        "--key-file",
        type=click.Path(path_type=Path),
        envvar="SKVALLER_KEY_FILE",
        help="Sign with a key of this file. An agent of another machine wants that.  [env: SKVALLER_KEY_FILE]",
    )(command)
    return asks_agent(command)


def order(url: str, path: str, what: Mapping[str, Any], key_file: Path | None) -> Any:
    """Order something of an agent, and get its answer.

    Args:
        url: of the agent.
        path: of the order.
        what: becomes its JSON.
        key_file: has the key that signs it, where the agent is on another machine.

    Raises:
        NoAgent: no agent answers there, or what answers does not have the cluster's key.
        Refused: it answers an error.
        ConfigError: it is on another machine, and there is no key.
    """
    body = json.dumps(what).encode()
    if is_on_this_machine(url):
        return read(url, exchange(url, path, body))
    if key_file is None:
        raise ConfigError("key-file: an agent of another machine takes only orders that are signed; give --key-file")
    from ..routers.swim import load_keys
    from ..sources.peers.auth import PeerAuth

    name = ask(url, "/api/v1/members")["node"]
    return signed_order(url, path, body, name, PeerAuth(load_keys(key_file)))


def signed_order(url: str, path: str, body: bytes, name: str, auth: "PeerAuth") -> Any:
    """Send a signed order to the agent of that name, and get its signed answer; raises what `order` does."""
    from ..sources.peers.auth import Request
    from ..sources.peers.protocol import PROOF_HEADER

    for _ in range(_TRIES):
        signed = auth.ask(name, Request("POST", path, (), body))
        answer = exchange(url, path, body, signed.headers)
        if answer.status < 400 or PROOF_HEADER.lower() in answer.headers:
            try:
                signed.check(answer.status, answer.headers.items())
                signed.check_body(answer.headers, answer.body)
            except PeerError as error:
                raise NoAgent(f"{url}: {error}; has another program taken the agent's address?") from None
        if not auth.learns(name, answer.status, answer.headers):
            break
    return read(url, answer)
