"""The containerd store against a real containerd: what it reports, what it opens, and what it survives."""

import asyncio
import hashlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from mirror.errors import Corrupt
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference
from mirror.settings import ContainerdSettings, LeaseSettings
from mirror.stores.containerd import ContainerdStore
from mirror.stores.containerd.leases import Leases
from mirror.stores.proofs import prefix_count
from testbed.recorder import Recorder
from tests.rot import flip

if TYPE_CHECKING:
    from testbed.containerd import Containerd
    from testbed.images import Image

pytestmark = pytest.mark.clients

MADE = "docker.io/library/made:1"


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine on the event loop that the agent uses."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test)


@asynccontextmanager
async def following(
    containerd: "Containerd",
    recorder: "Recorder",
    namespace: str = "k8s.io",
    settings: ContainerdSettings | None = None,
) -> AsyncIterator[ContainerdStore]:
    store = ContainerdStore(f"unix://{containerd.socket}", namespace, settings)
    await store.start(recorder)
    try:
        yield store
    finally:
        await store.close()


class Transitions(logging.Handler):
    """The store's log lines on its connection, to wait for."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.seen: list[str] = []
        self._changed = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(record.getMessage().split(" address=")[0])
        self._changed.set()

    async def until(self, *expected: str) -> None:
        async with asyncio.timeout(20):
            while self.seen != list(expected):
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
def transitions() -> Iterator[Transitions]:
    """Hears what the store's logger says."""
    logger, handler = logging.getLogger("mirror.stores.containerd.connection"), Transitions()
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    yield handler
    logger.setLevel(level)
    logger.removeHandler(handler)


def content_keys(image: "Image") -> set[bytes]:
    return {Digest.parse(digest).key for digest in image.digests}


def tag_key(name: str) -> bytes:
    return Reference.parse(name).key


def meaning(store: ContainerdStore, name: str) -> str | None:
    tag = store.tag(Reference.parse(name))
    return str(tag.digest) if tag else None


@pytest.fixture
def containerd(start_containerd: "Callable[..., Containerd]") -> "Containerd":
    return start_containerd()


def test_what_is_there_at_the_start_is_reported_when_start_returns(
    containerd: "Containerd", recorder: "Recorder", make_image: "Callable[..., Image]"
) -> None:
    image = make_image(MADE, [100_000, 0])
    containerd.import_image(image)

    async def check() -> None:
        async with following(containerd, recorder) as store:
            assert store.connected
            assert content_keys(image) | {tag_key(MADE)} <= recorder.keys
            assert store.counts == (len(recorder.keys) - 1, 1)

    run(check())


def test_open_reads_the_bytes_from_the_content_folder(
    containerd: "Containerd", recorder: "Recorder", make_image: "Callable[..., Image]"
) -> None:
    image = make_image(MADE, [3_000_000])
    containerd.import_image(image)

    async def check() -> None:
        async with following(containerd, recorder) as store:
            for digest in image.digests:
                held = store.open(Digest.parse(digest))
                assert held is not None
                with held:
                    assert (held.size, held.store) == (image.size(digest), "containerd")
                    assert os.pread(held.fd, held.size + 1, 0) == image.read(digest)

    run(check())


def test_an_import_and_a_tag_by_hand_appear_while_running(
    containerd: "Containerd", recorder: "Recorder", make_image: "Callable[..., Image]"
) -> None:
    image = make_image(MADE, [1000])
    by_hand = "docker.io/library/nginx-not-exist:1.27.4"

    async def check() -> None:
        async with following(containerd, recorder) as store:
            assert recorder.keys == set()
            await asyncio.to_thread(containerd.import_image, image)
            await recorder.until(lambda: content_keys(image) | {tag_key(MADE)} <= recorder.keys)
            await asyncio.to_thread(containerd.tag_image, MADE, by_hand)
            await recorder.until(lambda: tag_key(by_hand) in recorder.keys)
            tag, first = store.tag(Reference.parse(by_hand)), store.tag(Reference.parse(MADE))
            assert tag is not None
            assert first is not None
            assert (str(tag.digest), tag.authority) == (image.manifest, "runtime")
            assert tag.checked_unix_s > first.checked_unix_s > 1_600_000_000

    run(check())


