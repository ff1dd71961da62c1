"""Files that are not what they were: no client gets a wrong byte, none notices where another has the content."""

import asyncio
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mirror import fileio
from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.settings import SpoolSettings
from mirror.sources.peers.protocol import ROLE_HEADER
from mirror.stores.cache.folder import Folder
from tests.loopback.lab import STEADY
from tests.loopback.nodes import Cluster, Node, cluster
from tests.loopback.servers import LARGE, MIB, content_of, run
from tests.rot import flip

AT = 3 * MIB + 17
FORGETFUL = replace(STEADY, fetch=replace(STEADY.fetch, absent_s=0.0))
"""Upstream may have at once what it had not a moment ago."""

MANIFEST = json.dumps(
    {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {}, "layers": []}
).encode()


def file_of(node: Node, content: Content) -> Path:
    name = content.digest.hex
    return node.folder / "blobs" / "sha256" / name[:2] / name


HARM: dict[str, Callable[[Path], None]] = {
    "a byte in the middle": lambda path: flip(path, AT),
    "the first byte": lambda path: flip(path, 0),
    "the last byte": lambda path: flip(path, len(LARGE) - 1),
    "short": lambda path: os.truncate(path, AT),
    "empty": lambda path: os.truncate(path, 0),
    "long": lambda path: os.truncate(path, len(LARGE) + 1),
    "gone": lambda path: path.unlink(),
}
each_harm = pytest.mark.parametrize("harm", HARM.values(), ids=HARM)


async def held_and_harmed(it: Cluster, node: Node, harm: Callable[[Path], None]) -> Content:
    content = await it.give(node, LARGE)
    harm(file_of(node, content))
    return content


@each_harm
def test_a_client_gets_right_bytes_in_one_answer_where_upstream_has_them(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 1) as it:
            (node,) = it.nodes
            content = it.origin.has(LARGE)
            await it.give(node, LARGE)
            harm(file_of(node, content))
            assert await node.pull(content) == LARGE
            assert it.origin.bytes_of(content)
            assert node.held(content), "a new copy took the place of the damaged one"
            assert await node.pull(content) == LARGE

    run(story())


@each_harm
def test_a_client_gets_right_bytes_in_one_answer_where_another_member_has_them(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 2) as it:
            node, other = it.nodes
            content = await held_and_harmed(it, node, harm)
            await it.give(other, LARGE)
            assert await node.pull(content) == LARGE
            assert node.held(content)
            assert node.lies() == other.lies() == 0

    run(story())


FULL_FROM = 4 * MIB
"""Where a disk is found full, in bytes."""


