"""Which images a node holds, by the manifests in its cache and the tags of its stores; and what goes with one."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from mirror.errors import Pinned
from mirror.images.holdings import Holdings
from mirror.images.inventory import HeldImage, Inventory
from mirror.images.own_tags import OwnTags
from mirror.images.pruning import Rule
from mirror.images.removal import Removal
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference
from mirror.stores import Held, Store, Tag
from mirror.stores.cache import CacheStore
from tests.caches import proof_of, put

if TYPE_CHECKING:
    from mirror.routers import Router

APP, OTHER = Reference.parse("app:1"), Reference.parse("other:1")


def manifest(*layers: bytes, config: bytes = b'{"config": true}') -> bytes:
    named = [{"digest": str(Digest.of(layer)), "size": len(layer)} for layer in layers]
    described = {"digest": str(Digest.of(config)), "size": len(config)}
    return json.dumps({"schemaVersion": 2, "config": described, "layers": named}).encode()


def index(**manifests: bytes) -> bytes:
    named = [
        {"digest": str(Digest.of(it)), "size": len(it), "platform": {"os": "linux", "architecture": name}}
        for name, it in manifests.items()
    ]
    return json.dumps({"schemaVersion": 2, "manifests": named}).encode()


class Nowhere:
    """A router that nobody hears."""

    def __init__(self) -> None:
        self.keys: set[bytes] = set()

    def advertise(self, keys: Collection[bytes]) -> None:
        self.keys.update(keys)

    def withdraw(self, keys: Collection[bytes]) -> None:
        self.keys.difference_update(keys)


class Runtime:
    """A store that knows one tag, and has nothing to open."""

    name = "containerd"

    def __init__(self, reference: Reference, digest: Digest) -> None:
        self._tags = {reference: Tag(digest, 1.0, "runtime")}

    async def start(self, listener: object) -> None:
        pass

    async def close(self) -> None:
        pass

    def references(self) -> Iterable[Reference]:
        return self._tags

    def tag(self, reference: Reference) -> Tag | None:
        return self._tags.get(reference)

    def open(self, digest: Digest) -> Held | None:
        return None

    def mark_redundant(self, keys: Collection[bytes]) -> None:
        pass


@dataclass
class Node:
    """A cache, and what an operator does with it."""

    cache: CacheStore
    router: Nowhere
    inventory: Inventory
    removal: Removal
    own: OwnTags
    pinned: set[Digest]
    forgotten: list[Digest]

    async def put(self, *bodies: bytes, is_ours: bool = True) -> list[Digest]:
        return [await put(self.cache, body, proof_of(body), is_ours=is_ours) for body in bodies]

    async def tag(self, reference: Reference, digest: Digest) -> None:
        await self.cache.put_tag(reference, Tag(digest, time.time(), "upstream"))

    async def images(self) -> dict[tuple[str, Digest], HeldImage]:
        survey = await self.inventory.survey(now=True)
        return {(it.reference, it.digest): it for it in survey.images}

    def has(self, digest: Digest) -> bool:
        return digest.key in self.router.keys


@asynccontextmanager
async def node(folder: Path, *runtimes: Runtime) -> AsyncIterator[Node]:
    cache, router = CacheStore(folder, 1 << 20), Nowhere()
    own = OwnTags(None)
    stores = cast("list[Store]", [cache, *runtimes, own])
    holdings = Holdings(stores, cast("Router", router))
    inventory = Inventory(stores, cache.contents, holdings)
    pinned: set[Digest] = set()
    forgotten: list[Digest] = []
    removal = Removal(inventory, cache.contents, own, forgotten.append, pinned.__contains__)
    await holdings.start()
    try:
        yield Node(cache, router, inventory, removal, own, pinned, forgotten)
    finally:
        await holdings.close()


LAYER, TOP, CONFIG = b"base layer", b"top layer", b'{"config": true}'
IMAGE = manifest(LAYER, TOP)


def test_an_image_is_what_a_tag_means_or_a_manifest_that_nothing_else_speaks_for(tmp_path: Path) -> None:
    async def check() -> None:
        async with node(tmp_path) as made:
            lone, listed = manifest(LAYER, config=b'{"lone": 1}'), manifest(TOP, config=b'{"listed": 1}')
            both = index(amd64=listed, arm64=manifest(b"elsewhere"))
            digests = await made.put(LAYER, TOP, CONFIG, IMAGE, lone, listed, both, b"{ no manifest", b"")
            await made.tag(APP, digests[3])
            await made.tag(OTHER, Digest.of(b"not here"))
            images = await made.images()
            assert set(images) == {(str(APP), digests[3]), ("", digests[4]), ("", digests[6])}
            app = images[str(APP), digests[3]]
            assert (app.held, app.named, app.bytes) == (3, 3, sum(map(len, (LAYER, TOP, CONFIG, IMAGE))))
            assert app.contents == {*digests[:4]}
            of_index = images["", digests[6]]
            assert (of_index.held, of_index.named, of_index.is_whole) == (1, 2, False), "its configuration lacks"
            assert of_index.contents == {digests[6], digests[5], digests[1]}

    asyncio.run(check(), debug=True)


def test_what_a_manifest_has_itself_does_not_lack_and_other_content_of_an_index_is_no_image(tmp_path: Path) -> None:
    async def check() -> None:
        async with node(tmp_path) as made:
            config = {"digest": str(Digest.of(b"{}")), "size": 2, "data": "e30="}
            layers = [{"digest": str(Digest.of(LAYER)), "size": len(LAYER)}] * 2
            artifact = json.dumps({"schemaVersion": 2, "config": config, "layers": layers}).encode()
            report = {"digest": str(Digest.of(TOP)), "size": len(TOP), "mediaType": "text/json"}
            listed = json.dumps({"schemaVersion": 2, "manifests": [report]}).encode()
            digests = await made.put(LAYER, TOP, artifact, listed)
            images = await made.images()
            assert (images["", digests[2]].held, images["", digests[2]].named) == (2, 2)
            assert (images["", digests[3]].held, images["", digests[3]].named) == (1, 1)
            assert images["", digests[3]].contents == {digests[1], digests[3]}

    asyncio.run(check(), debug=True)


def test_an_image_counts_as_used_when_its_manifest_or_configuration_was(tmp_path: Path) -> None:
    async def check() -> None:
        async with node(tmp_path) as made:
            await made.put(TOP, CONFIG, IMAGE, is_ours=False)
            await made.put(LAYER)
            (before,) = (await made.images()).values()
            held = made.cache.open(Digest.of(CONFIG))
            assert held is not None
            held.note_use()
            held.close()
            (after,) = (await made.images()).values()
            assert after.used_unix_s >= before.used_unix_s > 0

    asyncio.run(check(), debug=True)


def test_a_runtimes_image_is_shown_as_its_own(tmp_path: Path) -> None:
    async def check() -> None:
        async with node(tmp_path, Runtime(OTHER, Digest.of(IMAGE))) as made:
            (digest,) = await made.put(IMAGE)
            await made.tag(APP, digest)
            images = await made.images()
            assert {reference: it.stores for (reference, _), it in images.items()} == {
                str(APP): ("cache",),
                str(OTHER): ("cache", "containerd"),
            }
            removed = await made.removal.delete(digest)
            assert (removed.tags, removed.blobs, removed.runtime) == ([str(APP)], 1, True)

    asyncio.run(check(), debug=True)


def test_a_tag_is_deleted_with_what_no_other_image_has(tmp_path: Path) -> None:
    async def check() -> None:
        async with node(tmp_path) as made:
            other = manifest(LAYER, config=b'{"other": 1}')
            layer, top, config, image, lone = await made.put(LAYER, TOP, CONFIG, IMAGE, other)
            await made.tag(APP, image)
            await made.tag(OTHER, lone)
            removed = await made.removal.delete(APP)
            assert (removed.tags, removed.blobs, removed.shares) == ([str(APP)], 3, [str(OTHER)])
            assert [made.has(it) for it in (layer, top, config, image, lone)] == [True, False, False, False, True]
            assert set(made.forgotten) == {top, config, image}
            assert made.cache.tag(APP) is None
            assert list(await made.images()) == [(str(OTHER), lone)]
            again = await made.removal.delete(APP)
            assert (again.tags, again.blobs) == ([], 0)

    asyncio.run(check(), debug=True)


def test_a_second_tag_of_the_same_image_keeps_it_and_its_digest_takes_both(tmp_path: Path) -> None:
    async def check() -> None:
        async with node(tmp_path) as made:
            *_, image = await made.put(LAYER, TOP, CONFIG, IMAGE)
            await made.tag(APP, image)
            await made.tag(OTHER, image)
            removed = await made.removal.delete(APP)
            assert (removed.tags, removed.blobs, removed.shares) == ([str(APP)], 0, [str(OTHER)])
            await made.tag(APP, image)
            removed = await made.removal.delete(image)
            assert (sorted(removed.tags), removed.blobs) == ([str(APP), str(OTHER)], 4)

    asyncio.run(check(), debug=True)


def test_a_tag_of_the_clusters_own_goes_everywhere_or_stays(tmp_path: Path) -> None:
    async def check() -> None:
        async with node(tmp_path) as made:
            *_, image = await made.put(LAYER, TOP, CONFIG, IMAGE)
            await made.own.put(APP, image)
            assert [(it.reference, it.stores) for it in (await made.images()).values()] == [(str(APP), ("cache",))]
            removed = await made.removal.delete(APP)
            assert (removed.tags, removed.own, removed.blobs) == ([], [str(APP)], 4)
            assert made.own.tag(APP) is not None
            assert await made.images() == {}, "what is not here is no image of this node"
            *_, image = await made.put(LAYER, TOP, CONFIG, IMAGE)
            removed = await made.removal.delete(image, everywhere=True)
            assert (removed.tags, removed.own, removed.blobs) == ([str(APP)], [], 4)
            assert made.own.tag(APP) is None

    asyncio.run(check(), debug=True)


def test_one_blob_goes_alone_and_the_images_that_miss_it_are_named(tmp_path: Path) -> None:
    async def check() -> None:
        async with node(tmp_path) as made:
            layer, *_, image = await made.put(LAYER, TOP, CONFIG, IMAGE)
            await made.tag(APP, image)
            removed = await made.removal.delete(layer)
            assert (removed.tags, removed.blobs, removed.shares) == ([], 1, [str(APP)])
            (shown,) = (await made.images()).values()
            assert not shown.is_whole

    asyncio.run(check(), debug=True)


def test_what_is_pinned_is_neither_deleted_nor_pruned(tmp_path: Path) -> None:
    async def check() -> None:
        async with node(tmp_path) as made:
            *blobs, image = await made.put(LAYER, TOP, CONFIG, IMAGE)
            await made.tag(APP, image)
            made.pinned.update([image, *blobs])
            other = Reference(APP.repository, "other")
            await made.tag(other, image)
            with pytest.raises(Pinned, match=f"unpin.*another of its names: {other}$"):
                await made.removal.delete(APP)
            assert made.cache.tag(APP) is not None
            plan = await made.removal.prune(Rule(keep_bytes=0))
            assert (plan.blobs, plan.pinned) == ([], 4)
            assert all(made.has(it) for it in (image, *blobs))

    asyncio.run(check(), debug=True)


def test_a_prune_deletes_what_its_plan_shows_and_leaves_what_is_read(tmp_path: Path) -> None:
    async def check() -> None:
        async with node(tmp_path) as made:
            layer, *_, image = await made.put(LAYER, TOP, CONFIG, IMAGE)
            held = made.cache.open(layer)
            assert held is not None
            plan = await made.removal.plan(Rule(keep_bytes=0))
            assert (len(plan.blobs), plan.read) == (3, 1)
            assert made.has(image), "a plan deletes nothing"
            done = await made.removal.prune(Rule(keep_bytes=0))
            assert {it.digest for it in done.blobs} == {it.digest for it in plan.blobs}
            held.close()
            assert (made.has(layer), made.has(image)) == (True, False)

    asyncio.run(check(), debug=True)


def test_one_look_serves_all_who_ask_within_a_moment_until_something_is_deleted(tmp_path: Path) -> None:
    async def check() -> None:
        async with node(tmp_path) as made:
            (image,) = await made.put(IMAGE)
            first = await made.inventory.survey()
            assert await made.inventory.survey() is first
            await made.removal.delete(image)
            assert (await made.inventory.survey()).images == []

    asyncio.run(check(), debug=True)