def test_a_tag_that_moves_means_the_new_digest(
    containerd: "Containerd", recorder: "Recorder", make_image: "Callable[..., Image]"
) -> None:
    old, new = make_image(MADE, [1000]), make_image(MADE, [1001])
    containerd.import_image(old)

    async def check() -> None:
        async with following(containerd, recorder) as store:
            await asyncio.to_thread(containerd.import_image, new)
            await recorder.until(lambda: content_keys(new) <= recorder.keys)
            await recorder.until(lambda: meaning(store, MADE) == new.manifest)
            assert tag_key(MADE) in recorder.keys
            assert recorder.twice == []

    run(check())


def test_a_removed_image_is_withdrawn_and_what_another_shares_with_it_stays(
    containerd: "Containerd", recorder: "Recorder", make_image: "Callable[..., Image]"
) -> None:
    image = make_image(MADE, [1000, 2000])
    # The same seed makes the same first layer.
    other_name = "docker.io/library/other:1"
    first, other = make_image(MADE, [5000, 6000], seed=7), make_image(other_name, [5000], seed=7)
    assert first.layers[0] == other.layers[0]
    containerd.import_image(first)
    containerd.import_image(other)

    async def check() -> None:
        async with following(containerd, recorder) as store:
            await asyncio.to_thread(containerd.remove_images, MADE)
            await recorder.until(lambda: recorder.keys == content_keys(other) | {tag_key(other_name)})
            assert store.open(Digest.parse(first.layers[1])) is None
            assert store.tag(Reference.parse(MADE)) is None
            shared = store.open(Digest.parse(other.layers[0]))
            assert shared is not None
            shared.close()
            # And it can come back.
            await asyncio.to_thread(containerd.import_image, image)
            await recorder.until(lambda: content_keys(image) <= recorder.keys)
            assert recorder.twice == []

    run(check())


def test_what_is_taken_outlives_its_image_until_nobody_takes_it(
    containerd: "Containerd", recorder: "Recorder", make_image: "Callable[..., Image]"
) -> None:
    image, other = make_image(MADE, [1000, 2000]), make_image("docker.io/library/other:1", [3000])
    containerd.import_image(image)
    containerd.import_image(other)
    manifest, last = Digest.parse(image.manifest), Digest.parse(image.layers[-1])
    settings = ContainerdSettings(leases=LeaseSettings(idle_s=0.1, look_s=0.1))

    async def check() -> None:
        async with following(containerd, recorder, settings=settings) as store:
            with store.leases.taking(manifest):
                await recorder.until(lambda: manifest in store.leases.kept)
                assert {str(digest) for digest in store.leases.kept} == set(image.digests)
                await asyncio.to_thread(containerd.remove_images, MADE, other.name)
                await recorder.until(lambda: recorder.keys == content_keys(image))
                assert containerd.contents() == set(image.digests)
                held = store.open(last)
                assert held is not None
            with held:
                await recorder.until(lambda: not recorder.keys)
                assert (containerd.contents(), containerd.leases(), len(store.leases)) == (set(), [], 0)
                assert await held.read() == image.read(str(last)), "who has opened it reads it to its end"

    run(check())