def fill_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the disk have place for the first bytes of each file alone."""
    really = os.posix_fallocate

    def full_from(fd: int, first: int, count: int) -> None:
        if first + count > FULL_FROM:
            raise OSError(errno.ENOSPC, "No space left on device")
        really(fd, first, count)

    monkeypatch.setattr(os, "posix_fallocate", full_from)


SENDERS = {"upstream": 0, "two holders": 2, "one holder, on whose word alone the size rests": 1}
"""Who sends, and how many hold it; what one holds is not upstream."""


@pytest.mark.parametrize("start", [0, 2 * MIB + 5])
@pytest.mark.parametrize("sender", SENDERS)
def test_a_client_notices_nothing_if_others_fill_the_disk_while_a_blob_arrives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sender: str, start: int
) -> None:
    async def story() -> None:
        settings = replace(STEADY, spool=SpoolSettings(reserve_bytes=MIB))
        async with cluster(tmp_path, 3, settings=settings) as it:
            node, *others = it.nodes
            content = content_of(LARGE) if sender.startswith("one") else it.origin.has(LARGE)
            for other in others[: SENDERS[sender]]:
                assert await it.give(other, LARGE) == content
            fill_disk(monkeypatch)
            answer = await node.get(content, headers={"Range": f"bytes={start}-"} if start else None)
            assert answer.complete
            assert answer.body == LARGE[start:]
            assert not node.held(content)

    run(story())


@pytest.mark.parametrize("sender", SENDERS)
def test_a_client_notices_nothing_if_somebody_removes_the_cache_while_a_blob_arrives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sender: str
) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 3, settings=STEADY) as it:
            node, *others = it.nodes
            content = content_of(LARGE) if sender.startswith("one") else it.origin.has(LARGE)
            for other in others[: SENDERS[sender]]:
                await it.give(other, LARGE)
            really = Folder.publish

            def removed_before(folder: Folder, name: str) -> None:
                shutil.rmtree(folder.path)
                really(folder, name)

            with monkeypatch.context() as patch:
                patch.setattr(Folder, "publish", removed_before)
                assert await node.pull(content) == LARGE
                assert not node.held(content)
            assert await node.pull(content) == LARGE
            assert node.held(content)

    run(story())


def test_a_damaged_copy_is_replaced_though_the_disk_is_full_before_anybody_confirms_the_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        settings = replace(STEADY, spool=SpoolSettings(reserve_bytes=MIB))
        async with cluster(tmp_path, 2, settings=settings) as it:
            node, other = it.nodes
            content = await it.give(other, LARGE)
            assert await held_and_harmed(it, node, HARM["a byte in the middle"]) == content
            fill_disk(monkeypatch)
            answer = await node.get(content)
            assert answer.complete
            assert answer.body == LARGE

    run(story())


@each_harm
def test_where_nobody_else_has_it_an_answer_is_cut_short_or_refused_and_never_wrong(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 1) as it:
            (node,) = it.nodes
            content = await held_and_harmed(it, node, harm)
            answer = await node.get(content)
            assert not (answer.status == 200 and answer.complete)
            if answer.status == 200:
                assert LARGE.startswith(answer.body)
            assert content.digest.key not in node.router.keys
            assert (await node.get(content)).status == 404
            await node.cache.close()
            assert not file_of(node, content).exists()

    run(story())


@each_harm
def test_a_member_gets_a_short_answer_or_none_and_the_blob_is_withdrawn(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 1) as it:
            (node,) = it.nodes
            content = await held_and_harmed(it, node, harm)
            it.origin.has(LARGE)  # which a holder does not ask
            answer = await node.ask(f"/v2/{content.path}", peer=True)
            if answer.status == 200:
                assert not answer.complete
                assert LARGE.startswith(answer.body)
            else:
                assert answer.status == 404
            assert content.digest.key not in node.router.keys
            assert it.origin.bytes_of(content) == 0

    run(story())


def test_a_member_that_asks_others_too_gets_right_bytes_where_one_copy_is_damaged(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 3) as it:
            asking, damaged, right = it.nodes
            content = await held_and_harmed(it, damaged, HARM["a byte in the middle"])
            await it.give(right, LARGE)
            assert await asking.insist(content) == LARGE
            assert asking.lies() == 0, "nobody sent wrong bytes"

    run(story())


@pytest.mark.parametrize(("start", "stop"), [(AT - 10, AT + 10), (0, 100), (AT + MIB, AT + MIB + 5)])
def test_a_range_of_a_damaged_copy_is_right_too(tmp_path: Path, start: int, stop: int) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 1) as it:
            (node,) = it.nodes
            content = it.origin.has(LARGE)
            await held_and_harmed(it, node, HARM["a byte in the middle"])
            answer = await node.get(content, headers={"Range": f"bytes={start}-{stop - 1}"})
            assert (answer.status, answer.complete, answer.body) == (206, True, LARGE[start:stop])

    run(story())


def test_a_damaged_manifest_is_fetched_anew_and_given_to_no_member(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 1) as it:
            (node,) = it.nodes
            content = it.origin.has(MANIFEST, "manifests")
            await it.give(node, MANIFEST)
            flip(file_of(node, content), 5)
            assert (await node.ask(f"/v2/{content.path}", peer=True)).status == 404
            assert content.digest.key not in node.router.keys
            await it.give(node, MANIFEST)
            flip(file_of(node, content), 5)
            assert (await node.get(content)).body == MANIFEST
            assert node.held(content)

    run(story())


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EIO])
def test_what_cannot_be_opened_now_is_fetched_elsewhere_or_refused_and_nothing_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 1, settings=FORGETFUL) as it:
            (node,) = it.nodes
            content = await it.give(node, LARGE)
            path, real = file_of(node, content), os.open

            def fails(name: str | Path, *args: int) -> int:
                if Path(name) == path:
                    raise OSError(code, os.strerror(code), str(name))
                return real(name, *args)

            with monkeypatch.context() as patch:
                patch.setattr(os, "open", fails)
                assert (await node.ask(f"/v2/{content.path}", peer=True)).status in (404, 503)
                assert (await node.get(content)).status in (404, 503)
                assert path.read_bytes() == LARGE
                it.origin.has(LARGE)
                if code not in (errno.EMFILE, errno.ENFILE):
                    assert await node.pull(content) == LARGE
            assert path.read_bytes() == LARGE
            assert await node.pull(content) == LARGE

    run(story())


def test_a_disk_that_fails_in_the_middle_is_not_noticed_where_upstream_has_the_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 1, settings=FORGETFUL) as it:
            (node,) = it.nodes
            content = await it.give(node, LARGE)
            assert await node.pull(content) == LARGE  # now there is a proof
            path, real = file_of(node, content), fileio.read_parts
            os.utime(path)  # whoever reads it from now on checks it anew
            found = path.stat().st_ino

            def fails(fd: int, start: int, stop: int, buffer: bytearray) -> Iterator[memoryview]:
                if os.fstat(fd).st_ino == found and start >= 2 * MIB:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                return real(fd, start, stop, buffer)

            monkeypatch.setattr("mirror.stores.checking.read_parts", fails)
            assert not (await node.get(content)).complete, "nobody else has it"
            assert content.digest.key not in node.router.keys
            assert path.stat().st_ino == found, "the file is not deleted"
            it.origin.has(LARGE)
            assert await node.pull(content) == LARGE
            assert node.held(content)

    run(story())


def test_a_home_that_is_asked_for_what_it_cannot_open_says_that_it_is_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 1) as it:
            (node,) = it.nodes
            content = await it.give(node, LARGE)

            def lacks(name: str | Path, *args: int) -> int:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(name))

            with monkeypatch.context() as patch:
                patch.setattr("mirror.stores.cache.served.open_quietly", lacks)
                answer = await node.ask(f"/v2/{content.path}", peer=True, headers={ROLE_HEADER: "home"})
            assert (answer.status, answer.headers["Skvaller-Reason"]) == (503, "busy")
            assert node.held(content)

    run(story())


def test_many_clients_of_a_damaged_copy_share_one_new_fetch(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 1) as it:
            (node,) = it.nodes
            content = it.origin.has(LARGE)
            await held_and_harmed(it, node, HARM["a byte in the middle"])
            bodies = await asyncio.gather(*(node.pull(content) for _ in range(5)))
            assert {Digest.of(body) for body in bodies} == {content.digest}
            assert it.origin.bytes_of(content) <= len(LARGE)

    run(story())
