"""Registries that do not answer: what nobody has is refused soon, what anybody has is served, their return is seen."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference
from mirror.settings import OutageSettings
from mirror.stores import Tag
from tests.loopback.lab import STEADY
from tests.loopback.nodes import Cluster, Node, cluster
from tests.loopback.servers import LARGE, MIB, SMALL, content_of, run
from tests.loopback.test_tags import NAME, TAG, manifest

OUTAGES = OutageSettings(silent_s=0.2, sign_of_life_s=0.4, probe_s=0.2, grace_s=0.005, flap_s=0.0)
SETTINGS = replace(
    STEADY,
    outages=OUTAGES,
    images=replace(STEADY.images, tag_fresh_s=0.0, tag_known_s=0.3, tag_check_s=5.0),
)
SETTLING = replace(SETTINGS, plan=replace(STEADY.plan, settle_s=600.0, again_s=0.05))
"""Members have all the time that they need to see that the registry is back."""
MANY = 80
"""So many requests would take longer than a test may, if each found out for itself that the registry is out."""


@contextlib.contextmanager
def black_hole() -> Iterator[socket.socket]:
    """An address from which nothing ever comes: its queue is full, so the kernel drops what asks for a connection."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("0.0.0.0", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(("127.0.0.1", listener.getsockname()[1]))
        yield listener


@contextlib.asynccontextmanager
async def silence() -> AsyncIterator[int]:
    """The port of a server that takes every connection and says nothing."""
    ends = asyncio.Event()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ends.wait()
        writer.close()

    async with await asyncio.start_server(connection, "0.0.0.0", 0) as server:
        yield server.sockets[0].getsockname()[1]
        ends.set()


@contextlib.asynccontextmanager
async def without_upstream(folder: Path, count: int, kind: str) -> AsyncIterator[Cluster]:
    """A cluster whose upstream does not answer, in one of two ways."""
    async with contextlib.AsyncExitStack() as stack:
        if kind == "black hole":
            port = stack.enter_context(black_hole()).getsockname()[1]
        else:
            port = await stack.enter_async_context(silence())
        it = await stack.enter_async_context(cluster(folder, 0, settings=SETTINGS))
        it.origin.port = port
        for _ in range(count):
            await it.join()
        yield it


def known(digest: Digest) -> Tag:
    """What upstream said of a tag a while ago."""
    return Tag(digest, time.time() - 3600, "upstream")


async def refused(node: Node, path: str) -> None:
    answer = await node.ask(path)
    assert answer.status == 503, answer.body
    assert int(answer.headers["Retry-After"]) > 0


async def nobody_asks(it: Cluster, content: Content) -> None:
    """Wait until all nodes know of each other that none of them reaches the registry, and so ask for nothing more.

    For a moment each asks the next home for what one home has refused. If the registry came back in that moment, both
    homes would fetch it.
    """
    before, looks = -1, 0
    while looks < 10:
        ended = sum(asked.times for node in it.nodes for asked in node.record(content).asked.values())
        is_still = ended == before and not any(node.server.server_state.tasks for node in it.nodes)
        before, looks = ended, looks + 1 if is_still else 0
        await asyncio.sleep(0.01)


def blob(number: int) -> str:
    return f"/v2/{content_of(b'nobody has it %d' % number).path}"


@pytest.mark.parametrize("kind", ["black hole", "silence"])
@pytest.mark.parametrize("count", [1, 3])
def test_what_nobody_has_is_refused_and_to_find_that_out_is_paid_for_once(
    tmp_path: Path, count: int, kind: str
) -> None:
    async def story() -> None:
        async with without_upstream(tmp_path, count, kind) as it:
            for node in it.nodes[:2]:
                await asyncio.gather(refused(node, blob(0)), refused(node, "/v2/library/x/manifests/none"))
            for number in range(MANY // 2):
                await refused(it.nodes[0], blob(number))
                await refused(it.nodes[0], f"/v2/library/x/manifests/none{number}")

    run(story())


def test_what_one_node_finds_out_all_know_without_a_request_of_theirs(tmp_path: Path) -> None:
    async def story() -> None:
        async with without_upstream(tmp_path, 5, "black hole") as it:
            first, *others = it.nodes
            await refused(first, blob(0))
            while any(node.outages.why("docker.io", 0.0) is None for node in others):
                await asyncio.sleep(0.01)
            for node in others:
                await refused(node, blob(1))
                await refused(node, "/v2/library/x/manifests/none")

    run(story())


@pytest.mark.parametrize("count", [1, 3])
def test_what_a_node_or_a_member_has_is_served_without_waiting_for_upstream(tmp_path: Path, count: int) -> None:
    async def story() -> None:
        async with without_upstream(tmp_path, count, "black hole") as it:
            first, last = it.nodes[0], it.nodes[-1]
            content, said = await it.give(last, SMALL), manifest(1)
            image = await it.give(last, said)
            await last.cache.put_tag(Reference.parse(NAME), known(image.digest))
            assert await first.pull(content) == SMALL
            for _ in range(MANY):
                answer = await first.ask(TAG)
                assert (answer.status, answer.body) == (200, said)
                assert "does not answer" in answer.headers["Warning"] or "has not answered" in answer.headers["Warning"]
            # One member alone says this size, and nobody can be asked who would know: the bytes have to prove it.
            other = await it.give(last, b"of another size")
            head = await first.ask(f"/v2/{other.path}", method="HEAD")
            assert (head.status, head.headers.get("Content-Length")) == (200, "15")

    run(story())


def test_the_first_request_after_the_return_of_upstream_succeeds(tmp_path: Path) -> None:
    async def story() -> None:
        with black_hole() as hole:
            port = hole.getsockname()[1]
            async with cluster(tmp_path, 0, settings=SETTINGS) as it:
                it.origin.port = port
                node = await it.join()
                content = it.origin.has(SMALL)
                await refused(node, f"/v2/{content.path}")
                hole.close()
                async with await asyncio.start_server(it.origin.serve, "0.0.0.0", port):
                    while node.outages.why("docker.io", 0.0) is not None:
                        await asyncio.sleep(0.01)
                    assert await node.pull(content) == SMALL
                    await node.stop()

    run(story())


@pytest.mark.parametrize("count", [1, 3])
def test_who_asks_for_a_blob_waits_while_the_link_may_only_flap_and_everybody_else_does_not(
    tmp_path: Path, count: int
) -> None:
    async def story() -> None:
        flapping = replace(SETTLING, outages=replace(OUTAGES, flap_s=600.0))
        async with cluster(tmp_path, count, settings=flapping) as it:
            content = it.origin.has(LARGE)
            it.origin.go_dark()
            pulls = [asyncio.create_task(node.pull(content)) for node in it.nodes]
            while any(node.outages.why("docker.io", 0.0) is None for node in it.nodes):
                await asyncio.sleep(0.01)
            await refused(it.nodes[0], "/v2/library/x/manifests/none")
            await refused(it.nodes[0], f"/v2/library/x/manifests/{Digest.of(b'none')}")
            assert not any(pull.done() for pull in pulls)
            while it.origin.awaited:
                await asyncio.sleep(0.01)
            it.origin.come_back()
            assert await asyncio.gather(*pulls) == [LARGE] * count
            assert it.origin.bytes_of(content) == len(LARGE)

    run(story())


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["one piece", "many pieces"])
@pytest.mark.parametrize("count", [2, 3])
def test_a_home_whose_own_line_is_cut_says_so_at_once_and_waits_for_its_own_clients_alone(
    tmp_path: Path, count: int, body: bytes
) -> None:
    async def story() -> None:
        settings = replace(
            SETTINGS,
            outages=replace(OUTAGES, flap_s=600.0),
            plan=replace(STEADY.plan, barren_s=600.0),
            peers=replace(STEADY.peers, stall_s=600.0),
        )
        async with cluster(tmp_path, count, settings=settings) as it:
            content = it.origin.has(body)
            home, *others = it.ring(content)
            it.origin.cut_off.add(home.name)
            assert await others[0].pull(content) == body
            assert await home.pull(content) == body  # from the others

    run(story())


