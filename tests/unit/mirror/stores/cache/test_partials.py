"""Partial blobs: being written, or left; the one left first goes first."""

import asyncio
from pathlib import Path

from mirror.stores.cache.folder import Folder, Left
from mirror.stores.cache.partials import Partials

A, B, C = (letter * 64 for letter in "abc")


def made(path: Path) -> tuple[Folder, Partials]:
    folder = Folder(path)
    folder.ground.make()
    return folder, Partials(folder)


def put(folder: Folder, name: str, size: int, records: int = 1) -> None:
    folder.partial(name).write_bytes(bytes(size))
    folder.journal(name).write_bytes(size.to_bytes(8, "big") + bytes(32 * records))


def test_what_is_being_written_counts_apart_from_what_was_left(tmp_path: Path) -> None:
    async def check() -> None:
        folder, partials = made(tmp_path)
        is_wanted = True
        put(folder, B, 20)
        partials.restore({A: Left(10, 7)})
        writing = partials.begin(B, 20, lambda: is_wanted)
        assert (writing.continued, partials.claimed_bytes, partials.bytes, partials.any_left) == (False, 20, 7, True)
        assert (partials.was_left(A), partials.was_left(B)) == (True, False)
        writing.reserved = 16
        assert (partials.bytes, partials.bytes_to_come, partials.bytes_for_others) == (23, 4, 0)
        is_wanted = False
        assert (partials.claimed_bytes, partials.bytes_to_come, partials.bytes_for_others) == (0, 0, 16)
        again = partials.begin(A, 10)
        assert (again.continued, again.reserved) == (True, 7)
        assert (partials.claimed_bytes, partials.bytes_to_come, partials.any_left) == (10, 3, False)
        partials.leave(B)
        assert partials.finish(A) is again
        assert (partials.claimed_bytes, partials.bytes, partials.was_left(B)) == (0, 16, True)

    asyncio.run(check())


def test_of_another_size_nothing_is_continued(tmp_path: Path) -> None:
    _, partials = made(tmp_path)
    partials.restore({A: Left(10, 10)})
    assert not partials.begin(A, 11).continued
    assert (partials.bytes, partials.any_left) == (0, False)


def test_the_one_left_first_goes_first_with_its_files(tmp_path: Path) -> None:
    async def check() -> None:
        folder, partials = made(tmp_path)
        for name in (B, A):
            put(folder, name, 10)
            partials.begin(name, 10)
        for name in (B, A):
            partials.leave(name)
        await partials.evict()
        assert (partials.was_left(B), partials.was_left(A)) == (False, True)
        assert sorted(path.name for path in (tmp_path / "spool").iterdir()) == [A, f"{A}.pieces"]

    asyncio.run(check())


def test_the_folder_knows_what_can_be_continued(tmp_path: Path) -> None:
    folder, _ = made(tmp_path)
    put(folder, A, 10)
    put(folder, B, 10)
    folder.partial(B).write_bytes(b"short")
    put(folder, C, 10)
    folder.partial(C).unlink()
    left = folder.partials()
    assert left == {A: Left(10, 10)}
    folder.remove_leftovers(left, ())
    assert sorted(path.name for path in (tmp_path / "spool").iterdir()) == [A, f"{A}.pieces"]
