"""A file on disk and a window in memory: who may write what, what is needed, and what may be dropped."""

import os
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.cluster.homes import MEBIBYTE
from mirror.errors import StorageFailed, StorageFull
from mirror.fetch.spool import Backing, DiskFile, MemoryWindow
from mirror.oci.ranges import RangeSet
from mirror.settings import SpoolSettings

SIZE = 20 * MEBIBYTE + 5
SETTINGS = SpoolSettings(window_bytes=8 * MEBIBYTE, window_pieces=4)
NOTHING = RangeSet()


def on_disk(size: int = SIZE) -> DiskFile:
    with tempfile.TemporaryFile() as file:
        return DiskFile(os.dup(file.fileno()), size)


@pytest.fixture(params=["disk", "memory"])
def backing(request: pytest.FixtureRequest) -> Iterator[Backing]:
    made = on_disk() if request.param == "disk" else MemoryWindow(SIZE, SETTINGS)
    with closing(made):
        yield made


@pytest.fixture
def window() -> Iterator[MemoryWindow]:
    with closing(MemoryWindow(SIZE, SETTINGS)) as made:
        yield made


def read(backing: Backing, start: int, stop: int) -> bytes:
    return os.pread(backing.fd, stop - start, start)


def test_no_byte_is_written_twice_unless_it_was_released(backing: Backing) -> None:
    assert backing.put(10, b"aaaa") == [(10, 14)]
    assert backing.put(8, b"bbbbbbbb") == [(8, 10), (14, 16)]
    assert read(backing, 8, 16) == b"bbaaaabb"
    assert backing.put(9, b"cc") == []
    backing.release(11, 12)
    assert backing.put(8, b"dddddddd") == [(11, 12)]
    assert read(backing, 8, 16) == b"bbadaabb"


@settings(max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 60), st.integers(1, 40)), max_size=30))
def test_the_first_to_write_a_byte_counts_until_it_is_released(steps: list[tuple[bool, int, int]]) -> None:
    """Each step writes its own number into a range, or releases the range; the model is a list of numbers."""
    model: list[int | None] = [None] * 100
    with closing(on_disk(100)) as backing:
        for number, (is_release, start, count) in enumerate(steps, 1):
            places = range(start, start + count)
            if is_release:
                backing.release(start, start + count)
                for place in places:
                    model[place] = None
                continue
            fresh = RangeSet(*((place, place + 1) for place in places if model[place] is None))
            assert backing.put(start, bytes([number]) * count) == list(fresh)
            for place in places:
                model[place] = model[place] or number
        for place, value in enumerate(model):
            assert value is None or read(backing, place, place + 1) == bytes([value])


def test_of_threads_that_write_the_same_bytes_at_once_one_writes_each_byte(backing: Backing) -> None:
    count, at_once = 8, threading.Barrier(8)

    def write(number: int) -> list[tuple[int, int]]:
        at_once.wait()
        return [written for start in range(0, 4096, 64) for written in backing.put(start, bytes([number]) * 100)]

    with ThreadPoolExecutor(count) as threads:
        written = list(threads.map(write, range(count)))
    assert sum(stop - start for ranges in written for start, stop in ranges) == 4096 - 64 + 100
    for number, ranges in enumerate(written):
        for start, stop in ranges:
            assert read(backing, start, stop) == bytes([number]) * (stop - start)


def test_a_disk_that_takes_nothing_is_told_of(backing: Backing) -> None:
    read_only = os.open("/dev/null", os.O_RDONLY)
    os.dup2(read_only, backing.fd)
    os.close(read_only)
    with pytest.raises(StorageFailed, match="the cache's disk failed"):
        backing.put(0, b"x")


def test_a_closed_file_has_no_descriptor(backing: Backing) -> None:
    fd = backing.fd
    backing.close()
    backing.close()
    assert backing.fd == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_the_last_piece_begins_where_a_client_has_to_wait(backing: Backing) -> None:
    assert backing.piece_bytes == MEBIBYTE
    assert backing.last_piece == 20 * MEBIBYTE


@pytest.mark.parametrize("size", [0, 1, 4 * MEBIBYTE])
def test_a_small_blob_is_one_piece(size: int) -> None:
    with closing(on_disk(size)) as disk, closing(MemoryWindow(size, SETTINGS)) as memory:
        assert disk.last_piece == memory.last_piece == 0


# On disk.


def test_on_disk_all_is_needed_once_a_reader_of_this_node_has_joined() -> None:
    with closing(on_disk()) as disk:
        assert disk.local_demand([], 0, is_whole_wanted=False) == NOTHING
        assert disk.local_demand([], 0, is_whole_wanted=True) == RangeSet((0, SIZE))
        assert disk.member_demand([(5, 10), (20, SIZE)], 3) == RangeSet((5, 10), (20, SIZE))
        assert disk.read_limit(17) == SIZE
        assert disk.verified() == RangeSet((0, SIZE))


def test_on_disk_nothing_is_dropped() -> None:
    with closing(on_disk()) as disk:
        assert disk.trim(RangeSet((0, SIZE)), RangeSet) == []


# In memory.