@pytest.mark.parametrize("count", [1, 3])
def test_bodies_that_stopped_go_on_when_the_registry_is_back_and_what_is_missing_comes_once(
    tmp_path: Path, count: int
) -> None:
    async def story() -> None:
        async with cluster(tmp_path, count, settings=SETTLING) as it:
            content = it.origin.has(LARGE)
            for middle in range(MIB // 2, len(LARGE), MIB):
                it.origin.gates[middle] = asyncio.Event()
            pulls = [asyncio.create_task(node.pull(content)) for node in it.nodes]
            while it.origin.bytes_of(content) < MIB // 2:
                await asyncio.sleep(0.01)
            it.origin.go_dark()
            while it.origin.awaited or any(node.outages.why("docker.io", 0.0) is None for node in it.nodes):
                await asyncio.sleep(0.01)
            await nobody_asks(it, content)
            it.origin.gates.clear()
            it.origin.come_back()
            assert await asyncio.gather(*pulls) == [LARGE] * count
            assert it.origin.bytes_of(content) == len(LARGE)

    run(story())


@pytest.mark.parametrize("count", [2, 3])
def test_who_was_cut_off_takes_what_members_have_when_it_is_back_and_nothing_of_upstream(
    tmp_path: Path, count: int
) -> None:
    async def story() -> None:
        prompt = replace(SETTLING, outages=replace(OUTAGES, flap_s=600.0), fetch=replace(STEADY.fetch, look_s=0.01))
        async with cluster(tmp_path, count, settings=prompt) as it:
            content = it.origin.has(LARGE)
            one, *others = it.nodes
            it.origin.cut_off.add(one.name)
            one.router.down = {node.name for node in others}
            pull = asyncio.create_task(one.pull(content))
            while one.outages.why("docker.io", 0.0) is None:
                await asyncio.sleep(0.01)
            await it.pull(content, others)
            it.origin.cut_off.clear()
            while one.outages.why("docker.io", 0.0) is not None:
                await asyncio.sleep(0.01)
            for _ in range(20):  # it sees the registry before it sees the others
                assert (await one.ask("/v2/library/x/manifests/none")).status == 404
            one.router.down.clear()
            assert await pull == LARGE
            assert it.origin.bytes_of(content) == len(LARGE)

    run(story())


OFFLINE = frozenset({"docker.io"})


def test_where_all_are_offline_what_nobody_has_is_not_there_and_no_registry_is_asked(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 0) as it:
            for _ in range(3):
                await it.join(offline=OFFLINE)
            one, other, _ = it.nodes
            held = await it.give(other, b"held" * 10_000)
            for node in it.nodes:
                for path in (blob(0), "/v2/library/x/manifests/none", f"/v2/library/x/manifests/{Digest.of(b'none')}"):
                    answer = await node.ask(path)
                    assert answer.status == 404, answer.body
                    assert b"never asked by this node: --offline" in answer.body
            assert await one.pull(held) == b"held" * 10_000
            assert it.origin.requests == []

    run(story())


def test_one_that_is_offline_says_nothing_of_the_registry_to_others(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 1) as it:
            await it.join(offline=OFFLINE)
            await it.join(offline=OFFLINE)
            content = it.origin.has(b"from upstream" * 100_000)
            await it.pull(content)
            assert all(node.outages.why("docker.io", time.monotonic()) is None for node in it.nodes)

    run(story())
