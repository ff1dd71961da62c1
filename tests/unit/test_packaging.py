"""What is installed: this project's packages and no namesakes, and the oldest libraries that it is tested with.

The import packages have namesakes on PyPI, and pip mixes two distributions of one package without a word.
"""

import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

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
