"""Samples beside others, also where there was too little to measure."""

import json
import math
from pathlib import Path

from bench.relay import cpu_goals
from bench.report import Comparison, Report, Samples


def test_what_is_beside_nothing_is_no_error() -> None:
    assert (Samples([1.0, 2.0]) / Samples([2.0, 2.0])).values == [0.5, 1.0]
    assert (Samples([1.0]) / Samples([0.0])).median == math.inf
    assert math.isnan((Samples([0.0, 3.0, 4.0]) / Samples([0.0, 1.0, 1.0])).median)


def test_it_is_written_as_null(tmp_path: Path) -> None:
    compared = Comparison()
    compared.add("1 client", "skvaller", 10.0, 1.0)
    compared.add("1 client", "nginx", 0.0, 0.0)
    target = tmp_path / "found.json"
    Report("serve", [compared.table("A blob", ("MB/s", ".0f"), ("CPU s/GiB", ".2f"))], []).write(target)
    rows = json.loads(target.read_text())["tables"][0]["rows"]
    assert rows[1]["ratio"] == {"median": None, "samples": [None]}


def test_cpu_time_that_was_too_little_to_be_counted_has_no_goal() -> None:
    compared = Comparison()
    compared.add("upstream", "skvaller", 10.0, 1.0)
    compared.add("upstream", "nginx", 10.0, 0.0)
    compared.add("upstream", "registry", 10.0, 2.0)
    assert [(goal.what, goal.found) for goal in cpu_goals(compared)] == [("x the CPU of registry, upstream", 0.5)]
