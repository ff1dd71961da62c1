"""What is installed: this project's packages and no namesakes, and the oldest libraries that it is tested with.

The import packages have namesakes on PyPI, and pip mixes two distributions of one package without a word.
"""

import importlib.util
import os
import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("package", ["gossip", "mirror"])
def test_a_package_comes_from_this_distribution_alone(package: str) -> None:
    assert set(packages_distributions().get(package, ())) <= {"skvaller"}  # none: an editable install lists no files


@pytest.mark.parametrize("package", ["bench", "testbed", "tests"])
def test_what_is_for_the_work_alone_is_not_installed(package: str) -> None:
    assert "skvaller" not in packages_distributions().get(package, ())


def test_each_lower_bound_is_one_that_is_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["containerd"], *extras["bench"], *extras["test"]]
    lines = [line for line in (ROOT / "tests" / "lowest.txt").read_text().splitlines() if not line.startswith("#")]
    assert lines == [re.sub(r">=([0-9.]+).*", r"==\1", requirement) for requirement in wanted]


@pytest.fixture
def start() -> Any:
    """What runs first in the one file."""
    spec = importlib.util.spec_from_file_location("start", ROOT / "deploy/bundle/start.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_root_unpacks_where_nobody_else_writes(start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was unpacked there before is run as it is, so another user could have root run anything."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/mallory")  # as some sudo leaves it
    assert start.place_for(["doctor"], True) == "/root/.cache/skvaller"
    assert start.place_for(["doctor"], False) == "/home/mallory/.cache/skvaller"
    assert start.changeable("/root/.cache/skvaller") is None
    if os.geteuid() != 0:
        pytest.skip("only root has folders of its own, and of others")
    safe = Path("/var/lib/not/there")
    assert start.changeable(str(safe)) is None
    tmp_path.chmod(0o777)
    assert start.changeable(str(tmp_path / "skvaller")) == str(tmp_path)
    tmp_path.chmod(0o755)
    assert start.changeable(str(tmp_path / "skvaller")) is None
    os.chown(tmp_path, 4321, -1)
    assert start.changeable(str(tmp_path / "skvaller")) == str(tmp_path)
