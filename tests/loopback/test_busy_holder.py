"""A lone holder that several want something of: it serves one for itself, and sends the others to the homes."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mirror.settings import AppSettings
from mirror.sources.peers.protocol import NODE_HEADER, RATE_HEADER, REASON_HEADER, ROLE_HEADER
from tests.loopback.nodes import Node, cluster, pieces_of
from tests.loopback.servers import LARGE, MIB, run


@pytest.mark.parametrize("pullers", [2, 3, 5])
def test_a_lone_holder_sends_a_blob_about_once_to_all_who_pull_at_once(tmp_path: Path, pullers: int) -> None:
    async def story() -> None:
        async with cluster(tmp_path, pullers + 1) as it:
            holder, *others = it.nodes
            content = await it.give(holder, LARGE)
            await it.pull(content, others)
            assert it.origin.bytes_of(content) == 0
            twice = pullers * MIB  # what the first ones got before it was known that others want it too
            assert len(LARGE) <= holder.served() <= len(LARGE) + 2 * twice

    run(story())


def test_one_that_pulls_alone_gets_all_from_the_holder_itself(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 4) as it:
            holder, puller, *_ = it.nodes
            content = await it.give(holder, LARGE)
            await it.pull(content, [puller])
            assert puller.record(content).sources == {holder.name: len(LARGE)}

    run(story())


def test_the_second_asker_is_told_to_ask_the_homes_and_a_home_gets_it_all_the_same(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 1) as it:
            (holder,) = it.nodes
            content = await it.give(holder, LARGE)
            path = f"/v2/{content.path}"

            async def asked_by(name: str, **more: str) -> tuple[int, str | None]:
                headers = {NODE_HEADER: name, "Range": "bytes=0-99", **more}
                answer = await holder.ask(path, peer=True, headers=headers)
                return answer.status, answer.headers.get(REASON_HEADER)

            assert await asked_by("a") == (206, None)
            assert await asked_by("a") == (206, None)
            assert await asked_by("b") == (503, "busy")
            assert await asked_by("b", **{ROLE_HEADER: "holder-for-home"}) == (206, None)
            assert await asked_by("b", **{ROLE_HEADER: "home"}) == (206, None)

    run(story())


def test_who_asks_for_the_head_alone_takes_nobodys_place(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 1) as it:
            (holder,) = it.nodes
            content = await it.give(holder, LARGE)

            async def asked_by(name: str, method: str) -> int:
                headers = {NODE_HEADER: name}
                return (await holder.ask(f"/v2/{content.path}", peer=True, method=method, headers=headers)).status

            asked = [("a", "HEAD"), ("b", "GET"), ("c", "HEAD"), ("b", "GET"), ("c", "GET"), ("c", "HEAD")]
            assert [await asked_by(name, method) for name, method in asked] == [200, 200, 200, 200, 503, 200]

    run(story())


def test_small_blobs_are_given_to_everybody(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 5) as it:
            holder, *others = it.nodes
            content = await it.give(holder, LARGE[: AppSettings().small_blob_bytes])
            await it.pull(content, others)
            got = [asked for asked in it.origin.requests if asked.method == "GET"]
            assert {(asked.start, asked.stop) for asked in got} <= {(0, 1)}, "for its size alone, if at all"
            path = f"/v2/{content.path}"
            for name in ("a", "b"):
                assert (await holder.ask(path, peer=True, headers={NODE_HEADER: name})).status == 200

    run(story())


def test_two_holders_share_the_work(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 5) as it:
            first, second, *others = it.nodes
            content = await it.give(first, LARGE)
            await it.give(second, LARGE)
            await it.pull(content, others)
            assert it.origin.bytes_of(content) == 0
            assert first.served() + second.served() <= len(LARGE) * len(others)
            assert min(first.served(), second.served()) > MIB

    run(story())


def test_a_holder_that_dies_while_many_pull_is_replaced_by_upstream(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 4) as it:
            holder, *others = it.nodes
            content = it.origin.has(LARGE)
            await it.give(holder, LARGE)
            served = asyncio.Event()

            async def serve(node: Node, scope: Any, receive: Any, send: Any) -> None:
                if node is holder and scope["path"].startswith("/v2/library") and not served.is_set():
                    served.set()
                await serve_as_ever(node, scope, receive, send)

            serve_as_ever, it.serve_peer = it.serve_peer, serve
            pulling = asyncio.create_task(it.pull(content, others))
            await served.wait()
            holder.die()
            for node in others:
                node.router.down.add(holder.name)
            await pulling
            assert it.origin.bytes_of(content) <= 2 * len(LARGE)

    run(story())


def test_what_others_find_of_a_nodes_pace_reaches_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 4) as it:
            node = it.nodes[0]
            said = [("n1", "0.1"), ("n2", "0.2"), ("n3", "junk"), ("", "0.1"), ("nobody", "0.1"), ("n0", "0.1")]
            for name, share in said:
                headers = {NODE_HEADER: name, RATE_HEADER: share}
                assert (await node.ask("/v2/", peer=True, headers=headers)).status == 200
            assert set(node.reports.members) == {"n1", "n2"}

    run(story())


def test_no_piece_is_relayed_by_more_than_its_home(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 4) as it:
            holder, *others = it.nodes
            content = await it.give(holder, LARGE)
            await it.pull(content, others)
            for node in others:  # each gets each piece once
                assert sum(node.record(content).sources.values()) == len(LARGE)
            assert len(pieces_of(LARGE, 3)) == 13

    run(story())
