"""Who may ask an agent about keys and change them; what is done then is the gossip's, and tested there."""

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from mirror.app import KeysEndpoint
from mirror.app.keys import Outcome
from mirror.app.signing import Orders
from mirror.sources.peers.auth import PeerAuth, Request

KEY, NEW = bytes(range(32)), bytes(range(32, 64))


class Refusal(Exception):
    """What the ring says no with."""


@dataclass(frozen=True)
class Ring:
    ids: tuple[bytes, ...]
    problem: str = ""


class Rings:
    """Keyrings of a cluster of one, which write down what they were told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bytes]] = []
        self.refusal = ""

    async def list(self) -> Mapping[str, Outcome]:
        if self.refusal:
            raise Refusal(self.refusal)
        return {"me": Ring((b"1234",))}

    async def install(self, key: bytes) -> Mapping[str, Outcome]:
        self.told.append(("install", key))
        return await self.list()

    async def use(self, identity: bytes) -> Mapping[str, Outcome]:
        self.told.append(("use", identity))
        return await self.list()

    async def remove(self, identity: bytes) -> Mapping[str, Outcome]:
        self.told.append(("remove", identity))
        return await self.list()


def ask(
    rings: Rings,
    method: str,
    path: str,
    body: bytes = b"",
    *,
    key: bytes | None = None,
    client: str | None = "127.0.0.1",
    server: tuple[str, int | None] = ("127.0.0.1", 5000),
    file: Path = Path("/keys"),
) -> tuple[int, Any]:
    """RangeRequest an endpoint from some address, signed with some key. Returns the status and the answer."""
    endpoint = KeysEndpoint(rings, Orders(PeerAuth([KEY], "me")), file, lambda key: key[:4], (Refusal,))
    headers = PeerAuth([key] if key else []).ask("me", Request(method, path, (), body)).headers
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": (client, 9) if client else None, "server": server,
    }  # fmt: skip
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Starlette(routes=endpoint.routes())(scope, receive, send))
    return sent[0]["status"], json.loads(sent[1]["body"])


@pytest.mark.parametrize("client", ["127.0.0.1", "127.3.2.1", "::1", "::ffff:127.0.0.1"])
def test_who_is_on_this_machine_sees_ids_and_with_a_key_changes_them(client: str) -> None:
    rings = Rings()
    assert ask(rings, "GET", "/api/v1/keys", client=client) == (
        200,
        {"name": "me", "key_file": "/keys", "members": [{"member": "me", "keys": ["31323334"], "problem": ""}]},
    )
    status, answer = ask(rings, "POST", "/api/v1/keys/use", b'{"id": "31323334"}', key=KEY, client=client)
    assert (status, answer["key"], rings.told) == (200, "31323334", [("use", b"1234")])


def test_who_comes_over_a_unix_socket_is_on_this_machine() -> None:
    over_unix: dict[str, Any] = {"client": None, "server": ("/run/skvaller.sock", None)}
    assert ask(Rings(), "GET", "/api/v1/keys", **over_unix)[0] == 200
    assert ask(Rings(), "POST", "/api/v1/keys/install", b"{}", **over_unix)[0] == 401, "an order is signed all the same"
    assert ask(Rings(), "GET", "/api/v1/keys", client=None)[0] == 403, "a TCP connection that is gone has no address"


@pytest.mark.parametrize("client", ["10.0.0.1", "::ffff:10.0.0.1", "fe80::1"])
def test_who_is_elsewhere_is_not_answered_even_with_a_key(client: str) -> None:
    rings = Rings()
    assert ask(rings, "GET", "/api/v1/keys", client=client)[0] == 403
    assert ask(rings, "POST", "/api/v1/keys/install", b"{}", key=KEY, client=client)[0] == 403
    assert rings.told == []


@pytest.mark.parametrize("key", [None, NEW])
def test_who_has_no_key_of_the_cluster_changes_none(key: bytes | None) -> None:
    rings = Rings()
    assert ask(rings, "POST", "/api/v1/keys/install", b"{}", key=key)[0] == 401
    assert rings.told == []


def test_no_key_is_made_that_would_be_lost(tmp_path: Path) -> None:
    rings, file = Rings(), tmp_path / "none" / "keys"
    status, answer = ask(rings, "POST", "/api/v1/keys/install", b"{}", key=KEY, file=file)
    assert (status, rings.told) == (409, [])
    assert str(file) in answer["error"]
    sealed = PeerAuth([KEY]).seal("me", NEW)
    given = json.dumps({"key": base64.b64encode(sealed).decode()}).encode()
    assert ask(rings, "POST", "/api/v1/keys/install", given, key=KEY, file=file)[0] == 200
    assert rings.told == [("install", NEW)]


@pytest.mark.parametrize(
    "key",
    [NEW, b"", PeerAuth([NEW]).seal("me", NEW), PeerAuth([KEY]).seal("another", NEW), PeerAuth([KEY]).seal("me", b"1")],
    ids=["not at all", "nothing", "by another key", "for another node", "no key"],  # those of the bytes would be random
)
def test_a_key_that_is_given_must_be_sealed_for_this_node(key: bytes) -> None:
    rings = Rings()
    given = json.dumps({"key": base64.b64encode(key).decode()}).encode()
    status, answer = ask(rings, "POST", "/api/v1/keys/install", given, key=KEY)
    assert (status, rings.told) == (400, [])
    assert "sealed" in answer["error"]


def test_a_new_key_is_made_here_and_never_shown(tmp_path: Path) -> None:
    rings, file = Rings(), tmp_path / "keys"
    status, answer = ask(rings, "POST", "/api/v1/keys/install", b"{}", key=KEY, file=file)
    ((step, made),) = rings.told
    assert (status, step, len(made), answer["key"]) == (200, "install", 32, made[:4].hex())
    assert made.hex() not in json.dumps(answer)
    ask(rings, "POST", "/api/v1/keys/install", b"{}", key=KEY, file=file)
    assert rings.told[1][1] != made


def test_where_keys_cannot_be_sent_none_is_installed(tmp_path: Path) -> None:
    rings, file = Rings(), tmp_path / "keys"
    rings.refusal = "nothing is sealed here"
    answer = ask(rings, "POST", "/api/v1/keys/install", b"{}", key=KEY, file=file)
    assert answer == (409, {"error": "nothing is sealed here"})
    assert rings.told == []
