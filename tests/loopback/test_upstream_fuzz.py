"""Whatever a registry answers, the client of registries keeps its rules: what fuzzing kept, and some more at random."""

import random
from pathlib import Path

import pytest

from tests.fuzz.registry import registry

CORPUS = Path(__file__).parents[1] / "fuzz" / "corpus" / "registry"
SCRIPTS = sorted(CORPUS.iterdir())


def test_the_corpus_is_there_and_small() -> None:
    sizes = [path.stat().st_size for path in SCRIPTS]
    assert 10 <= len(sizes) <= 60
    assert sum(sizes) <= 25 * 1024


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_the_corpus_breaks_no_rule(path: Path) -> None:
    registry(path.read_bytes())


@pytest.mark.parametrize("seed", range(8))
def test_random_answers_break_no_rule(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(3):
        registry(rng.randbytes(rng.choice((20, 60, 200, 600))))
