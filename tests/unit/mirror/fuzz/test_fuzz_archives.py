"""Archives in which chance has changed anything: each is read, or an error names what is wrong."""

import random
from collections.abc import Callable
from typing import Any

import pytest

SCRIPTS = 100


@pytest.mark.parametrize("seed", range(2))
def test_whatever_is_in_an_archive_breaks_no_rule(fuzz: Callable[[str], Any], seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(SCRIPTS):
        script = rng.randbytes(rng.randrange(1, 120))
        try:
            fuzz("archives").archives(script)
        except Exception as error:
            error.add_note(f"script: {script.hex()}")
            raise


def test_some_archives_stay_whole_and_some_do_not(fuzz: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts reach what reads manifests, or they would prove nothing."""
    module, outcomes = fuzz("archives"), list[str]()
    monkeypatch.setattr(module, "give_names", lambda images, wanted: outcomes.append("images"))
    monkeypatch.setattr(module, "expect_a_line", lambda error: outcomes.append(str(error)[:12]))
    rng = random.Random(9)
    for _ in range(SCRIPTS):
        module.archives(rng.randbytes(rng.randrange(1, 30)))
    assert outcomes.count("images") > SCRIPTS // 10
    assert len(set(outcomes)) > 5
