"""Nodes that want the same at the same moment: one download for all of them, shared while it arrives."""

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path

import aiohttp
import pytest

from mirror.app.progress import pulls_in_progress
from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.manifest import OCI_MANIFEST
from mirror.oci.ranges import RangeSet
from mirror.sources.peers.protocol import ORIGIN_HEADER, ROLE_HEADER
from tests.loopback.nodes import Cluster, Node, cluster, pieces_of
from tests.loopback.servers import LARGE, MIB, SMALL, run

MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {}, "layers": []}).encode()
HALF = MIB // 2


def came_once(it: Cluster, content: Content, body: bytes) -> None:
    """Every byte came from upstream once, to one node."""
    assert it.origin.bytes_of(content) == len(body)
    covered = RangeSet()
    for start, stop in it.origin.ranges_of(content):
        assert not covered.covers(start, start + 1)
        covered.add(start, len(body) if stop is None else stop)
    assert sum(node.record(content).sources.get("upstream", 0) for node in it.nodes) == len(body)


@pytest.mark.parametrize("body", [LARGE, SMALL, b"x"], ids=["many pieces", "one piece", "one byte"])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_nodes_that_pull_at_once_download_once(tmp_path: Path, count: int, body: bytes) -> None:
    async def story() -> None:
        async with cluster(tmp_path, count) as it:
            content = it.origin.has(body)
            await it.pull(content)
            came_once(it, content, body)

    run(story())


