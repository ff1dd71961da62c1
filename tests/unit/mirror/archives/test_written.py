"""The file that an archive is written into."""

import errno
import os
from pathlib import Path

import pytest

from mirror.archives.written import target
from mirror.errors import ArchiveError


def fill(place: Path) -> None:
    with target(str(place)) as out:
        out.write(b"begun")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_what_the_next_run_goes_on_from_and_says_so(tmp_path: Path) -> None:
    place = tmp_path / "images.tar"
    with pytest.raises(ArchiveError, match=r"No space left on device; make room .* from .*images\.tar\.partial"):
        fill(place)
    assert not place.exists()
    assert Path(f"{place}.partial").read_bytes() == b"begun"
