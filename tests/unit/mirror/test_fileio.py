"""Reading without stalling: what is read is right, warm or cold, and threads outlive no descriptor."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from mirror.fileio import cached, in_thread, read, read_small, replace, resident


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 1024)
    return path


def test_bytes_are_right_whether_the_kernel_has_them_or_not(path: Path) -> None:
    expected = path.read_bytes()
    with path.open("rb") as file:
        assert asyncio.run(read(file.fileno(), 100, 5000)) == expected[100:5100]
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert asyncio.run(read(file.fileno(), 100, 200_000)) == expected[100:200_100]


def test_bytes_just_written_are_known_to_be_warm(path: Path) -> None:
    with path.open("rb") as file:
        try:
            os.preadv(file.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT)
        except OSError as error:
            pytest.skip(f"this file system cannot tell: {error}")
        assert resident(file.fileno(), 0, path.stat().st_size)


def test_on_a_file_system_in_memory_bytes_are_read_without_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """It refuses RWF_NOWAIT, but its pages can be counted, where the kernel can do that."""
    try:
        memory = os.memfd_create("warm")
    except OSError as error:
        pytest.skip(f"no file in memory: {error}")
    with os.fdopen(memory, "w+b") as file:
        file.write(bytes(range(256)) * 1024)
        file.flush()
        if not cached(file.fileno(), 0, 256 * 1024):
            pytest.skip("this kernel cannot count pages")
        assert resident(file.fileno(), 0, 256 * 1024)
        assert not resident(file.fileno(), 256 * 1024, 1)
        monkeypatch.setattr("mirror.fileio.in_thread", None)
        assert asyncio.run(read(file.fileno(), 100, 5000)) == (bytes(range(256)) * 1024)[100:5100]


def test_where_the_file_system_cannot_tell_bytes_count_as_cold() -> None:
    with open("/proc/self/status", "rb") as file:
        assert not resident(file.fileno(), 0, 10)
        assert asyncio.run(read(file.fileno(), 0, 5)) == b"Name:"


def test_a_file_that_ends_before_is_an_error(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file, pytest.raises(OSError, match=f"the file ends at byte {size}"):
        asyncio.run(read(file.fileno(), size - 10, 11))


def test_cancelled_file_work_is_waited_for() -> None:
    async def main() -> None:
        started, may_end, ended = threading.Event(), threading.Event(), threading.Event()

        def work() -> None:
            started.set()
            may_end.wait(10)
            ended.set()

        task = asyncio.create_task(in_thread(work))
        await asyncio.to_thread(started.wait, 10)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    asyncio.run(main())


def test_a_small_file_comes_whole_and_says_whether_others_may_read_it(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.touch(0o600)
    file.write_bytes(b"1234")
    assert read_small(file, 4) == (b"1234", False)
    file.chmod(0o640)
    assert read_small(file, 4) == (b"1234", True)
    with pytest.raises(ValueError, match="secret must be a regular file of at most 3 bytes"):
        read_small(file, 3)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe must be a regular file"):
        read_small(tmp_path / "pipe", 3)


@pytest.mark.parametrize("durably", [False, True])
def test_a_file_that_is_written_anew_is_the_old_one_or_the_new_one(tmp_path: Path, durably: bool) -> None:
    path = tmp_path / "file"
    replace(path, b"old", durably=durably)
    with path.open("rb") as reader:
        replace(path, b"new", durably=durably)
        assert reader.read() == b"old", "who had it open reads on"
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o600)
    (tmp_path / "file.new").mkdir()
    with pytest.raises(IsADirectoryError):
        replace(path, b"newer", durably=durably)
    assert path.read_bytes() == b"new"


def test_a_file_that_outlives_a_loss_of_power_is_on_the_disk_before_its_name_and_then_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[bool, bool]] = []
    path = tmp_path / "file"

    def fsync(fd: int) -> None:
        synced.append((os.path.isdir(f"/proc/self/fd/{fd}"), path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    replace(path, b"content", durably=True)
    assert synced == [(False, False), (True, True)]