def test_each_piece_is_brought_by_its_home(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 4) as it:
            content = it.origin.has(LARGE)
            await it.pull(content)
            ring = [node.name for node in it.ring(content)]
            pieces = pieces_of(LARGE, 4)
            _, unit = pieces[0]
            asked = {(request.start // unit, it.origin.asker(request)) for request in it.origin.asked_for(content)}
            assert asked == {(piece, ring[piece % 4]) for piece in range(len(pieces))}

    run(story())


def test_a_blob_without_a_byte_comes_too(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 3) as it:
            content = it.origin.has(b"")
            it.origin.behave = lambda request, answer: [
                b"HTTP/1.1 416 No\r\nContent-Range: bytes */0\r\nContent-Length: 0\r\n\r\n"
            ]
            assert [await node.pull(content) for node in it.nodes] == [b""] * 3

    run(story())


def test_a_manifest_is_asked_for_once_by_the_whole_cluster(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 4) as it:
            content = it.origin.has(MANIFEST, "manifests")
            answers = await asyncio.gather(*(node.get(content) for node in it.nodes for _ in range(2)))
            assert {(answer.status, answer.body) for answer in answers} == {(200, MANIFEST)}
            assert {answer.headers["Content-Type"] for answer in answers} == {OCI_MANIFEST}
            assert [request.method for request in it.origin.requests] == ["GET"]

    run(story())


def test_what_upstream_does_not_have_costs_it_two_questions_a_node_at_most(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 3) as it:
            absent = Content(it.origin.has(SMALL).repository, "blobs", Digest.of(b"nobody has this"))
            answers = await asyncio.gather(*(node.get(absent) for node in it.nodes))
            assert {answer.status for answer in answers} == {404}
            assert len(it.origin.requests) <= 2 * 3  # one as a home, one for itself

    run(story())


async def streaming(it: Cluster, node: Node, content: Content, start: int) -> aiohttp.ClientResponse:
    url = f"http://127.0.0.1:{node.client_port}/v2/{content.path}"
    return await it.http.get(url, headers={"Range": f"bytes={start}-"})


async def come(nodes: Iterable[Node], content: Content, start: int, stop: int) -> None:
    """Wait until nodes have got some bytes, whether their clients may have them already or not."""
    for node in nodes:
        while not node.fetching.fetches.has(content, start, stop):
            await asyncio.sleep(0.01)


def test_a_home_sends_on_what_has_come_of_a_piece_while_upstream_holds_the_rest_back(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 4) as it:
            content = it.origin.has(LARGE)
            ring = it.ring(content)
            start, _ = pieces_of(LARGE, 4)[2]
            gate = it.origin.gates[start + HALF] = asyncio.Event()  # within the piece of which ring[2] is the home
            askers = [ring[0], ring[1], ring[3]]
            answers = [await streaming(it, node, content, start) for node in askers]
            await come(askers, content, start, start + HALF // 2)
            assert not gate.is_set()
            ((asker,), (home,)) = (
                pulls_in_progress(node.fetching.fetches.progress(), node.backend.pulls.now(), 5.0)
                for node in (ring[0], ring[2])
            )
            assert (asker["for"], asker["clients"], home["for"]) == ("clients", ["127.0.0.1"], "members")
            assert asker["sources"][ring[2].name] >= HALF // 2
            assert set(home["sources"]) == {"upstream"}
            assert asker["bytes"] == sum(asker["sources"].values()) < asker["of_bytes"] == len(LARGE)
            gate.set()
            assert [await answer.read() for answer in answers] == [LARGE[start:]] * 3
            piece = [request for request in it.origin.asked_for(content) if request.start == start]
            assert [it.origin.asker(request) for request in piece] == [ring[2].name]

    run(story())


def test_a_home_says_whose_word_it_passes_on(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 3) as it:
            content = it.origin.has(LARGE)
            as_home = {ROLE_HEADER: "home", "Range": f"bytes={MIB}-{2 * MIB - 1}"}
            asked = await it.nodes[0].ask(f"/v2/{content.path}", peer=True, headers=as_home)
            assert (asked.status, asked.body) == (206, LARGE[MIB : 2 * MIB])
            assert asked.headers[ORIGIN_HEADER] == "upstream"
            assert it.origin.ranges_of(content) == [(MIB, 2 * MIB)]

            await it.give(it.nodes[1], LARGE)
            asked = await it.nodes[2].ask(f"/v2/{content.path}", peer=True, headers=as_home)
            assert (asked.body, asked.headers[ORIGIN_HEADER]) == (LARGE[MIB : 2 * MIB], "n1")
            asked = await it.nodes[1].ask(f"/v2/{content.path}", peer=True, headers=as_home)
            assert (asked.body, asked.headers.get(ORIGIN_HEADER)) == (LARGE[MIB : 2 * MIB], None)

    run(story())


def test_a_member_that_is_not_asked_as_a_home_gives_what_it_holds_and_brings_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 2) as it:
            content = it.origin.has(LARGE)
            for said in ({}, {ROLE_HEADER: "holder-for-home"}):
                answer = await it.nodes[0].ask(f"/v2/{content.path}", peer=True, headers=said)
                assert answer.status == 404
            assert it.origin.requests == []

    run(story())


def test_who_declines_to_be_a_home_is_asked_for_nothing_and_gets_everything(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 4) as it:
            content = it.origin.has(LARGE)
            slow = it.ring(content)[1]
            slow.router.set_serving(False)
            await it.pull(content)
            came_once(it, content, LARGE)
            assert slow.served() == 0
            assert "upstream" not in slow.record(content).sources

    run(story())


def test_who_comes_while_the_others_pull_takes_part(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 3) as it:
            content = it.origin.has(LARGE)
            gate = it.origin.gates[9 * MIB + 7] = asyncio.Event()
            first = [await streaming(it, node, content, 0) for node in it.nodes]
            await come(it.nodes, content, 0, 9 * MIB)  # what comes from now on may come twice
            late = await it.join()
            answer = await streaming(it, late, content, 0)
            await come([late], content, 0, 4 * MIB)
            gate.set()
            for streamed in [*first, answer]:
                assert await streamed.read() == LARGE
            assert it.origin.bytes_of(content) <= len(LARGE) + 4 * MIB  # for the two rings differ

    run(story())


def test_several_clients_of_a_node_and_several_blobs_at_once_cost_nothing_more(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 3) as it:
            bodies = [LARGE, LARGE[::-1], LARGE[5:]]
            contents = [it.origin.has(body) for body in bodies]
            await asyncio.gather(*(it.pull(content) for content in contents for _ in range(2)))
            for content, body in zip(contents, bodies, strict=True):
                came_once(it, content, body)

    run(story())


def test_parallel_ranges_without_an_end_of_which_only_a_part_is_read_cost_one_download(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 3) as it:
            content = it.origin.has(LARGE)
            chunk = 4 * MIB

            async def read(node: Node, number: int) -> bytes:
                """As containerd does: ask for all that follows, take a chunk, and close."""
                answer = await streaming(it, node, content, number * chunk)
                assert answer.status == 206
                assert answer.headers["Content-Range"] == f"bytes {number * chunk}-{len(LARGE) - 1}/{len(LARGE)}"
                body = await answer.content.readexactly(min(chunk, len(LARGE) - number * chunk))
                answer.close()
                return body

            async def pull(node: Node) -> bytes:
                return b"".join(await asyncio.gather(*(read(node, number) for number in range(4))))

            bodies = await asyncio.gather(*(pull(node) for node in it.nodes))
            assert {Digest.of(body) for body in bodies} == {content.digest}
            assert it.origin.bytes_of(content) == len(LARGE)

    run(story())


def test_a_client_that_goes_away_takes_nothing_from_the_others(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 3) as it:
            content = it.origin.has(LARGE)
            gate = it.origin.gates[5 * MIB] = asyncio.Event()
            answers = [await streaming(it, node, content, 0) for node in it.nodes]
            await come(it.nodes, content, 0, MIB)
            answers[0].close()
            gate.set()
            for answer in answers[1:]:
                assert await answer.read() == LARGE
            await it.pull(content)  # also the one whose client went
            came_once(it, content, LARGE)

    run(story())


def test_what_one_node_has_got_the_next_one_takes_from_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 3) as it:
            content = it.origin.has(LARGE)
            for node in it.nodes:
                await it.pull(content, [node])
            assert it.origin.bytes_of(content) == len(LARGE)

    run(story())


def test_the_size_alone_is_asked_of_the_home_whose_word_upstream_confirms(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 3) as it:
            content = it.origin.has(LARGE)
            node = it.ring(content)[2]
            answer = await node.get(content, method="HEAD")
            assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(LARGE)))
            assert [(it.origin.asker(asked), asked.method) for asked in it.origin.requests] == [
                (it.ring(content)[0].name, "GET"),
                (node.name, "HEAD"),
            ]

    run(story())
