"""Tables of the lab: of a scenario come those for which there are figures, and what was cut short says so."""

from collections.abc import Mapping

import pytest

from bench.lab.results import Found
from bench.lab.scenarios import ALIASES, SCENARIOS
from bench.lab.settings import Settings
from bench.lab.tables import report
from bench.report import Samples


def settings(scenario: str) -> Settings:
    return Settings(
        scenario=scenario,
        modes=["skvaller"],
        nodes=3,
        image=16 * 1024**2,
        layers=4,
        link=50_000_000,
        upstream=50_000_000,
        repeats=1,
        client="http",
        parallel=3,
        settle=0,
        folder=None,
        keep_logs=None,
    )


def found(**figures: float) -> Found:
    return Found("skvaller", 0, figures, {}, [])


@pytest.mark.parametrize(
    ("scenario", "figures", "columns"),
    [
        ("discover", {"found_p50_ms": 4.0}, ["mode", "found_p50_ms"]),
        ("idle", {"idle_rss_mib": 71.0}, ["mode", "idle_rss_mib"]),
        ("fanout", {"ratio": 1.1}, ["mode", "ratio"]),
    ],
)
def test_a_scenario_has_the_tables_of_its_figures_and_no_other(
    scenario: str, figures: Mapping[str, float], columns: list[str]
) -> None:
    made = report([found(**figures)], settings(scenario), {})
    assert [list(table.columns) for table in made.tables] == [columns]
    assert made.tables[0].title.startswith(f"{scenario}: 3 nodes, ")
    assert ("16 MiB" in made.tables[0].title) == SCENARIOS[scenario].pulls


def test_a_time_whose_end_was_not_seen_is_shown_as_such() -> None:
    made = report(
        [found(offered_kill_s=30.0, offered_kill_s_at_least=1.0, offered_vanish_s=4.0)], settings("discover"), {}
    )
    row = made.tables[0].rows[0]
    assert row["offered_kill_s"] == "> 30.00"
    assert row["offered_vanish_s"] == Samples([4.0])


def test_the_names_of_spegels_benchmark_mean_scenarios() -> None:
    assert ALIASES == {"create": "fanout", "update": "rolling"}
    assert set(ALIASES.values()) <= set(SCENARIOS)
    assert not set(ALIASES) & set(SCENARIOS)
