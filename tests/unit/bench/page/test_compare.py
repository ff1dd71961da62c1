"""Two folders agree within the spread that they state, and where they do not, it is said."""

import io
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from bench.__main__ import main
from bench.page.compare import compare
from bench.page.figures import Spread
from bench.report import BenchError
from tests.unit.bench.page import canned


def test_two_runs_of_the_same_agree(tmp_path: Path) -> None:
    found = compare(canned.folder(tmp_path / "a", seed=1), canned.folder(tmp_path / "b", seed=2))
    assert found.differing == []
    assert len(found.agreed) > 50
    assert found.alone == 0


def test_what_differs_by_more_than_both_ranges_is_named_with_both_figures(tmp_path: Path) -> None:
    one, other = canned.folder(tmp_path / "a"), canned.folder(tmp_path / "b", seed=2)
    slower = {**canned.TYPICAL, "skvaller": {**canned.TYPICAL["skvaller"], "ratio": 1.5}}
    canned.lab(canned.settings(), slower).write(other / "fanout-5.json")
    found = compare(one, other)
    assert [(pair.file, pair.what) for pair in found.differing] == [("fanout-5", "skvaller: ratio")]
    out = io.StringIO()
    found.show(Console(file=out, width=160))
    assert "skvaller: ratio" in out.getvalue()
    assert "1.5" in out.getvalue()
    assert CliRunner().invoke(main, ["report", f"{one}", f"{other}"]).exit_code == 1


def test_what_was_measured_once_is_not_judged_and_what_only_one_has_is_counted(tmp_path: Path) -> None:
    one, other = canned.folder(tmp_path / "a"), canned.folder(tmp_path / "b")
    single = canned.settings()
    canned.lab(single, seed=3).write(one / "fanout-5.json")
    report = canned.lab(single, seed=9)
    report.details["runs"][:] = [run for run in report.details["runs"] if run["repeat"] == 0]
    report.write(other / "fanout-5.json")
    (other / "serve.json").unlink()
    found = compare(one, other)
    assert {pair.file for pair in found.unjudged} == {"fanout-5"}
    assert found.alone > 0
    assert CliRunner().invoke(main, ["report", f"{one}", f"{other}"]).exit_code == 0


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="has no results"):
        compare(canned.folder(tmp_path / "a"), tmp_path)
    done = CliRunner().invoke(main, ["report", f"{tmp_path}"])
    assert done.exit_code == 1
    assert "has no results" in done.output


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        ([1.0, 1.1, 1.2], [1.3, 1.4, 1.5], True),
        ([1.0, 1.1, 1.2], [1.5, 1.6, 1.7], False),
        ([1.0, 1.0, 1.0], [1.0, 1.0, 1.0], True),
        ([100.0, 100.0], [101.0, 101.0], True),
        ([100.0, 100.0], [103.0, 103.0], False),
        ([0.0, 0.0], [0.0, 0.0], True),
        ([0.0, 0.0], [1.0, 1.0], False),
    ],
)
def test_the_spread_that_is_stated_decides(one: list[float], other: list[float], agree: bool) -> None:
    assert Spread(one).agrees(Spread(other)) is agree
    assert Spread(other).agrees(Spread(one)) is agree


def test_what_was_still_growing_is_at_least_so_much_and_never_better() -> None:
    grew, ended = Spread([60.0, 60.0], is_open=True), Spread([70.0, 71.0])
    assert not grew.is_below(ended)
    assert Spread([1.0]).is_below(grew)
    assert grew.shown(".0f") == "> 60"
