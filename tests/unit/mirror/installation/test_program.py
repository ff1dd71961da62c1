"""Which Skvaller a unit can run, and how releases follow each other."""

import sys
from pathlib import Path

import pytest

from mirror.errors import ConfigError
from mirror.installation import program
from mirror.installation.places import Places
from mirror.installation.program import Releases
from tests.unit.mirror.installation.conftest import a_release


@pytest.mark.parametrize("folder", ["/root/venv/bin", "/home/ada/.venv/bin", "/tmp/x/bin"])
def test_a_command_that_the_sandbox_hides_is_refused(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", f"{folder}/python")
    monkeypatch.setattr(Path, "exists", lambda path: path == Path(folder, "skvaller"))
    with pytest.raises(ConfigError, match=r"hides .*\./dev bundle"):
        program.running()


def test_what_pip_installed_stays_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/opt/venv/bin/python")
    monkeypatch.setattr(Path, "exists", lambda path: path == Path("/opt/venv/bin/skvaller"))
    assert program.running() == program.Program("/opt/venv/bin/skvaller")


def test_a_release_that_is_not_current_can_be_forgotten(places: Places, tmp_path: Path) -> None:
    releases = Releases(places)
    old, new = (a_release(tmp_path, name).release for name in ("1.0-aa", "2.0-bb"))
    assert old is not None
    assert new is not None
    releases.switch(releases.place(old))
    releases.place(new)
    folder = places.at("/opt/skvaller")
    releases.forget(folder / "1.0-aa")
    releases.forget(folder / "2.0-bb")
    releases.forget(tmp_path / "2.0-bb")
    assert sorted(path.name for path in folder.iterdir()) == ["1.0-aa", "current"]
    assert new.exists(), "what lies elsewhere is not ours to delete"
