"""Pinned images on whole nodes: copies, repair, and what is said of them."""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.manifest import OCI_MANIFEST
from mirror.oci.names import parse_one
from mirror.pins.placement import keepers
from mirror.pins.verify import Finding, Wanted
from mirror.settings import PinSettings
from tests.loopback.lab import STEADY
from tests.loopback.nodes import Cluster, Node, Origin, cluster

SWIFT = replace(
    STEADY,
    pins=PinSettings(
        look_s=0.02, gone_s=0.0, calm_s=0.0, retry_s=0.05, give_way_s=0.01, give_way_max_s=0.1, bytes_per_s=1e9,
        progress_s=0.05, hash_bytes_per_s=1e9, fetches_max=8,
    ),
)  # fmt: skip
"""Nothing waits for members to settle: a test says who is gone."""

Run = Callable[[Coroutine[Any, Any, None]], None]


def described(body: bytes, kind: str = "application/octet-stream", **more: object) -> dict[str, object]:
    return {"mediaType": kind, "digest": str(Digest.of(body)), "size": len(body), **more}


def an_image(origin: Origin, number: int, platform: str = "linux/amd64") -> tuple[bytes, list[Content]]:
    """An image of a manifest, a config and two layers; upstream has it."""
    config, *layers = (f"{platform} {number} {part}".encode() * 100 for part in ("config", "first", "second"))
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": described(config),
            "layers": [described(layer) for layer in layers],
        }
    ).encode()
    return manifest, [origin.has(manifest, "manifests"), *(origin.has(blob) for blob in (config, *layers))]


@contextlib.asynccontextmanager
async def looked_after(nodes: Iterable[Node]) -> AsyncIterator[None]:
    """Nodes that look after what is pinned."""
    tasks = [asyncio.create_task(node.pins.upkeep.run()) for node in nodes]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that the nodes do by themselves; the test as a whole is bounded."""
    while not condition():
        await asyncio.sleep(0.01)


async def shown(node: Node, condition: Callable[[list[dict[str, Any]]], object]) -> list[dict[str, Any]]:
    """Wait until a node shows its pins so."""
    while not condition(rows := await node.pins.overview.rows()):
        await asyncio.sleep(0.01)
    return rows


def holders(made: Cluster, parts: Iterable[Content], gone: Iterable[Node] = ()) -> set[str]:
    """The nodes that hold all of an image."""
    parts = list(parts)
    return {node.name for node in made.nodes if node not in gone and all(node.held(part) for part in parts)}


async def verified(node: Node, name: str, copies: int) -> Finding:
    pinned = node.pins.pins.book.record(parse_one(name).text)
    wanted = Wanted(parse_one(name), copies, ("linux/amd64",), None if pinned is None else pinned.digest)
    return (await node.pins.verifier.look(wanted))[0]


def die(made: Cluster, node: Node) -> None:
    """A node is gone, and all others know it."""
    node.die()
    for other in made.nodes:
        other.router.down.add(node.name)


@pytest.mark.parametrize("new_loop", ["uvloop"], indirect=True)
def test_pinned_images_outlive_two_nodes_of_five_and_upstream(run: Run, tmp_path: Path) -> None:
    """Twenty images with two copies each are whole after two nodes have died for good, one after the other."""

    async def main() -> None:
        async with cluster(tmp_path, 5, settings=SWIFT) as made:
            images = {}
            for number in range(20):
                manifest, parts = an_image(made.origin, number)
                made.origin.tag(f"v{number}", manifest)
                images[f"x:v{number}"] = parts
            async with looked_after(made.nodes):
                await asyncio.gather(*(made.nodes[0].pins.pins.pin(name, 2, platforms=None) for name in images))
                await until(lambda: all(len(holders(made, parts)) == 2 for parts in images.values()))
                for name, parts in images.items():
                    chosen = keepers(parts[0].digest.key, [node.name for node in made.nodes], 2)
                    assert holders(made, parts) == set(chosen)
                    finding = await verified(made.nodes[0], name, 2)
                    assert finding.is_enough, finding
                made.origin.bodies.clear()
                gone: list[Node] = []
                for node in made.nodes[1:3]:
                    die(made, node)
                    gone.append(node)
                    rest = [it for it in made.nodes if it not in gone]
                    await until(lambda: all(len(holders(made, it, gone)) >= 2 for it in images.values()))
                    for name in images:
                        finding = await verified(rest[-1], name, 2)
                        assert finding.is_enough, finding
                        assert not finding.needed
                assert all(made.origin.bytes_of(part) <= 2 * 10_000 for it in images.values() for part in it)

    run(main())


def test_a_pinned_image_is_never_evicted_and_pins_beyond_the_cache_do_not_thrash(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with cluster(tmp_path, 1, capacity=16_000, settings=SWIFT) as made:
            node = made.nodes[0]
            names = []
            for number in range(3):  # some 6,400 bytes each: two fit into nine tenths
                manifest, _ = an_image(made.origin, number)
                made.origin.tag(f"v{number}", manifest)
                names.append(f"x:v{number}")
            async with looked_after(made.nodes):
                for name in names:
                    await node.pins.pins.pin(name, 1)
                await shown(
                    node, lambda rows: [row["held"] for row in rows] == [1, 1, 0] and "no room" in rows[2]["problem"]
                )
                for number in range(8):  # what clients pull comes and goes beside it
                    await node.pull(made.origin.has(os.urandom(3000 + number)))
                rows = await node.pins.overview.rows()
                assert [row["held"] for row in rows] == [1, 1, 0]
            asked = made.origin.requests.copy()
            for _ in range(5):
                await node.pins.upkeep.look()
            assert made.origin.requests == asked  # nothing is fetched again and again

    run(main())