def test_in_memory_a_reader_needs_what_comes_next_up_to_the_end_of_a_piece(window: MemoryWindow) -> None:
    assert window.lookahead(0) == 4 * MEBIBYTE
    assert window.lookahead(1) == 2 * MEBIBYTE
    assert window.lookahead(100) == MEBIBYTE
    assert window.local_demand([], 7, is_whole_wanted=True) == NOTHING
    assert window.local_demand([(5, 100)], 0, is_whole_wanted=True) == RangeSet((5, 100))
    assert window.local_demand([(5, 9 * MEBIBYTE)], 0, is_whole_wanted=True) == RangeSet((5, 3 * MEBIBYTE))
    assert window.member_demand([(5, 9 * MEBIBYTE)], 1) == RangeSet((5, 3 * MEBIBYTE + 5))
    assert window.read_limit(17) == MEBIBYTE
    assert window.verified() == NOTHING


def test_in_memory_a_reader_of_the_last_piece_needs_what_is_to_be_hashed(window: MemoryWindow) -> None:
    start = 20 * MEBIBYTE
    needed = window.local_demand([(start, SIZE)], 3 * MEBIBYTE, is_whole_wanted=True)
    assert needed == RangeSet((start, SIZE), (3 * MEBIBYTE, 6 * MEBIBYTE))


def fill(window: MemoryWindow, start: int, stop: int) -> None:
    for offset in range(start, stop, MEBIBYTE):
        window.put(offset, b"x" * (min(stop, offset + MEBIBYTE) - offset))


def held_bytes(window: MemoryWindow) -> int:
    return os.fstat(window.fd).st_blocks * 512


def test_in_memory_whole_pieces_are_dropped_lowest_first_and_none_that_is_needed(window: MemoryWindow) -> None:
    fill(window, 0, 12 * MEBIBYTE)
    assert held_bytes(window) == 12 * MEBIBYTE
    needed = RangeSet((MEBIBYTE + 5, MEBIBYTE + 6))
    dropped = window.trim(RangeSet((0, 12 * MEBIBYTE)), lambda: needed)
    assert dropped == [(0, MEBIBYTE), (2 * MEBIBYTE, 5 * MEBIBYTE)]
    assert held_bytes(window) == 8 * MEBIBYTE
    assert read(window, MEBIBYTE, 2 * MEBIBYTE) == b"x" * MEBIBYTE
    assert window.put(0, b"y" * 2 * MEBIBYTE) == [(0, MEBIBYTE)], "what was dropped can be written again"


def test_in_memory_what_lies_alone_in_a_piece_is_dropped_and_what_shares_its_pages_stays(window: MemoryWindow) -> None:
    fill(window, 8 * MEBIBYTE, 16 * MEBIBYTE)
    window.put(5000, b"a" * 10_000)
    claimed = window.claim(15_000, 16_000)  # a thread is about to write there
    os.pwrite(window.fd, b"b" * 1000, 15_000)
    before = held_bytes(window)
    present = RangeSet((5000, 15_000), (8 * MEBIBYTE, 16 * MEBIBYTE))
    assert window.trim(present, RangeSet) == [(5000, 15_000)]
    assert claimed == [(15_000, 16_000)]
    assert read(window, 15_000, 16_000) == b"b" * 1000
    assert before - held_bytes(window) == 8192
    assert window.put(5000, b"c" * 10_000) == [(5000, 15_000)]


def test_in_memory_lazy_readers_need_no_more_than_half_the_window(window: MemoryWindow) -> None:
    spans = [(0, MEBIBYTE), (5 * MEBIBYTE, 9 * MEBIBYTE), (10 * MEBIBYTE, 11 * MEBIBYTE)]
    assert window.lazy_demand(spans) == RangeSet((0, MEBIBYTE), (5 * MEBIBYTE, 8 * MEBIBYTE))


def test_on_disk_they_need_all_of_it() -> None:
    with closing(on_disk()) as disk:
        assert disk.lazy_demand([(7, 9), (0, 5)]) == RangeSet((0, 5), (7, 9))


def test_in_memory_nobody_is_asked_what_is_needed_while_the_bound_holds(window: MemoryWindow) -> None:
    def needed() -> RangeSet:
        raise AssertionError("the bound holds")

    fill(window, 0, 8 * MEBIBYTE)
    assert window.trim(RangeSet((0, 8 * MEBIBYTE)), needed) == []


def test_in_memory_the_window_holds_some_large_pieces_whatever_its_bytes() -> None:
    size = 1 << 32  # in pieces of 16 MiB
    with closing(MemoryWindow(size, SETTINGS)) as window:
        assert window.lookahead(0) == 2 * 16 * MEBIBYTE


def test_a_blob_that_memory_cannot_map_does_not_fit() -> None:
    with pytest.raises(StorageFull, match="do not pass through memory"):
        MemoryWindow((1 << 63) - 1, SETTINGS)


def test_claims_and_space_of_many_tebibytes_take_little_memory() -> None:
    size = 900 * 2**40
    with closing(on_disk(size)) as file:
        assert file.claim(0, size) == [(0, size)]
        file.take_space(0, size)
