"""A cache that runs, who listens to it, and blobs that are put into it."""

import os
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

from mirror.oci.digest import Digest
from mirror.settings import CacheSettings
from mirror.stores import Proof
from mirror.stores.cache import CacheStore
from mirror.stores.proofs import ContentHasher


class Keys:
    """A listener that knows what is offered; each key is reported once, and withdrawn once."""

    def __init__(self) -> None:
        self.held: set[bytes] = set()

    def appeared(self, keys: Collection[bytes]) -> None:
        assert self.held.isdisjoint(keys)
        self.held.update(keys)

    def vanished(self, keys: Collection[bytes]) -> None:
        assert self.held.issuperset(keys)
        self.held.difference_update(keys)


@asynccontextmanager
async def opened(
    folder: Path, capacity_bytes: int = 1 << 30, settings: CacheSettings | None = None
) -> AsyncIterator[tuple[CacheStore, Keys]]:
    """A cache in a folder, and what it offers; closed at the end."""
    cache, keys = CacheStore(folder, capacity_bytes, settings), Keys()
    await cache.start(keys)
    try:
        yield cache, keys
    finally:
        await cache.close()


def proof_of(blob: bytes) -> Proof:
    """The proof that a fetch makes along the way."""
    hasher = ContentHasher(len(blob))
    hasher.update(memoryview(blob))
    return hasher.proof()


async def put(cache: CacheStore, blob: bytes, proof: Proof | None = None, *, is_ours: bool = True) -> Digest:
    """Write a blob, and commit it with its proof, or without one; `is_ours`: a client of this node asked for it."""
    digest = Digest.of(blob)
    writer = await cache.begin(digest, len(blob), lambda: is_ours)
    os.pwrite(writer.fd, blob, 0)
    os.close(writer.fd)
    writer.commit(proof)
    return digest
