"""The import packages have namesakes on PyPI, and pip mixes two distributions of one package without a word."""

from importlib.metadata import packages_distributions

import pytest


@pytest.mark.parametrize("package", ["gossip", "mirror"])
def test_a_package_comes_from_this_distribution_alone(package: str) -> None:
    assert set(packages_distributions().get(package, ())) <= {"skvaller"}  # none: an editable install lists no files


@pytest.mark.parametrize("package", ["bench", "testbed", "tests"])
def test_what_is_for_the_work_alone_is_not_installed(package: str) -> None:
    assert "skvaller" not in packages_distributions().get(package, ())
