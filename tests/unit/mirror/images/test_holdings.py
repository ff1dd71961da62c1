"""The holdings: several stores as one, and what the router is told of them."""

import asyncio
import os
from collections.abc import Collection
from pathlib import Path

import pytest

from mirror.errors import StorageFailed
from mirror.images.holdings import Holdings
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference
from mirror.routers import Peer
from mirror.stores import Held, Listener, Tag
from tests.static_router import StaticRouter
from tests.unchecked import Unchecked

A, B = (Digest.of(content) for content in (b"a", b"b"))
NGINX = Reference.parse("nginx:1.27")


class Noted(StaticRouter):
    """A router that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(Peer("me", "127.0.0.1", 1))
        self.told: list[tuple[str, list[bytes]]] = []

    def advertise(self, keys: Collection[bytes]) -> None:
        self.told.append(("advertise", list(keys)))

    def withdraw(self, keys: Collection[bytes]) -> None:
        self.told.append(("withdraw", list(keys)))

    def since(self) -> list[tuple[str, list[bytes]]]:
        told, self.told = self.told, []
        return told


class Shelf:
    """A store on a folder of files named by their digests, whose changes a test reports."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.tags: dict[Reference, Tag] = {}
        self.running = False
        self.spared: list[bytes] = []
        self.checks = Unchecked()
        self.failure: StorageFailed | None = None
        self._folder = folder
        folder.mkdir()

    async def start(self, listener: Listener) -> None:
        self.running = True
        found = [bytes.fromhex(entry.name) for entry in self._folder.iterdir()]
        if found:
            listener.appeared(found)

    async def close(self) -> None:
        self.running = False

    def put(self, content: bytes) -> Digest:
        digest = Digest.of(content)
        (self._folder / digest.hex).write_bytes(content)
        return digest

    def references(self) -> list[Reference]:
        return [*self.tags]

    def open(self, digest: Digest) -> Held | None:
        path = self._folder / digest.hex
        if self.failure is not None:
            raise self.failure
        if not path.exists():
            return None
        return Held(os.open(path, os.O_RDONLY), path.stat().st_size, self.name, self.checks)

    def tag(self, reference: Reference) -> Tag | None:
        return self.tags.get(reference)

    def mark_redundant(self, keys: Collection[bytes]) -> None:
        self.spared += keys


@pytest.fixture
def shelves(tmp_path: Path) -> list[Shelf]:
    return [Shelf("first", tmp_path / "first"), Shelf("second", tmp_path / "second")]


@pytest.fixture
def router() -> Noted:
    return Noted()


@pytest.fixture
def holdings(shelves: list[Shelf], router: Noted) -> Holdings:
    return Holdings(shelves, router)


def test_what_the_stores_hold_at_the_start_is_advertised_once(
    holdings: Holdings, shelves: list[Shelf], router: Noted
) -> None:
    for shelf in shelves:
        shelf.put(b"a")
    asyncio.run(holdings.start())
    assert all(shelf.running for shelf in shelves)
    assert router.since() == [("advertise", [A.key])]
    assert len(holdings) == 1
    asyncio.run(holdings.close())
    assert not any(shelf.running for shelf in shelves)


def test_what_two_stores_have_is_withdrawn_when_the_last_one_drops_it(holdings: Holdings, router: Noted) -> None:
    holdings.appeared([A.key, B.key])
    holdings.appeared([A.key])
    assert router.since() == [("advertise", [A.key, B.key])]
    holdings.vanished([A.key, B.key])
    assert router.since() == [("withdraw", [B.key])]
    holdings.vanished([A.key])
    assert router.since() == [("withdraw", [A.key])]
    assert len(holdings) == 0


def test_what_comes_back_is_advertised_again(holdings: Holdings, router: Noted) -> None:
    for _ in range(2):
        holdings.appeared([A.key])
        holdings.vanished([A.key])
    assert router.since() == [("advertise", [A.key]), ("withdraw", [A.key])] * 2


def test_no_news_is_not_told(holdings: Holdings, router: Noted) -> None:
    holdings.appeared([])
    holdings.vanished([])
    assert router.since() == []


def test_the_first_store_that_has_it_opens_it(holdings: Holdings, shelves: list[Shelf]) -> None:
    assert holdings.open(A) is None
    shelves[1].put(b"a")
    held = holdings.open(A)
    assert held is not None
    with held:
        assert held.store == "second"
    shelves[0].put(b"a")
    held = holdings.open(A)
    assert held is not None
    with held:
        assert (held.store, os.pread(held.fd, 10, 0)) == ("first", b"a")


def test_every_store_says_what_it_knows_of_a_tag(holdings: Holdings, shelves: list[Shelf]) -> None:
    assert holdings.tags(NGINX) == []
    shelves[1].tags[NGINX] = Tag(B, 2.0, "runtime")
    assert holdings.tags(NGINX) == [Tag(B, 2.0, "runtime")]
    shelves[0].tags[NGINX] = Tag(A, 1.0, "upstream")
    assert holdings.tags(NGINX) == [Tag(A, 1.0, "upstream"), Tag(B, 2.0, "runtime")]


def test_the_stores_hear_of_what_two_of_them_have(holdings: Holdings, shelves: list[Shelf]) -> None:
    holdings.appeared([A.key, B.key])
    assert [shelf.spared for shelf in shelves] == [[], []]
    holdings.appeared([B.key])
    assert [shelf.spared for shelf in shelves] == [[B.key], [B.key]]
    holdings.vanished([B.key])
    holdings.vanished([B.key])
    holdings.appeared([B.key])
    assert [shelf.spared for shelf in shelves] == [[B.key], [B.key]]


def test_every_copy_is_verified_and_one_that_is_right_is_enough(holdings: Holdings, shelves: list[Shelf]) -> None:
    for shelf in shelves:
        shelf.put(b"a")
    assert asyncio.run(holdings.verify(A))
    assert not asyncio.run(holdings.verify(B))
    assert [shelf.checks.verifications for shelf in shelves] == [1, 1]
    shelves[0].checks.is_right = False
    assert asyncio.run(holdings.verify(A))
    shelves[1].checks.is_right = False
    assert not asyncio.run(holdings.verify(A))


def test_a_store_that_cannot_open_it_now_is_passed_over_and_told_of_if_no_other_has_it(
    holdings: Holdings, shelves: list[Shelf]
) -> None:
    shelves[0].failure = StorageFailed("no descriptors")
    with pytest.raises(StorageFailed, match="no descriptors"):
        holdings.open(A)
    shelves[1].put(b"a")
    held = holdings.open(A)
    assert held is not None
    with held:
        assert held.store == "second"


def test_a_store_that_cannot_open_it_now_leaves_no_other_copy_unverified(
    holdings: Holdings, shelves: list[Shelf]
) -> None:
    shelves[0].failure = StorageFailed("no descriptors")
    shelves[1].put(b"a")
    assert asyncio.run(holdings.verify(A)), "one that is right is enough"
    shelves[1].checks.is_right = False
    with pytest.raises(StorageFailed, match="no descriptors"):
        asyncio.run(holdings.verify(A))
    assert shelves[1].checks.verifications == 2
