"""The library's page names everything that is public."""

import re
from pathlib import Path

import pytest

import gossip

PAGE = (Path(__file__).parents[3] / "docs" / "gossip.md").read_text()


@pytest.mark.parametrize("name", gossip.__all__)
def test_page_names_what_is_public(name: str) -> None:
    assert re.search(rf"\b{name}\b", PAGE)
