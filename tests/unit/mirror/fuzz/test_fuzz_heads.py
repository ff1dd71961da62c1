"""Heads of HTTP that strangers and members write, by chance and from what fuzzing kept: none breaks a rule."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CORPUS = Path(__file__).parents[3] / "fuzz" / "corpus"
SCRIPTS = 100


@pytest.mark.parametrize("target", ["heads", "answers"])
def test_corpus_breaks_no_rule(fuzz: Callable[[str], Any], target: str) -> None:
    inputs = sorted((CORPUS / target).iterdir())
    assert inputs
    for path in inputs:
        try:
            fuzz("heads").TARGETS[target](path.read_bytes())
        except Exception as error:
            error.add_note(f"replay: python -m tests.fuzz.run replay {path} --target {target}")
            raise


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("target", ["heads", "answers"])
def test_whatever_is_said_breaks_no_rule(fuzz: Callable[[str], Any], target: str, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(SCRIPTS):
        script = rng.randbytes(rng.randrange(1, 300))
        try:
            fuzz("heads").TARGETS[target](script)
        except Exception as error:
            error.add_note(f"script: {script.hex()}")
            raise


def test_requests_and_answers_get_through(fuzz: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts reach the endpoint, or they would prove nothing."""
    module = fuzz("heads")
    reached: list[int] = []
    end = module.Listened.end

    def note(connection: Any) -> None:
        end(connection)
        reached.append(connection.answered)

    monkeypatch.setattr(module.Listened, "end", note)
    rng = random.Random(9)
    for _ in range(100):
        module.heads(rng.randbytes(200))
    assert sum(count > 1 for count in reached) > 5
