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
from starlette.applications import Starlette

from mirror.app.pinning import Pinning
from mirror.app.signing import Orders
from mirror.app.writers import Writers
from mirror.config import Push
from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.manifest import OCI_INDEX, OCI_MANIFEST
from mirror.oci.names import parse_one
from mirror.oci.reference import Reference
from mirror.pins.files import PinFiles
from mirror.pins.orders import Hashed, State
from mirror.pins.placement import keepers
from mirror.pins.records import ALL
from mirror.pins.verify import Finding, Wanted, without_wrong
from mirror.settings import PinSettings
from tests.loopback.lab import STEADY
from tests.loopback.nodes import Cluster, Node, Origin, cluster, serving

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


def an_index(origin: Origin) -> tuple[bytes, dict[str, list[Content]]]:
    """An index of two images; upstream has all of it."""
    images = {platform: an_image(origin, 0, platform) for platform in ("linux/amd64", "linux/arm64")}
    entries = [
        described(manifest, OCI_MANIFEST, platform=dict(zip(("os", "architecture"), platform.split("/"), strict=True)))
        for platform, (manifest, _) in images.items()
    ]
    body = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
    origin.has(body, "manifests")
    return body, {platform: parts for platform, (_, parts) in images.items()}


def test_of_an_index_the_images_of_the_platforms_that_are_pinned_are_kept(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with cluster(tmp_path, 2, settings=SWIFT) as made, looked_after(made.nodes):
            index, images = an_index(made.origin)
            made.origin.tag("v1", index)
            await made.nodes[0].pins.pins.pin("x:v1", ALL, platforms=("linux/amd64",))
            await until(lambda: len(holders(made, images["linux/amd64"])) == 2)
            assert not holders(made, images["linux/arm64"][:1])
            assert (await verified(made.nodes[1], "x:v1", 2)).is_enough
            await made.nodes[1].pins.pins.pin("x:v1", platforms=())
            await until(lambda: len(holders(made, images["linux/arm64"])) == 2)

    run(main())


def test_who_has_what_others_are_to_keep_lets_it_go_once_they_have_it(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with cluster(tmp_path, 3, settings=SWIFT) as made:
            manifest, parts = an_image(made.origin, 0)
            made.origin.tag("v1", manifest)
            by_name = {node.name: node for node in made.nodes}
            keeper, *others = (by_name[name] for name in keepers(parts[0].digest.key, by_name, 3))
            for part in parts:
                await others[0].pull(part)
            made.origin.bodies.clear()
            await others[0].pins.pins.pin("x:v1", 1, digest=parts[0].digest)
            await others[0].pins.upkeep.look()
            assert all(others[0].pins.protects(part.digest) for part in parts)
            async with looked_after(made.nodes):
                await until(lambda: holders(made, parts) == {keeper.name, others[0].name})
                await until(lambda: not any(others[0].pins.protects(part.digest) for part in parts))
                assert all(keeper.pins.protects(part.digest) for part in parts)
                die(made, keeper)
                await until(lambda: all(others[0].pins.protects(part.digest) for part in parts))

    run(main())


def test_pins_outlive_the_restart_of_all_nodes_at_once_and_a_torn_file(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with cluster(tmp_path, 2, settings=SWIFT) as made:
            manifest, parts = an_image(made.origin, 0)
            made.origin.tag("v1", manifest)
            async with looked_after(made.nodes):
                await made.nodes[0].pins.pins.pin("x:v1", 2)
                await until(lambda: all(node.pins.protects(part.digest) for node in made.nodes for part in parts))
        assert PinFiles(tmp_path / "n1-pins").read_kept() == {part.digest.hex for part in parts}
        torn = tmp_path / "n1-pins/records"
        torn.write_bytes(torn.read_bytes()[:-1])
        async with cluster(tmp_path, 2, settings=SWIFT) as made:
            for node in made.nodes:
                node.pins.pins.restore()
            one, other = (node.pins.pins for node in made.nodes)
            assert [it.name for it in one.book.pins()] == ["docker.io/library/x:v1"]
            assert other.book.pins() == []
            other.heard(one.state())  # a full exchange of both
            assert other.book.pins() == one.book.pins()
            answer = await made.nodes[1].tags.resolve(Reference.parse("x:v1"))  # upstream knows no such tag
            assert answer.tag.digest == parts[0].digest

    run(main())


def test_verify_says_what_lacks_whose_loss_would_hurt_and_what_the_disk_has_spoilt(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with cluster(tmp_path, 3, settings=SWIFT) as made:
            _, parts = an_image(made.origin, 0)
            one, other, asked = made.nodes
            bodies = [made.origin.bodies[f"/v2/{part.path}"] for part in parts]
            for body in bodies:
                await made.give(one, body)
            for body in bodies[:-1]:
                await made.give(other, body)
            name = f"x@{parts[0].digest}"
            finding, held = await asked.pins.verifier.look(Wanted(parse_one(name), 2))
            assert (finding.members, finding.needed, finding.is_whole) == (("n0",), ("n0",), True)
            assert not finding.is_enough
            spoil(other.folder, parts[1])
            steps = [step async for step in asked.pins.verifier.hash([(Wanted(parse_one(name), 1), finding, held)])]
            assert steps[-1] == {("n1", parts[1].digest): Hashed.WRONG}
            again = without_wrong(Wanted(parse_one(name), 1), finding, held, dict(steps[-1]))
            assert (again.is_enough, again.needed) == (True, ("n0",))
            die(made, one)
            finding = await verified(asked, name, 1)
            assert [part.content.digest for part in finding.lacking] == [parts[1].digest, parts[3].digest]
            unknown = await verified(asked, "x:never", 1)
            assert unknown.problems == ("no member knows this tag",)
            assert not made.origin.requests  # no registry was asked by any of it

    run(main())


def spoil(folder: Path, content: Content) -> None:
    """Change a byte of a cached blob, so that nobody's clock tells."""
    path = next(folder.rglob(f"**/{content.digest.hex}"))
    with open(path, "r+b") as file:
        file.write(b"!")


def test_a_member_fetches_what_it_is_ordered_to_and_pins_nothing(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with cluster(tmp_path, 2, settings=SWIFT) as made:
            one, other = made.nodes
            _, parts = an_image(made.origin, 0)
            while (said := await one.pins.fetch_at("n1", parts[0], ("linux/amd64",))).state is State.RUNS:
                await asyncio.sleep(0.01)
            assert (said.state, said.parts) == (State.DONE, 0)
            assert holders(made, parts) == {"n1"}
            assert not other.pins.protects(parts[0].digest)
            made.origin.bodies.clear()
            nowhere = Content(parts[0].repository, "manifests", Digest.of(b"nowhere"))
            while (said := await one.pins.fetch_at("n1", nowhere, ())).state is State.RUNS:
                await asyncio.sleep(0.01)
            assert said.state is State.FAILED

    run(main())


def test_settings_and_patterns_pin_what_nobody_orders(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with cluster(tmp_path, 2, settings=SWIFT) as made:
            made.configured_pins["n2"] = {"docker.io/library/x:v1": ALL}
            configured = await made.join()
            for tag in ("v1", "v2"):
                manifest, _ = an_image(made.origin, int(tag[1:]))
                made.origin.tag(tag, manifest)
            one = made.nodes[0]
            async with looked_after(made.nodes):
                rows = await shown(one, lambda rows: len(rows) == 1 and rows[0]["held"] == 3)
                assert rows[0]["configured_by"] == "n2"
                await one.pins.pins.unpin("x:v1", is_forced=True)
                await shown(one, lambda rows: len(rows) == 1 and rows[0]["held"] == 3)  # n2 pins it again
                await made.nodes[1].ask("/v2/library/x/manifests/v2")  # now n1 knows a tag more
                await one.pins.pins.pin("x:*", 2)
                rows = await shown(one, lambda rows: len(rows) == 3 and not any(row["missing"] for row in rows))
                assert [row["name"] for row in rows if row["pattern"]] == ["docker.io/library/x:v2"]
                await configured.pins.pins.unpin("x:*")
                assert [row["name"] for row in await shown(one, lambda rows: len(rows) == 1)] == [
                    "docker.io/library/x:v1"
                ]

    run(main())


def test_orders_over_http_say_what_was_done_and_what_not(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with cluster(tmp_path, 2, settings=SWIFT) as made, looked_after(made.nodes):
            made.origin.tag("v1", an_image(made.origin, 0)[0])
            node = made.nodes[0]
            pinning = Pinning("n0", node.pins, Writers(Push.OFF, Orders(node.auth)), SWIFT.pins)
            async with serving(Starlette(routes=list(pinning.routes))) as port:

                async def ask(path: str, order: dict[str, Any] | None = None) -> tuple[int, Any]:
                    method, url = "GET" if order is None else "POST", f"http://127.0.0.1:{port}/api/v1/{path}"
                    async with made.http.request(method, url, json=order) as answer:
                        return answer.status, await answer.json()

                async def followed(path: str, order: dict[str, Any]) -> Any:
                    _, job = await ask(path, order)
                    while job["state"] == "runs":
                        await asyncio.sleep(0.01)
                        _, job = await ask(f"jobs/{job['job']}")
                    return job

                status, done = await ask("pins", {"names": ["x:v1", "x:v9", "no image"], "copies": "all"})
                assert (status, done["pinned"]) == (200, ["docker.io/library/x:v1"])
                assert done["problems"].keys() == {"x:v9", "no image"}
                await shown(node, lambda rows: rows[0]["held"] == 2)
                for path in ("verify", "verify?deep=1"):
                    job = await followed(path, {})
                    assert [row["enough"] for row in job["rows"]] == [True]
                job = await followed("verify", {"images": ["x:v1", "x:v9"], "copies": 3})
                assert [row["enough"] for row in job["rows"]] == [False, False]
                job = await followed("prefetch", {"images": ["x:v1", "x:v9"], "nodes": ["n1"]})
                assert {(row["image"][-2:], row["state"]) for row in job["rows"]} == {("v1", "done"), ("v9", "failed")}
                assert (await ask("prefetch", {"images": ["x:v1"], "nodes": ["n7"]}))[0] == 400
                wrong: list[dict[str, Any]] = [{}, {"names": []}, {"names": [1]}, {"names": ["x"], "copies": 0}]
                for order in [*wrong, {"names": ["x"], "platforms": ["a"]}]:
                    assert (await ask("pins", order))[0] == 400, order
                assert (await ask("pins?name=**@"))[0] == 400
                assert (await ask("jobs/none"))[0] == 404
                assert (await ask("unpin", {"names": ["x:v1"]}))[1]["unpinned"] == ["docker.io/library/x:v1"]
                assert (await ask("pins"))[1]["pins"] == []
                await pinning.close()

    run(main())