def test_leases_end_when_the_store_is_closed_and_those_of_a_crash_when_it_is_open_again(
    containerd: "Containerd",
    recorder: "Recorder",
    make_image: "Callable[..., Image]",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = make_image(MADE, [1000])
    containerd.import_image(image)
    manifest = Digest.parse(image.manifest)
    settings = ContainerdSettings(leases=LeaseSettings(idle_s=0.1, look_s=0.1))

    async def ends_nothing(leases: Leases, client: object) -> None: ...

    async def check() -> None:
        async with following(containerd, recorder) as store:
            with store.leases.taking(manifest):
                await recorder.until(lambda: manifest in store.leases.kept)
        assert containerd.leases() == []

        with monkeypatch.context() as crash:
            crash.setattr(Leases, "release", ends_nothing)
            async with following(containerd, Recorder(), settings=settings) as store:
                with store.leases.taking(manifest):
                    await recorder.until(lambda: manifest in store.leases.kept)
        assert len(containerd.leases()) == 1
        containerd.remove_images(MADE)
        async with following(containerd, fresh := Recorder(), settings=settings):
            await fresh.until(lambda: not fresh.keys)
            assert (containerd.contents(), containerd.leases()) == (set(), [])

    run(check())


def test_only_names_with_a_registry_and_a_tag_are_tags(
    containerd: "Containerd", recorder: "Recorder", make_image: "Callable[..., Image]"
) -> None:
    image = make_image(MADE, [1000])
    containerd.import_image(image)
    for name in (f"docker.io/library/made@{image.manifest}", image.manifest, "made:2", "registry.test:5000/a/b:v1"):
        containerd.tag_image(MADE, name)

    async def check() -> None:
        async with following(containerd, recorder) as store:
            assert store.counts[1] == 2
            assert {tag_key(MADE), tag_key("registry.test:5000/a/b:v1")} <= recorder.keys

    run(check())


def test_other_namespaces_are_not_seen(
    containerd: "Containerd", recorder: "Recorder", make_image: "Callable[..., Image]"
) -> None:
    theirs, ours = make_image("docker.io/library/theirs:1", [1000]), make_image(MADE, [2000])
    containerd.import_image(theirs, namespace="moby")

    async def check() -> None:
        async with following(containerd, recorder) as store:
            assert recorder.keys == set()
            await asyncio.to_thread(containerd.import_image, ours)
            await recorder.until(lambda: tag_key(MADE) in recorder.keys)
            assert store.open(Digest.parse(theirs.manifest)) is None
            assert store.tag(Reference.parse(theirs.name)) is None
            assert not recorder.keys & content_keys(theirs)

    run(check())


def test_a_killed_containerd_is_found_again_with_what_changed_meanwhile(
    containerd: "Containerd",
    recorder: "Recorder",
    make_image: "Callable[..., Image]",
    transitions: Transitions,
) -> None:
    before, after = make_image(MADE, [1000]), make_image("docker.io/library/later:1", [2000])
    containerd.import_image(before)
    up, down = "containerd connected", "containerd not connected, trying on"

    async def check() -> None:
        async with following(containerd, recorder) as store:
            known = set(recorder.keys)
            containerd.kill()
            await transitions.until(up, down)
            assert not store.connected
            assert recorder.keys == known
            held = store.open(Digest.parse(before.layers[0]))
            assert held is not None, "the files outlive the daemon"
            held.close()

            await asyncio.to_thread(change_behind_its_back)
            await recorder.until(lambda: tag_key(after.name) in recorder.keys)
            await recorder.until(lambda: tag_key(MADE) not in recorder.keys)
            await transitions.until(up, down, up)
            assert store.connected
            assert store.open(Digest.parse(before.layers[0])) is None

    def change_behind_its_back() -> None:
        containerd.start()
        containerd.import_image(after)
        containerd.remove_images(MADE)

    run(check())
    assert transitions.seen == [up, down, up]


def test_a_containerd_that_is_not_there_yet_is_waited_for(
    containerd: "Containerd", recorder: "Recorder", make_image: "Callable[..., Image]"
) -> None:
    image = make_image(MADE, [1000])
    containerd.import_image(image)
    containerd.kill()
    containerd.socket.unlink(missing_ok=True)

    async def check() -> None:
        async with following(containerd, recorder) as store:
            assert not store.connected
            await asyncio.to_thread(containerd.start)
            await recorder.until(lambda: tag_key(MADE) in recorder.keys)
            assert content_keys(image) <= recorder.keys

    run(check())


def test_a_stopped_containerd_holds_up_neither_start_nor_close(containerd: "Containerd", recorder: "Recorder") -> None:
    containerd.send(signal.SIGSTOP)

    async def check() -> None:
        async with asyncio.timeout(10), following(containerd, recorder) as store:
            assert not store.connected

    run(check())


def test_a_file_that_is_gone_is_no_longer_advertised(
    containerd: "Containerd", recorder: "Recorder", make_image: "Callable[..., Image]"
) -> None:
    image = make_image(MADE, [1000])
    containerd.import_image(image)
    lost = Digest.parse(image.layers[0])

    async def check() -> None:
        async with following(containerd, recorder) as store:
            containerd.blob_path(str(lost)).unlink()
            assert lost.key in recorder.keys
            assert store.open(lost) is None
            assert lost.key not in recorder.keys
            assert store.open(lost) is None
            assert recorder.twice == []

    run(check())


def test_a_file_cut_short_is_never_advertised(
    containerd: "Containerd", recorder: "Recorder", make_image: "Callable[..., Image]"
) -> None:
    """A power failure can leave files shorter than containerd's database says."""
    image = make_image(MADE, [1000])
    containerd.import_image(image)
    os.truncate(containerd.blob_path(image.layers[0]), 0)

    async def check() -> None:
        async with following(containerd, recorder) as store:
            assert store.open(Digest.parse(image.layers[0])) is None
            assert recorder.keys & content_keys(image) == content_keys(image) - {Digest.parse(image.layers[0]).key}

    run(check())


@pytest.mark.parametrize("when", ["before it was served", "after it was served"])
def test_a_file_with_one_byte_changed_is_not_served_and_not_deleted(
    containerd: "Containerd", recorder: "Recorder", make_image: "Callable[..., Image]", when: str
) -> None:
    image = make_image(MADE, [3_000_000])
    containerd.import_image(image)
    layer, damaged = Digest.parse(image.layers[0]), []

    async def read(store: ContainerdStore) -> bytes | None:
        held = store.open(layer)
        if held is None:
            return None
        with held:
            return await held.read()

    async def check() -> None:
        store = ContainerdStore(f"unix://{containerd.socket}", on_damaged=lambda: damaged.append(layer))
        await store.start(recorder)
        path = containerd.blob_path(str(layer))
        right = path.read_bytes()
        try:
            if when == "after it was served":
                assert await read(store) == right
            flip(path, 1_500_000)
            with pytest.raises(Corrupt):
                await read(store)
            assert damaged == [layer]
            assert layer.key not in recorder.keys
            assert await read(store) is None
            assert path.exists(), "it is not ours to delete"
            # The next listing does not take it for new; when it has changed, it is served again.
            await asyncio.to_thread(containerd.tag_image, MADE, "docker.io/library/made:2")
            await recorder.until(lambda: tag_key("docker.io/library/made:2") in recorder.keys)
            assert layer.key not in recorder.keys
            path.write_bytes(right)
            await asyncio.to_thread(containerd.tag_image, MADE, "docker.io/library/made:3")
            await recorder.until(lambda: layer.key in recorder.keys)
            assert await read(store) == right
        finally:
            await store.close()

    run(check())


def test_pieces_are_known_once_the_whole_was_verified(
    containerd: "Containerd", recorder: "Recorder", make_image: "Callable[..., Image]"
) -> None:
    image = make_image(MADE, [6_000_000])
    containerd.import_image(image)
    layer = Digest.parse(image.layers[0])

    async def check() -> None:
        async with following(containerd, recorder) as store:
            content = containerd.blob_path(str(layer)).read_bytes()
            held = store.open(layer)
            assert held is not None
            with held:
                assert await held.prefixes() is None
                assert await held.is_right()
                count = prefix_count(len(content))
                assert await held.prefixes() == tuple(
                    hashlib.sha256(content[: number * 1024 * 1024]).digest() for number in range(1, count + 1)
                )
            again = store.open(layer)
            assert again is not None
            with again:
                flip(containerd.blob_path(str(layer)), 7)
                assert not await again.is_right()
            assert layer.key not in recorder.keys

    run(check())


def test_without_access_to_the_content_folder_only_tags_are_served(
    containerd: "Containerd",
    recorder: "Recorder",
    make_image: "Callable[..., Image]",
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As in a container that has the socket mounted, but not the folder."""
    image = make_image(MADE, [1000])
    containerd.import_image(image)
    blobs = containerd.content_root / "blobs"
    blobs.rename(blobs.with_name("elsewhere"))

    async def check() -> None:
        async with following(containerd, recorder) as store:
            assert recorder.keys == {tag_key(MADE)}
            assert store.open(Digest.parse(image.manifest)) is None
            await asyncio.to_thread(containerd.tag_image, MADE, "docker.io/library/made:2")
            await recorder.until(lambda: tag_key("docker.io/library/made:2") in recorder.keys)
            errors = [record for record in caplog.records if record.levelno == logging.ERROR]
            assert len(errors) == 1
            assert "only its tags are served" in errors[0].getMessage()
            # Mounted after all: found at the next listing.
            blobs.with_name("elsewhere").rename(blobs)
            await asyncio.to_thread(containerd.tag_image, MADE, "docker.io/library/made:3")
            await recorder.until(lambda: content_keys(image) <= recorder.keys)

    run(check())
