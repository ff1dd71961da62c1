"""Clusters under faults, by seed. A failure prints the command that replays it, and the end of the story."""

import os
import subprocess
import sys

import pytest

from gossip.sim.scenario import SCENARIOS, Tally, run, runs

JOBS = 2
PORTION = 20
SEEDS = {
    "storm": 100,
    "storm-exact": 10,
    "filters": 10,
    "filters-exact": 4,
    "partition": 2,
    "day": 2,
    "restart": 10,
    "namesakes": 20,
    "leaves": 10,
    "stalls": 1,
    "detection": 10,
    "detection-fast": 10,
    "keys": 4,
}
"""How many seeds CI runs of each; a night runs more: see `python -m gossip.sim --help`."""


@pytest.fixture(scope="module")
def tallies() -> dict[str, Tally]:
    """What the runs of this module came to, by scenario."""
    return {name: Tally(scenario) for name, scenario in SCENARIOS.items()}


def portions() -> list[tuple[str, range]]:
    """The seeds in portions that each end well within a test's time."""
    return [
        (name, range(first, min(first + PORTION, count)))
        for name, count in SEEDS.items()
        for first in range(0, count, PORTION)
    ]


def named(value: str | range) -> str:
    """A test's name for its scenario and its seeds."""
    return value if isinstance(value, str) else f"{value[0]}-{value[-1]}"


@pytest.mark.timeout(150)
@pytest.mark.parametrize(("name", "seeds"), portions(), ids=named)
def test_no_rule_is_broken_and_all_is_in_time(name: str, seeds: range, tallies: dict[str, Tally]) -> None:
    for report in runs(name, seeds, min(JOBS, len(seeds))):
        tallies[name].add(report)


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_was_to_happen_happened_and_goals_are_met(name: str, tallies: dict[str, Tally]) -> None:
    """Runs after those above: a fault that never fired proves nothing."""
    tally = tallies[name]
    if tally.runs:  # none if only this test was selected
        assert tally.runs >= SCENARIOS[name].enough
        assert tally.shortcomings() == []


def test_a_tally_names_what_never_happened_and_which_goal_was_missed() -> None:
    tally = Tally(SCENARIOS["keys"])
    for _ in range(SCENARIOS["keys"].enough):
        report = run("restart", 0)  # nothing gets lost there, and it measures something else
        report.figures["0% loss, s"] = [0.001, 0.051]
        tally.add(report)

    assert tally.shortcomings() == ["never happened: lost", "0% loss, s: 0.051, the goal is 0.05"]


def replayed(hash_seed: str, *arguments: str) -> str:
    """What the command line prints under some hash seed."""
    command = [sys.executable, "-m", "gossip.sim", *arguments]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment).stdout


@pytest.mark.parametrize("scenario", ["storm", "filters"])
def test_a_seed_is_a_run_under_any_hash_seed(scenario: str) -> None:
    seed = next(seed for seed in range(100) if run(scenario, seed).happened["sealed"])

    printed = replayed("1", "--scenario", scenario, "--seed", str(seed))

    assert printed == replayed("2", "--scenario", scenario, "--seed", str(seed))
    assert "-- calm" in printed
    assert run(scenario, seed).digest in printed
