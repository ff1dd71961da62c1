"""A member whose copy has another length, or none, costs nobody a pull that others could serve."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mirror.oci.content import Content
from tests.loopback.nodes import Cluster, Node, Serve, cluster, honestly
from tests.loopback.servers import LARGE, content_of, run

SMALL = LARGE[:70_000]
OTHERS = {"two holders": 2, "one holder": 1, "upstream": 0}
"""Who has it beside the member, and how many of them are members."""

Answer = Callable[[Any, bytes], Awaitable[None]]


async def _send(send: Any, status: int, body: bytes, headers: dict[str, str]) -> None:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


async def nothing(send: Any, body: bytes) -> None:
    await _send(send, 200, b"", {"content-length": "0"})


async def nothing_of_a_range(send: Any, body: bytes) -> None:
    await _send(send, 416, b"", {"content-range": "bytes */0", "content-length": "0"})


async def a_part_as_if_it_were_all(send: Any, body: bytes) -> None:
    part = body[: len(body) // 2]
    headers = {"content-range": f"bytes 0-{len(part) - 1}/{len(part)}", "content-length": str(len(part))}
    await _send(send, 206, part, headers)


async def a_part_of_the_whole(send: Any, body: bytes) -> None:
    part = body[:1000]
    await _send(send, 206, part, {"content-range": f"bytes 0-999/{len(body)}", "content-length": "1000"})


async def too_much(send: Any, body: bytes) -> None:
    await _send(send, 200, body + b"more", {"content-length": str(len(body) + 4)})


async def no_length(send: Any, body: bytes) -> None:
    await _send(send, 200, body[:1000], {})


ANSWERS: list[Answer] = [
    nothing,
    nothing_of_a_range,
    a_part_as_if_it_were_all,
    a_part_of_the_whole,
    too_much,
    no_length,
]


def answering(member: Node, content: Content, body: bytes, answer: Answer) -> Serve:
    """One node answers so whenever it is asked for some content."""

    async def serve(node: Node, scope: Any, receive: Any, send: Any) -> None:
        if node is member and scope["path"].endswith(str(content.digest)):
            await answer(send, body)
        else:
            await honestly(node, scope, receive, send)

    return serve


async def prepared(it: Cluster, body: bytes, others: str, answer: Answer) -> tuple[Node, Content]:
    """A member with a copy of another length, and others that have all of it; gives a node that has nothing."""
    asking, member, *holders = it.nodes
    content = content_of(body)
    member.router.keys.add(content.digest.key)
    for holder in holders[: OTHERS[others]]:
        await it.give(holder, body)
    if "upstream" in others:
        it.origin.has(body)
    it.serve_peer = answering(member, content, body, answer)
    return asking, content


CASES = {
    "large, two holders": (LARGE, "two holders"),
    "small, one holder": (SMALL, "one holder"),
    "small, upstream": (SMALL, "upstream"),
}


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize(("body", "others"), CASES.values(), ids=CASES)
def test_a_pull_that_others_could_serve_succeeds_the_first_time(
    tmp_path: Path, body: bytes, others: str, answer: Answer
) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 4) as it:
            asking, content = await prepared(it, body, others, answer)
            assert await asking.pull(content) == body
            assert asking.held(content)

    run(story())


def test_a_manifest_that_others_could_serve_is_served_the_first_time(tmp_path: Path) -> None:
    body = b'{"schemaVersion":2,"config":{},"layers":[]}'

    async def story() -> None:
        async with cluster(tmp_path, 4) as it:
            asking, content = await prepared(it, body, "one holder", a_part_as_if_it_were_all)
            answer = await asking.ask(f"/v2/{content.repository.path}/manifests/{content.digest}")
            assert (answer.status, answer.body) == (200, body)

    run(story())
