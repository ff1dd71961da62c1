"""What coverage-guided fuzzing kept, run again: each input reaches code that no other one does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CORPUS = Path(__file__).parents[3] / "fuzz" / "corpus"


@pytest.mark.parametrize("target", ["datagrams", "streams", "files"])
def test_corpus_breaks_no_rule(fuzz: Callable[[str], Any], target: str) -> None:
    inputs = sorted((CORPUS / target).iterdir())
    assert inputs
    for path in inputs:
        try:
            fuzz("targets").TARGETS[target](path.read_bytes())
        except Exception as error:
            error.add_note(f"replay: python -m tests.fuzz.run replay {path} --target {target}")
            raise


def test_corpus_stays_small() -> None:
    sizes = [path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()]
    assert len(sizes) <= 200
    assert sum(sizes) <= 100 * 1024
