"""What unit tests of several packages need."""

import importlib
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def fuzz() -> Callable[[str], Any]:
    """Loads a module of `tests/fuzz` by its place, for tests run with nothing of the checkout on the path."""
    package = ModuleSpec("fuzzing", loader=None, is_package=True)
    package.submodule_search_locations = [str(Path(__file__).parents[1] / "fuzz")]
    sys.modules[package.name] = module_from_spec(package)
    return lambda name: importlib.import_module(f"{package.name}.{name}")
