"""When leases are taken, renewed and ended; containerd is a list here."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

import pytest

from mirror.oci.digest import Digest
from mirror.settings import LeaseSettings
from mirror.stores.containerd.client import Client, ContainerdError, Refused
from mirror.stores.containerd.leases import Leases
from mirror.stores.containerd.messages import Lease
from mirror.stores.containerd.trees import Trees

MANIFEST, LAYER, SECOND, SHARED, UNNAMED = (Digest.of(bytes([number])) for number in range(5))
REFERS_TO = {MANIFEST: (str(LAYER), str(SHARED)), SECOND: (str(SHARED),)}
CONTENT = dict.fromkeys([MANIFEST, LAYER, SECOND, SHARED, UNNAMED], 1)
NAMED = Trees([str(MANIFEST), str(SECOND)], REFERS_TO, CONTENT)
WITHOUT = Trees([str(SECOND)], REFERS_TO, CONTENT)


@dataclass
class FakeClient:
    """Has leases, and what each keeps; refuses while it is told to."""

    held: dict[str, tuple[Lease, set[str]]] = field(default_factory=dict)
    created: int = 0
    deleted: list[str] = field(default_factory=list)
    error: ContainerdError | None = None
    asked: int = 0

    async def leases(self, label: str) -> list[Lease]:
        self._may()
        return [lease for lease, _ in self.held.values() if label in lease.labels]

    async def create_lease(self, lease: Lease) -> None:
        self._may()
        self.held[lease.id] = lease, set()
        self.created += 1

    async def add_content(self, lease_id: str, digest: str) -> None:
        self._may()
        self.held[lease_id][1].add(digest)

    async def delete_lease(self, lease_id: str) -> None:
        self._may()
        self.deleted.append(lease_id)
        if self.held.pop(lease_id, None) is None:
            raise Refused("not_found: lease")

    def _may(self) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error

    @property
    def keeps(self) -> list[set[str]]:
        return [content for _, content in self.held.values()]


class Clock:
    """Both clocks of an agent; they agree here."""

    def __init__(self) -> None:
        self.at = 1_000_000.0

    def __call__(self) -> float:
        return self.at


class Kept:
    """Leases whose time passes only as the test says."""

    def __init__(self, settings: LeaseSettings | None = None, client: FakeClient | None = None) -> None:
        self.fake = client or FakeClient()
        self.clock = Clock()
        self.ended = 0
        self.leases = Leases(CONTENT.__contains__, settings or LeaseSettings(), self.clock, self.clock)
        self.leases.listed(NAMED)

    async def begin(self) -> None:
        """Connect; what there is to be done then is done, and the connection breaks."""
        keeping = asyncio.create_task(self.leases.keep(cast("Client", self.fake), self._note_ended))
        await until(lambda: self.fake.asked > 2)
        keeping.cancel()
        await asyncio.wait([keeping])

    async def after(self, seconds: float = 0.0) -> None:
        """Look once, when some time has passed."""
        self.clock.at += seconds
        await self.leases.look(cast("Client", self.fake), self._note_ended)

    def _note_ended(self) -> None:
        self.ended += 1


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story())


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


@asynccontextmanager
async def keeping(client: FakeClient, settings: LeaseSettings) -> AsyncIterator[Leases]:
    leases = Leases(CONTENT.__contains__, settings)
    leases.listed(NAMED)
    task = asyncio.create_task(leases.keep(cast("Client", client), lambda: None))
    try:
        yield leases
    finally:
        task.cancel()
        await asyncio.wait([task])


def test_one_request_for_a_layer_keeps_its_image_without_snapshots_until_a_while_after_the_last_one() -> None:
    async def story() -> None:
        kept = Kept(LeaseSettings(idle_s=60))
        with kept.leases.taking(LAYER):
            await kept.after()
            ((lease, content),) = kept.fake.held.values()
            assert content == {str(MANIFEST), str(LAYER), str(SHARED)}
            assert kept.leases.kept == {MANIFEST, LAYER, SHARED}
            assert lease.labels["containerd.io/gc.flat"]
            await kept.after(300)  # it is being read all the time
        with kept.leases.taking(SHARED):
            pass
        await kept.after(59)
        assert (kept.fake.created, kept.ended) == (1, 0)
        await kept.after(1)
        assert (kept.fake.held, len(kept.leases), kept.ended) == ({}, 0, 1)

    run(story)


def test_a_lease_says_itself_when_it_ends_and_ends_when_the_agent_stops() -> None:
    async def story() -> None:
        kept = Kept(LeaseSettings(lasts_s=900))
        with kept.leases.taking(MANIFEST):
            await kept.after()
        ((lease, _),) = kept.fake.held.values()
        assert datetime.fromisoformat(lease.labels["containerd.io/gc.expire"]).timestamp() == kept.clock.at + 900
        await kept.leases.release(cast("Client", kept.fake))
        assert kept.fake.held == {}

    run(story)


def test_a_lease_is_renewed_while_its_image_has_a_name() -> None:
    async def story() -> None:
        kept = Kept(LeaseSettings(renew_s=450))
        with kept.leases.taking(MANIFEST):
            await kept.after()
            await kept.after(449)
            assert kept.fake.created == 1
            await kept.after(1)
            assert (kept.fake.created, kept.ended, len(kept.leases)) == (2, 1, 1)
            assert kept.leases.kept == {MANIFEST, LAYER, SHARED}

    run(story)


def test_an_image_that_was_removed_is_kept_as_long_as_its_lease_says_and_no_longer_whoever_asks() -> None:
    async def story() -> None:
        kept = Kept(LeaseSettings(lasts_s=900, renew_s=450))
        with kept.leases.taking(MANIFEST):
            await kept.after()
            await kept.after(449)
            kept.leases.listed(WITHOUT)
            await kept.after(450)
            assert LAYER in kept.leases.kept
            await kept.after(1)
            with kept.leases.taking(LAYER), kept.leases.taking(UNNAMED):
                await kept.after(1)
            assert (kept.fake.created, kept.fake.held) == (1, {})

    run(story)


def test_no_more_is_kept_than_allowed() -> None:
    async def story() -> None:
        for settings, images in [
            (LeaseSettings(), 2),
            (LeaseSettings(images_max=1), 1),
            (LeaseSettings(sharing_max=1), 1),
        ]:
            kept = Kept(settings)
            with kept.leases.taking(SHARED):
                await kept.after()
            assert kept.fake.created == images
        kept = Kept(LeaseSettings(contents_max=2))
        with kept.leases.taking(MANIFEST):
            await kept.after()
        assert kept.fake.keeps == [{str(MANIFEST), str(LAYER)}]

    run(story)


def test_what_the_store_does_not_have_is_no_concern() -> None:
    async def story() -> None:
        kept = Kept()
        with kept.leases.taking(Digest.of(b"elsewhere")):
            await kept.after()
        assert kept.fake.created == 0

    run(story)


def test_a_listing_that_knows_the_image_gives_a_lease_to_what_was_asked_for_before_it() -> None:
    async def story() -> None:
        kept = Kept()
        kept.leases.listed(Trees())
        with kept.leases.taking(MANIFEST):
            await kept.after()
            assert kept.fake.created == 0
            kept.leases.listed(NAMED)
            await kept.after()
            assert kept.leases.kept == {MANIFEST, LAYER, SHARED}

    run(story)


def test_a_containerd_that_grants_no_lease_is_named_once_and_tried_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    async def story() -> None:
        client = FakeClient(error=Refused("unimplemented: unknown service"))
        async with keeping(client, LeaseSettings(retry_s=0.001)) as leases:
            await until(lambda: client.asked)
            assert caplog.messages == [], "nobody has wanted one"
            with leases.taking(MANIFEST):
                await until(lambda: client.asked > 5)
                assert len(caplog.messages) == 1
                assert "unimplemented: unknown service" in caplog.text
                client.error = None
                await until(lambda: LAYER in leases.kept)
                await until(lambda: len(caplog.messages) == 2)

    run(story)


def test_what_an_agent_left_that_crashed_ends_as_if_its_image_had_just_been_asked_for() -> None:
    async def story() -> None:
        kept = Kept(LeaseSettings(idle_s=60))
        past, future = "1970-01-01T00:00:00+00:00", "2900-01-01T00:00:00Z"
        left = [("ended", past), ("unreadable", "soon"), ("lasts", future)]
        for lease_id, ends in left:
            labels = {"skvaller/image": str(MANIFEST), "containerd.io/gc.expire": ends}
            kept.fake.held[lease_id] = Lease(lease_id, labels), set()
        kept.fake.held["theirs"] = Lease("theirs", {"containerd.io/gc.expire": past}), set()
        kept.fake.held["odd"] = Lease("odd", {"skvaller/image": "no digest"}), set()
        await kept.begin()
        assert list(kept.fake.held) == ["lasts", "theirs", "odd"]
        kept.leases.listed(WITHOUT)
        await kept.after(59)
        with kept.leases.taking(LAYER):
            await kept.after(1)
        await kept.after(59)
        assert "lasts" in kept.fake.held, "what was asked for meanwhile belongs to it, though its image has no name"
        await kept.after(1)
        assert (list(kept.fake.held), kept.fake.created, len(kept.leases)) == (["theirs", "odd"], 0, 0)

    run(story)


def test_when_the_connection_breaks_leases_that_are_gone_are_taken_anew() -> None:
    async def story() -> None:
        kept = Kept()
        with kept.leases.taking(MANIFEST):
            await kept.after()
            kept.fake.held.clear()
            keeping = asyncio.create_task(kept.leases.keep(cast("Client", kept.fake), lambda: None))
            await until(lambda: kept.fake.created == 2 and len(kept.leases.kept) == 3)
            keeping.cancel()
            await asyncio.wait([keeping])
            kept.fake.error = ContainerdError("unavailable")
            with pytest.raises(ContainerdError):
                await kept.leases.keep(cast("Client", kept.fake), lambda: None)

    run(story)
