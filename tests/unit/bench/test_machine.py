"""Where benches work: a folder that is gone afterwards, and those that killed benches have left."""

from pathlib import Path

import pytest

from bench import machine
from testbed.network import PREFIX

_NO_PID = 2**22 + 1
"""More than the kernel gives any process."""


def test_what_a_killed_bench_left_is_removed_with_what_is_mounted_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{PREFIX}{_NO_PID}-left").mkdir()
    (tmp_path / "another's").mkdir()
    removed: list[Path] = []
    monkeypatch.setattr(machine, "remove_folder", removed.append)
    monkeypatch.chdir(tmp_path)
    with machine.workplace(Path(), 0) as place:
        assert place.is_dir()
    assert removed == [tmp_path / f"{PREFIX}{_NO_PID}-left"], "as the kernel names its mounts"
    assert not place.exists()
