"""Tags on disk: the last word counts, the least recently checked goes, and junk is no tag."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from mirror.oci.digest import Digest
from mirror.oci.reference import Reference
from mirror.stores import Tag
from mirror.stores.cache.tags import TagFiles
from tests.caches import Keys

ONE, TWO, THREE = (Reference.parse(f"nginx:{number}") for number in (1, 2, 3))


def tag(content: bytes, checked_unix_s: float) -> Tag:
    return Tag(Digest.of(content), checked_unix_s, "upstream")


def opened(folder: Path, tags_max: int = 10) -> tuple[TagFiles, Keys]:
    folder.mkdir(exist_ok=True)
    tags, keys = TagFiles(folder, tags_max), Keys()
    asyncio.run(tags.restore(tags.read(), keys))
    return tags, keys


def test_the_last_word_counts_also_after_a_restart(tmp_path: Path) -> None:
    tags, keys = opened(tmp_path)
    assert tags.get(ONE) is None
    for content, checked_unix_s in ((b"old", 1.0), (b"new", 2.0)):
        asyncio.run(tags.put(ONE, tag(content, checked_unix_s), keys))
        assert tags.get(ONE) == tag(content, checked_unix_s)
    assert keys.held == {ONE.key}
    again, keys = opened(tmp_path)
    assert again.get(ONE) == tag(b"new", 2.0)
    assert keys.held == {ONE.key}


def test_of_answers_at_the_same_moment_the_last_one_is_on_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        answers = [tag(bytes(at), float(at)) for at in range(200)]
        await asyncio.gather(*(tags.put(ONE, answer, keys) for answer in answers))

    tags, keys = opened(tmp_path)
    asyncio.run(story())
    assert not caplog.records
    again, _ = opened(tmp_path)
    assert again.get(ONE) == tags.get(ONE) == tag(bytes(199), 199.0)


def test_the_least_recently_checked_of_too_many_is_forgotten_on_disk_too(tmp_path: Path) -> None:
    tags, keys = opened(tmp_path, 2)
    for number, reference in enumerate((ONE, TWO, ONE, THREE)):
        asyncio.run(tags.put(reference, tag(b"x", float(number)), keys))
    assert keys.held == {ONE.key, THREE.key}
    assert tags.get(TWO) is None
    assert len(list(tmp_path.iterdir())) == 2
    again, keys = opened(tmp_path, 1)
    assert keys.held == {THREE.key}
    assert again.get(ONE) is None


def test_a_tag_that_is_forgotten_by_hand_does_not_come_back(tmp_path: Path) -> None:
    tags, keys = opened(tmp_path)
    for reference in (ONE, TWO):
        asyncio.run(tags.put(reference, tag(b"x", 1.0), keys))
    assert asyncio.run(tags.forget(ONE, keys)) == tag(b"x", 1.0)
    assert asyncio.run(tags.forget(ONE, keys)) is None
    assert keys.held == {TWO.key}
    again, _ = opened(tmp_path)
    assert [*again.references()] == [TWO]


def test_junk_is_removed_and_so_is_what_was_not_written_to_its_end(tmp_path: Path) -> None:
    junk = [b"", b"{", b'{"reference":"nginx"}', b'{"reference":"A B","digest":"sha256:0","checked_unix_s":1}']
    for number, text in enumerate(junk):
        (tmp_path / f"{number}").write_bytes(text)
    (tmp_path / "partial.new").write_bytes(b"")
    _, keys = opened(tmp_path)
    assert keys.held == set()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bit", [1, 2, 32, 128])
def test_a_tag_with_any_byte_changed_is_asked_for_again(tmp_path: Path, bit: int) -> None:
    tags, keys = opened(tmp_path)
    asyncio.run(tags.put(ONE, tag(b"x", 1234.5), keys))
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    for at in range(len(content)):
        changed = bytearray(content)
        changed[at] ^= bit
        file.write_bytes(bytes(changed))
        again, keys = opened(tmp_path)
        known = again.get(ONE)
        assert known is None or known == tag(b"x", 1234.5), content[at : at + 1]
        assert keys.held <= {ONE.key}, "no other tag"


def test_files_are_named_by_a_hash_never_by_a_clients_text(tmp_path: Path) -> None:
    tags, keys = opened(tmp_path)
    asyncio.run(tags.put(ONE, tag(b"x", 1.0), keys))
    (file,) = tmp_path.iterdir()
    assert file.name == hashlib.sha256(str(ONE).encode()).hexdigest()


def test_a_disk_that_takes_no_tag_costs_nothing_but_its_memory_over_a_restart(tmp_path: Path) -> None:
    tags, keys = opened(tmp_path / "tags")
    (tmp_path / "tags").rmdir()
    asyncio.run(tags.put(ONE, tag(b"x", 1.0), keys))
    assert tags.get(ONE) == tag(b"x", 1.0)
