"""The journal of a partial blob: what was noted is read again, and nothing that is not whole."""

import os
from pathlib import Path

import pytest

from mirror.stores.cache.journal import Journal, has_records, read_size

SIZE = 5 * 1024 * 1024
PREFIXES = [bytes([number]) * 32 for number in range(4)]


def opened(path: Path, size: int = SIZE) -> Journal:
    return Journal(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o640), size)


def written(path: Path, count: int) -> None:
    journal = opened(path)
    for prefix in PREFIXES[:count]:
        journal.append(prefix)
    journal.close()


@pytest.mark.parametrize("count", [0, 1, 4])
def test_what_was_noted_is_read_again(tmp_path: Path, count: int) -> None:
    path = tmp_path / "journal"
    written(path, count)
    assert read_size(path) == SIZE
    assert has_records(path) is (count > 0)
    journal = opened(path)
    assert journal.prefixes == PREFIXES[:count]
    journal.close()


@pytest.mark.parametrize("cut", range(1, 32, 10))
def test_a_record_that_is_not_whole_is_cut_off(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "journal"
    written(path, 3)
    os.truncate(path, path.stat().st_size - cut)
    journal = opened(path)
    assert journal.prefixes == PREFIXES[:2]
    journal.append(PREFIXES[3])
    journal.close()
    again = opened(path)
    assert again.prefixes == [*PREFIXES[:2], PREFIXES[3]]
    again.close()


@pytest.mark.parametrize("junk", [b"", b"1234", bytes(100), (SIZE + 1).to_bytes(8, "big") + bytes(64)])
def test_junk_and_another_size_start_again(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(junk)
    journal = opened(path)
    assert journal.prefixes == []
    journal.close()
    assert path.read_bytes() == SIZE.to_bytes(8, "big")


def test_records_after_those_kept_are_struck(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    written(path, 4)
    journal = opened(path)
    journal.keep(1)
    journal.close()
    again = opened(path)
    assert again.prefixes == PREFIXES[:1]
    again.close()


def test_a_closed_journal_takes_nothing_more(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    written(path, 1)
    journal = opened(path)
    journal.close()
    journal.close()
    journal.append(PREFIXES[1])
    journal.keep(0)
    again = opened(path)
    assert again.prefixes == PREFIXES[:1]
    again.close()


def test_a_journal_that_is_missing_has_no_records(tmp_path: Path) -> None:
    assert not has_records(tmp_path / "journal")
