"""Where scenarios make sense."""

import pytest

from bench.lab.modes.table import MODES
from bench.lab.run import fits
from bench.lab.scenarios import SCENARIOS


@pytest.mark.parametrize(
    ("scenario", "without"),
    [
        ("fanout", set()),
        ("vanish", set()),
        ("lonely", {"direct", "unshared"}),
        ("discover", {"direct", "unshared", "pullthrough"}),
    ],
)
def test_a_scenario_is_run_in_all_modes_that_have_what_it_needs(scenario: str, without: set[str]) -> None:
    assert {name for name, kind in MODES.items() if not fits(kind, SCENARIOS[scenario].needs)} == without


@pytest.mark.parametrize("scenario", ["discover", "idle"])
def test_where_nobody_pulls_one_node_is_enough(scenario: str) -> None:
    assert not SCENARIOS[scenario].pulls
    assert SCENARIOS[scenario].nodes_least == 1
