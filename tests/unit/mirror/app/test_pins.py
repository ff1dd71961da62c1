"""Orders about pins, and questions that anybody may ask."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

from starlette.requests import Request

from mirror.app.pins import PinsEndpoint
from mirror.app.signing import Orders
from mirror.app.writers import Writers
from mirror.config import Push
from mirror.settings import PinSettings
from mirror.sources.peers.auth import PeerAuth


def request(client: str, query: bytes = b"") -> Request:
    async def receive() -> Any:
        return {"type": "http.request", "body": json.dumps({"images": ["nginx:1"]}).encode()}

    scope = {
        "type": "http", "method": "POST", "path": "/api/v1/verify", "query_string": query, "headers": [],
        "client": (client, 9), "server": ("192.0.2.1", 5000),
    }  # fmt: skip
    return Request(scope, receive)


def test_who_may_only_ask_takes_no_place_from_who_may_order() -> None:
    async def look(wanted: Any) -> Any:
        await asyncio.Event().wait()

    async def story() -> None:
        book = SimpleNamespace(pins=list)
        stack: Any = SimpleNamespace(
            pins=SimpleNamespace(book=book, platform="linux/amd64"),
            settled=SimpleNamespace(everyone=["me"]),
            verifier=SimpleNamespace(look=look),
        )
        endpoint = PinsEndpoint("me", stack, Writers(Push.OFF, Orders(PeerAuth([], "me"))), PinSettings())
        asked = [(await endpoint.verify(request("192.0.2.7"))).status_code for _ in range(10)]
        ordered = await endpoint.verify(request("127.0.0.1", b"deep=1"))
        stranger = await endpoint.verify(request("192.0.2.7", b"deep=1"))
        assert (asked[0], asked[-1], ordered.status_code, stranger.status_code) == (200, 400, 200, 401)
        job = json.loads(bytes(ordered.body))["job"]
        known = await endpoint.job(Request({**request("127.0.0.1").scope, "path_params": {"job": job}}))
        assert known.status_code == 200
        await endpoint.close()

    asyncio.run(story())
