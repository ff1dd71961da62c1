"""What is written down of a blob that was left in part."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.stores import HashedRange
from mirror.stores.cache.left_ranges import RANGES_MAX, read_ranges, write_ranges

SIZE = 1000
RANGES = [HashedRange(900, 1000, b"a" * 32), HashedRange(0, 10, b"b" * 32)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.ranges"


def test_it_reads_back_and_only_its_owner_may_read_it(path: Path) -> None:
    write_ranges(path, SIZE, RANGES)
    assert read_ranges(path, SIZE) == RANGES
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("size", [SIZE - 1, SIZE + 1])
def test_of_another_size_there_is_nothing(path: Path, size: int) -> None:
    write_ranges(path, SIZE, RANGES)
    assert read_ranges(path, size) == []


def test_no_file_is_nothing(path: Path) -> None:
    assert read_ranges(path, SIZE) == []


def test_it_is_bounded(path: Path) -> None:
    write_ranges(path, 10**6, [HashedRange(at, at + 1, b"a" * 32) for at in range(0, 2 * RANGES_MAX + 10, 2)])
    assert len(read_ranges(path, 10**6)) == RANGES_MAX


@given(st.binary(max_size=60), st.integers(0, 140))
def test_what_is_damaged_is_nothing(tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int) -> None:
    path = tmp_path_factory.mktemp("ranges") / "x"
    write_ranges(path, SIZE, RANGES)
    whole = path.read_bytes()
    damaged = whole[:at] + junk
    path.write_bytes(damaged)
    assert read_ranges(path, SIZE) == ([] if damaged != whole else RANGES)


def test_a_disk_that_takes_nothing_is_no_error(tmp_path: Path) -> None:
    write_ranges(tmp_path / "missing" / "x", SIZE, RANGES)
