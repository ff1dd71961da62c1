"""Reading ahead: what others pull of an image is fetched for the client that is pulling the same image, too."""

import asyncio
import contextlib
import itertools
import json
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mirror.oci.content import Content
from mirror.oci.manifest import OCI_MANIFEST
from tests.loopback.lab import STEADY
from tests.loopback.nodes import Cluster, Node, cluster, pieces_of
from tests.loopback.servers import LARGE, SMALL, run

LATE = len(LARGE) - 100
"""Where the layer that a client is reading stops: behind the end of the other layer."""


def image(it: Cluster, config: Content, layers: Sequence[Content]) -> Content:
    """The manifest of an image."""
    sizes = [len(it.origin.bodies[f"/v2/{blob.path}"]) for blob in (config, *layers)]
    names = [
        {"mediaType": "application/x", "digest": str(blob.digest), "size": size}
        for blob, size in zip((config, *layers), sizes, strict=True)
    ]
    body = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": names[0], "layers": names[1:]})
    return it.origin.has(body.encode(), "manifests")


@contextlib.asynccontextmanager
async def reading(
    it: Cluster, node: Node, content: Content, headers: Mapping[str, str] | None = None
) -> AsyncIterator[None]:
    """A client reads some content, of which the end does not come for now."""
    gate = it.origin.gates[LATE] = asyncio.Event()
    url = f"http://127.0.0.1:{node.client_port}/v2/{content.path}?ns=docker.io"
    async with it.http.get(url, headers=headers):
        yield
        gate.set()


def relayed(node: Node, content: Content) -> int:
    """How many bytes of some content a node has fetched."""
    return sum(node.record(content).sources.values())


def test_a_layer_that_others_pull_is_there_before_the_client_that_pulls_its_image_asks_for_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 3) as it:
            first, other, config = it.origin.has(LARGE), it.origin.has(SMALL), it.origin.has(b"{}")
            pulling, asking, _ = it.nodes
            await pulling.get(image(it, config, [other, first]))
            async with reading(it, pulling, first):
                await asking.pull(other)
                while not pulling.held(other):
                    await asyncio.sleep(0.01)
            assert it.origin.bytes_of(other) == len(SMALL)
            asked = len(it.origin.asked_for(other))
            assert await pulling.pull(other) == SMALL
            assert len(it.origin.asked_for(other)) == asked

    run(story())


@pytest.mark.parametrize("why", ["another image", "its configuration", "read in ranges", "no more may be read ahead"])
def test_else_a_home_fetches_its_own_pieces_alone(tmp_path: Path, why: str) -> None:
    async def story() -> None:
        most = 2 if why == "no more may be read ahead" else STEADY.fetch.ahead_requests_max  # a layer takes 3
        settings = replace(STEADY, fetch=replace(STEADY.fetch, ahead_requests_max=most))
        async with cluster(tmp_path, 3, settings=settings) as it:
            first, other, config = it.origin.has(LARGE), it.origin.has(SMALL), it.origin.has(b"{}")
            pulling, asking, _ = it.nodes
            match why:
                case "another image":
                    await asking.get(image(it, config, [other]))
                    await pulling.get(image(it, config, [first]))
                case "its configuration":
                    await pulling.get(image(it, first, [other]))
                case _:
                    await pulling.get(image(it, config, [other, first]))
            lazily = {"Range": f"bytes={LATE - 1000}-{LATE + 1000}"} if why == "read in ranges" else None
            async with reading(it, pulling, first, lazily):
                await asking.pull(other)
            ring = it.ring(other)
            own = [stop - start for start, stop in pieces_of(SMALL, 3)[ring.index(pulling) :: 3]]
            assert relayed(pulling, other) == sum(own)
            assert not pulling.held(other)

    run(story())


def test_of_one_more_layer_fewer_pieces_are_asked_for_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of three homes: four pieces while there is one layer, and three of one beside it. One of them is its own."""
    caplog.set_level(logging.DEBUG, "mirror.fetch.download")

    def asked_homes(content: Content) -> int:
        return sum("role=home" in it.message and f"{content.digest}" in it.message for it in caplog.records)

    async def story() -> None:
        async with cluster(tmp_path, 3) as it:
            pulling, *_ = it.nodes
            layers = (it.origin.has(bytes([number]) + LARGE) for number in itertools.count())
            first, other = itertools.islice((layer for layer in layers if it.ring(layer)[0] is not pulling), 2)
            await pulling.get(image(it, it.origin.has(b"{}"), [first, other]))
            may_send = asyncio.Event()
            it.origin.behave = lambda request, answer: [answer[0], may_send, *answer[1:]]
            async with asyncio.TaskGroup() as pulls:
                for content, pieces in ((first, 3), (other, 2)):
                    pulls.create_task(pulling.pull(content))
                    while not asked_homes(content):
                        await asyncio.sleep(0.01)
                    assert asked_homes(content) == pieces
                may_send.set()

    run(story())
