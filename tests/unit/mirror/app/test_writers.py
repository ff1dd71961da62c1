"""Who may write: from this machine, with a password, with a signature."""

import asyncio
import base64
import json
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mirror.app.signing import Orders
from mirror.app.writers import Writers
from mirror.config import Push
from mirror.errors import Denied, LoginRequired, Unsupported
from mirror.sources import COMMAND_HEADER
from mirror.sources.peers.auth import PeerAuth
from mirror.sources.peers.auth import Request as SignedRequest

KEY, OTHER = bytes(range(32)), bytes(range(32, 64))
HERE, ELSEWHERE = "127.0.0.1", "192.0.2.7"


def scope(client: str | None = HERE, headers: dict[str, str] | None = None, port: int | None = 5000) -> dict[str, Any]:
    encoded = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    where = {"client": (client, 9) if client else None, "server": ("x", port)}
    return {
        "type": "http", "method": "POST", "path": "/api/v1/x", "raw_path": b"/api/v1/x", "query_string": b"",
        "headers": encoded, **where,
    }  # fmt: skip


def basic(password: str, user: str = "anybody") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def writers(push: Push = Push.OFF, *keys: bytes) -> Writers:
    return Writers(push, Orders(PeerAuth(keys or [KEY], "me")))


RIGHT = PeerAuth([KEY]).password(3600)


@pytest.mark.parametrize(
    ("push", "client", "headers", "error"),
    [
        (Push.OFF, HERE, {}, Unsupported),
        (Push.OFF, HERE, {COMMAND_HEADER: "load"}, None),
        (Push.OFF, ELSEWHERE, {COMMAND_HEADER: "load"}, Unsupported),
        (Push.OFF, ELSEWHERE, basic(RIGHT), None),
        (Push.OFF, ELSEWHERE, basic("wrong"), LoginRequired),
        (Push.LOCAL, HERE, {}, None),
        (Push.LOCAL, "::1", {}, None),
        (Push.LOCAL, "::ffff:127.0.0.1", {}, None),
        (Push.LOCAL, "::ffff:192.0.2.7", {}, Denied),
        (Push.LOCAL, ELSEWHERE, {}, Denied),
        (Push.KEY, HERE, {}, None),
        (Push.KEY, ELSEWHERE, {}, LoginRequired),
        (Push.KEY, ELSEWHERE, basic(RIGHT), None),
        (Push.KEY, ELSEWHERE, basic(""), LoginRequired),
        (Push.KEY, ELSEWHERE, basic(PeerAuth([OTHER]).password(60)), LoginRequired),
        (Push.KEY, ELSEWHERE, basic(PeerAuth([KEY]).password(-2)), LoginRequired),
        (Push.KEY, ELSEWHERE, basic(RIGHT.replace(".", "9.", 1)), LoginRequired),
        (Push.KEY, ELSEWHERE, {"Authorization": "Bearer " + RIGHT}, LoginRequired),
        (Push.KEY, ELSEWHERE, {"Authorization": "Basic ***"}, LoginRequired),
        (Push.ANY, ELSEWHERE, {}, None),
    ],
)
def test_who_may_push(push: Push, client: str, headers: dict[str, str], error: type[Exception] | None) -> None:
    if error is None:
        writers(push).admit(scope(client, headers))
    else:
        with pytest.raises(error):
            writers(push).admit(scope(client, headers))


def test_a_unix_socket_is_this_machine() -> None:
    writers(Push.LOCAL).admit(scope(None, port=None))


def test_a_password_is_good_with_any_key_of_the_cluster_and_none_without() -> None:
    writers(Push.KEY, OTHER, KEY).admit(scope(ELSEWHERE, basic(RIGHT)))
    with pytest.raises(LoginRequired):
        Writers(Push.KEY, Orders(PeerAuth([]))).admit(scope(ELSEWHERE, basic(RIGHT)))
    with pytest.raises(ValueError, match="there is none"):
        PeerAuth([]).password(60)


@pytest.mark.parametrize(
    ("push", "client", "headers", "asked"),
    [
        (Push.KEY, ELSEWHERE, {}, True),
        (Push.KEY, ELSEWHERE, basic("wrong"), True),
        (Push.KEY, ELSEWHERE, basic(RIGHT), False),
        (Push.KEY, HERE, {}, False),
        (Push.OFF, ELSEWHERE, {}, False),
        (Push.ANY, ELSEWHERE, {}, False),
    ],
)
def test_only_who_has_to_log_in_is_told_so(push: Push, client: str, headers: dict[str, str], asked: bool) -> None:
    if asked:
        with pytest.raises(LoginRequired):
            writers(push).greet(scope(client, headers))
    else:
        writers(push).greet(scope(client, headers))


def order(client: str, body: bytes, headers: dict[str, str] | None = None, it: Writers | None = None) -> Response:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def carry_out(what: dict[str, Any]) -> Response:
        if "wrong" in what:
            raise ValueError("not this")
        return JSONResponse({"done": what})

    return asyncio.run((it or writers()).answer(Request(scope(client, headers), receive), carry_out))


def test_an_order_from_this_machine_is_carried_out() -> None:
    answer = order(HERE, b'{"a": 1}')
    assert (answer.status_code, json.loads(bytes(answer.body))) == (200, {"done": {"a": 1}})
    assert order(HERE, b'{"wrong": 1}').status_code == 400
    assert order(HERE, b"[]").status_code == 400
    assert order(HERE, b" " * 70_000).status_code == 400


def test_an_order_from_elsewhere_is_signed_once_and_so_is_the_answer() -> None:
    assert order(ELSEWHERE, b"{}").status_code == 401
    signed = PeerAuth([KEY]).ask("me", SignedRequest("POST", "/api/v1/x", (), b'{"a": 1}'))
    it, headers = writers(), dict(signed.headers)
    answer = order(ELSEWHERE, b'{"a": 1}', headers, it)
    assert answer.status_code == 200
    signed.check(answer.status_code, answer.headers.items())
    signed.check_body(dict(answer.headers), bytes(answer.body))
    assert order(ELSEWHERE, b'{"a": 1}', headers, it).status_code == 401
    assert order(ELSEWHERE, b'{"a": 2}', headers).status_code == 401
