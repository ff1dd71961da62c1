"""Programs of others are found, or the error says what is wrong with them and which option gives others."""

import stat
from pathlib import Path

import pytest

from bench.lab.programs import Programs, find, spegel_version
from bench.report import BenchError


def program(path: Path, says: str) -> Path:
    """A program that prints a line, whatever it is asked."""
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def containerd(folder: Path, version: str) -> Path:
    program(folder / "ctr", "")
    return program(folder / "containerd", f"containerd github.com/containerd/containerd {version} 1c4457e")


def test_what_the_small_client_needs_is_nothing() -> None:
    assert find(containerd=None, spegel=None, client="http", with_spegel=False) == Programs()


def test_programs_are_found_by_their_paths_and_say_their_versions(tmp_path: Path) -> None:
    found = find(
        containerd=containerd(tmp_path, "v2.1.4"),
        spegel=program(tmp_path / "spegel", "spegel version v0.7.4 abc"),
        client="ctr",
        with_spegel=True,
    )
    assert found.spegel == str(tmp_path / "spegel")
    assert found.containerd is not None
    assert found.containerd.ctr == str(tmp_path / "ctr")
    assert found.versions == {"containerd": "2.1", "spegel": "v0.7.4 abc"}


def test_a_spegel_without_a_version_is_taken_and_one_that_is_none_is_not() -> None:
    assert spegel_version("spegel version  \n", "s") is None
    assert spegel_version("spegel version v0.7.3 \n", "s") == (0, 7)
    with pytest.raises(BenchError, match="/bin/s is no Spegel"):
        spegel_version("usage: spiegel", "/bin/s")


@pytest.mark.parametrize(
    ("containerd_version", "spegel", "complaint"),
    [
        ("v2.0.9", "spegel version v0.7.4", r"2\.1 or newer.*is 2\.0.*--spegel-containerd"),
        ("1.6.20~ds1", "spegel version v0.7.4", r"2\.1 or newer.*is 1\.6.*--spegel-containerd"),
        ("v2.3.4", "spegel version v0.6.0", r"0\.7 or newer.*is 0\.6.*--spegel"),
        ("nothing", "spegel version v0.7.4", "not what a containerd says"),
    ],
)
def test_what_is_too_old_is_named(tmp_path: Path, containerd_version: str, spegel: str, complaint: str) -> None:
    old = containerd(tmp_path, containerd_version)
    with pytest.raises(BenchError, match=complaint):
        find(containerd=old, spegel=program(tmp_path / "spegel", spegel), client="ctr", with_spegel=True)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    alone = program(tmp_path / "containerd", "containerd github.com/containerd/containerd v2.1.4 x")
    with pytest.raises(BenchError, match="ctr is missing"):
        find(containerd=alone, spegel=None, client="ctr", with_spegel=True)
    with pytest.raises(BenchError, match=r"--spegel-containerd .*no such file"):
        find(containerd=tmp_path / "none", spegel=None, client="ctr", with_spegel=True)


def test_what_is_not_on_the_path_can_be_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = containerd(tmp_path, "v2.1.4")
    monkeypatch.setenv("PATH", "/nowhere:/bin:/usr/bin")
    monkeypatch.setattr("shutil.which", lambda command: None)
    with pytest.raises(BenchError, match="spegel is not on PATH: give its path with --spegel"):
        find(containerd=given, spegel=None, client="ctr", with_spegel=True)
