"""Which answers wait for their body, so that it is signed with the head."""

import asyncio
from typing import Any

import pytest

from mirror.app.signing import signing
from mirror.sources.peers.auth import PeerAuth, Proof, Request
from mirror.sources.peers.protocol import AUTH_HEADER, BODY_PROOF_HEADER, PROOF_HEADER

MIB = 1024 * 1024


def a_proof() -> Proof:
    asked = PeerAuth([bytes(32)]).ask("b", Request("GET", "/v2/"))
    request = Request("GET", "/v2/", [(AUTH_HEADER, asked.headers[AUTH_HEADER])])
    return PeerAuth([bytes(32)], "b").prove(request)


def head_alone(status: int, length: int) -> list[Any]:
    """What has left when an answer's head was given, and nothing of its body."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def main() -> None:
        headers = [(b"content-length", b"%d" % length)]
        await signing(send, a_proof())({"type": "http.response.start", "status": status, "headers": headers})

    asyncio.run(main())
    return sent


@pytest.mark.parametrize(("status", "length"), [(206, 1), (206, MIB), (206, 9 * MIB), (200, MIB + 1)])
def test_the_head_of_an_answer_with_bytes_of_a_blob_leaves_at_once(status: int, length: int) -> None:
    (head,) = head_alone(status, length)
    names = [name for name, _ in head["headers"]]
    assert PROOF_HEADER.lower().encode() in names
    assert BODY_PROOF_HEADER.lower().encode() not in names


@pytest.mark.parametrize(("status", "length"), [(200, 0), (200, MIB), (404, 100), (503, 100)])
def test_the_head_of_a_short_answer_waits_for_the_proof_of_its_body(status: int, length: int) -> None:
    assert head_alone(status, length) == []
