"""One agent per data folder."""

import stat
from pathlib import Path

import pytest

from mirror.errors import ConfigError
from mirror.stores.folder_lock import locked


def test_a_folder_is_made_locked_and_given_back(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    for _ in range(2):
        with locked(folder):
            assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "lock")] == [0o700, 0o600]
            with pytest.raises(ConfigError, match="another agent uses"), locked(folder):
                pass


def test_a_folder_that_cannot_be_made_is_the_operators_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="data-dir: cannot write to"), locked(tmp_path / "file" / "b"):
        pass
