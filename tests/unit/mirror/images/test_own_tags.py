"""Tags that a cluster's own people set: all nodes come to the same answer, whatever they hear in which order."""

import asyncio
import os
import random
import threading
import time
from collections.abc import Callable, Collection, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mirror.errors import StorageFailed, StorageFull
from mirror.images.own_tags import OwnTags
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference, Repository
from mirror.routers import NOTE_MAX_BYTES, NOTES_MAX_BYTES
from mirror.settings import ImageSettings

APP = Repository("docker.io", "lab/app")
ONE, TWO = Digest.of(b"one"), Digest.of(b"two")
TAG = Reference(APP, "1.0")


class Shown:
    """What a store says that it has."""

    def __init__(self) -> None:
        self.keys: list[bytes] = []

    def appeared(self, keys: Collection[bytes]) -> None:
        self.keys += keys

    def vanished(self, keys: Collection[bytes]) -> None:
        for key in keys:
            self.keys.remove(key)


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story(), debug=True)


def meaning(tags: OwnTags, reference: Reference = TAG) -> Digest | None:
    tag = tags.tag(reference)
    return None if tag is None else tag.digest


def test_a_tag_is_known_is_told_and_outlasts_a_restart(tmp_path: Path) -> None:
    async def story() -> None:
        told: list[bytes] = []
        shown = Shown()
        tags = OwnTags(tmp_path / "tags", told.append)
        await tags.start(shown)
        await tags.put(TAG, ONE)
        await tags.put(Reference(APP, "2.0"), TWO)
        await tags.put(Reference(APP, "2.0"), None)
        tag = tags.tag(TAG)
        assert tag is not None
        assert (tag.digest, tag.authority) == (ONE, "pushed")
        assert abs(tag.checked_unix_s - time.time()) < 60
        assert shown.keys == [TAG.key]
        assert all(len(note) <= NOTE_MAX_BYTES for note in told)
        await tags.close()

        again, shown = OwnTags(tmp_path / "tags"), Shown()
        await again.start(shown)
        assert (meaning(again), list(again.references()), again.tags_of(APP)) == (ONE, [TAG], ["1.0"])
        assert shown.keys == [TAG.key]
        await again.close()

        other = OwnTags(tmp_path / "other")
        for note in told:
            other.heard(note)
        assert (meaning(other), other.tags_of(APP)) == (ONE, ["1.0"])
        await other.close()

    run(story)


def test_all_agree_whatever_order_they_hear_it_in() -> None:
    async def story() -> None:
        told: list[bytes] = []
        first, second = OwnTags(None, told.append), OwnTags(None, told.append)
        await first.put(TAG, ONE)
        await second.put(TAG, TWO)  # apart from each other
        await first.put(TAG, None)
        await second.put(TAG, ONE)
        await first.put(Reference(APP, "x"), TWO)
        rng = random.Random(1)
        answers = set()
        for _ in range(20):
            node = OwnTags(None)
            for note in rng.sample(told, len(told)) + rng.sample(told, 3):
                node.heard(note)
            answers.add((meaning(node), meaning(node, Reference(APP, "x"))))
        assert len(answers) == 1
        for node in (first, second):  # also those who set them
            for note in told:
                node.heard(note)
            answers.add((meaning(node), meaning(node, Reference(APP, "x"))))
        assert len(answers) == 1

    run(story)


def test_who_sets_a_tag_last_wins_although_its_clock_is_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        told: list[bytes] = []
        ahead, behind = OwnTags(None, told.append), OwnTags(None, told.append)
        await ahead.put(TAG, ONE)
        behind.heard(told.pop())
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda: 1000.0)
            await behind.put(TAG, TWO)
        ahead.heard(told.pop())
        assert meaning(ahead) == meaning(behind) == TWO

    run(story)


def test_the_state_is_a_note_of_all_and_of_too_many_it_is_others_each_time() -> None:
    async def story() -> None:
        node = OwnTags(None)
        references = [Reference(APP, f"{number:04}-{'x' * 100}") for number in range(3000)]
        for reference in references:
            await node.put(reference, ONE)
        other = OwnTags(None)
        for _ in range(4):
            state = node.state()
            assert len(state) <= NOTES_MAX_BYTES
            other.heard(state)
        assert set(other.references()) == set(references)

    run(story)


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode({"a": 1}),
        msgspec.msgpack.encode([["docker.io/lab/app:1", str(ONE), 0, 0.0]]),
        msgspec.msgpack.encode([["docker.io/lab/app:1", str(ONE), 1 << 60, 0.0]]),
        msgspec.msgpack.encode([["docker.io/lab/app:1", "md5:1", 1, 0.0]]),
        msgspec.msgpack.encode([["lab/app:1", str(ONE), 1, 0.0]]),
        msgspec.msgpack.encode([["docker.io/../x:1", str(ONE), 1, 0.0]]),
        msgspec.msgpack.encode([["docker.io/lab/app:1", str(ONE), 1, float("inf")]]),
        b"\x91\x95\xa1x\xa1x\x01\xca\0\0\0\0" + b"\x91" * 200_000,  # lists in lists, where nothing is read
    ],
)
def test_what_a_member_says_that_is_no_tag_is_passed_over(note: bytes) -> None:
    async def story() -> None:
        node = OwnTags(None)
        node.heard(note)
        assert list(node.references()) == []

    run(story)


