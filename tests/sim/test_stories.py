"""Golden traces: short stories that a person has read and found right.

They change when the protocol, or the order in which nodes draw chance, does. Then read what became of them, and if that
is right, renew them:

    RENEW_STORIES=1 python -m pytest tests/sim/test_stories.py
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gossip.sim.stories import STORIES

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_story_goes_as_a_person_found_right(story: Callable[[], str]) -> None:
    path = GOLDEN / f"{story.__name__}.txt"
    told = f"# {story.__doc__}\n{story()}"
    if os.environ.get("RENEW_STORIES"):
        path.write_text(told)
    assert told == path.read_text(), (
        "the story goes differently now; if that is right, renew it: "
        "RENEW_STORIES=1 python -m pytest tests/sim/test_stories.py"
    )


def test_every_golden_trace_is_of_a_story() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == {story.__name__ for story in STORIES}