def test_tags_and_what_is_remembered_of_deleted_ones_are_bounded() -> None:
    async def story() -> None:
        told: list[bytes] = []
        settings = replace(ImageSettings(), own_tags_max=3, own_tags_gone_max=2)
        node, other = OwnTags(None, settings=settings), OwnTags(None, told.append)
        for number in range(3):
            await node.put(Reference(APP, str(number)), ONE)
        with pytest.raises(StorageFull):
            await node.put(Reference(APP, "3"), ONE)
        await other.put(Reference(APP, "4"), ONE)
        node.heard(told.pop())
        assert sorted(node.tags_of(APP)) == ["0", "1", "2"]
        await other.put(Reference(APP, "0"), TWO)
        node.heard(told.pop())
        assert meaning(node, Reference(APP, "0")) == TWO, "what is known moves all the same"
        for number in range(3):
            await node.put(Reference(APP, str(number)), None)
        assert (node.tags_of(APP), node.has_any(APP)) == ([], True)
        await node.put(Reference(APP, "3"), ONE)
        assert node.tags_of(APP) == ["3"]

    run(story)


def test_what_refers_to_a_manifest_is_no_tag_of_a_list() -> None:
    async def story() -> None:
        node = OwnTags(None)
        await node.refer(APP, ONE, TWO)
        assert node.referrers(APP, ONE) == [TWO]
        assert (node.referrers(APP, TWO), node.tags_of(APP), list(node.references())) == ([], [], [])
        assert node.is_meant(TWO)
        for reference in node.meaning(APP, TWO):
            await node.put(reference, None)
        assert (node.referrers(APP, ONE), node.is_meant(TWO)) == ([], False)

    run(story)


def test_a_disk_that_does_not_take_a_tag_is_told_to_who_sets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    async def story() -> None:
        tags = OwnTags(tmp_path)
        await tags.start(Shown())
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(StorageFailed, match="No space left"):
            await tags.put(TAG, ONE)
        await tags.close()

    run(story)
    assert "may be forgotten" in caplog.text


def test_files_that_say_something_else_are_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        tags = OwnTags(tmp_path)
        await tags.start(Shown())
        await tags.put(TAG, ONE)
        await tags.close()
        (tmp_path / "odd").write_bytes(b"{}")
        (tmp_path / "half.new").write_bytes(b"")
        again = OwnTags(tmp_path)
        await again.start(Shown())
        assert list(again.references()) == [TAG]
        await again.close()

    run(story)
    assert len(list(tmp_path.iterdir())) == 1
    assert "no record of a tag" in caplog.text


def test_a_member_that_changes_tags_all_the_time_fills_no_queue_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_write, force, forced = threading.Event(), os.fsync, list[int]()

    def slowly(descriptor: int) -> None:
        may_write.wait(30)
        forced.append(descriptor)
        force(descriptor)

    def note(tag: str, version: int) -> bytes:
        return msgspec.msgpack.encode([[str(Reference(APP, tag)), "", version, 0.0]])

    async def story() -> None:
        settings = replace(ImageSettings(), own_tags_max=3, own_tags_gone_max=2)
        tags = OwnTags(tmp_path, settings=settings)
        await tags.start(Shown())
        for version in range(1, 500):
            tags.heard(note("1.0", version))
        for number in range(500):
            tags.heard(note(f"other-{number}", 1))
        may_write.set()
        await tags.close()
        assert len(forced) <= 6
        known = len(tags.meaning(APP, ONE)), tags.has_any(APP)
        await tags.put(TAG, ONE)
        await tags.close()
        again = OwnTags(tmp_path, settings=settings)
        await again.start(Shown())
        assert (known, meaning(again)) == ((0, True), ONE)

    monkeypatch.setattr(os, "fsync", slowly)
    run(story)


def test_who_changes_a_tag_that_a_liar_has_set_for_ever_is_told_so() -> None:
    async def story() -> None:
        tags = OwnTags(None)
        tags.heard(msgspec.msgpack.encode([[str(TAG), str(ONE), 1 << 53, 0.0]]))
        for digest in (TWO, None):
            with pytest.raises(StorageFailed, match="nobody can change it"):
                await tags.put(TAG, digest)
        assert meaning(tags) == ONE

    run(story)
