"""Two folders agree within the spread that they state, and where they do not, it is said."""

import io
import json
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from bench.__main__ import main
from bench.page.compare import compare_folders
from bench.page.figures import Figures, Spread
from bench.page.pool import pooled
from bench.page.results import Figure, Goal, Result, read_folder
from bench.report import BenchError, Cell, Report, Samples, Table
from tests.unit.bench.page import canned


def test_two_runs_of_the_same_agree(tmp_path: Path) -> None:
    found = compare_folders(canned.folder(tmp_path / "a", seed=1), canned.folder(tmp_path / "b", seed=2))
    assert found.differing == []
    assert len(found.pairs) > 50
    assert found.alone == 0
    assert len(found.sentences) == 1


def slower(folder: Path, factor: float) -> None:
    typical = {
        **canned.TYPICAL,
        "skvaller": {**canned.TYPICAL["skvaller"], "ratio": 1.2 * factor, "retries": 9 * factor},
    }
    canned.lab(canned.settings(), typical).write(folder / "fanout-5.json")


def test_what_differs_is_named_in_words_with_both_figures_and_what_modes_are_compared_by_comes_first(
    tmp_path: Path,
) -> None:
    one, other = canned.folder(tmp_path / "a"), canned.folder(tmp_path / "b", seed=2)
    slower(one, 1.0)
    slower(other, 1.25)
    found = compare_folders(one, other)
    assert [(pair.name.file, pair.name.key) for pair in found.differing] == [
        ("fanout-5", "ratio"),
        ("fanout-5", "retries"),
    ]
    target = tmp_path / "differ.json"
    done = CliRunner().invoke(main, ["compare", f"{one}", f"{other}", "--json", f"{target}"])
    assert done.exit_code == 0
    total = len(found.compared)
    assert f"{total - 1} of {total} figures that the page compares agree, and 0 of 1 others." in done.output
    out = io.StringIO()
    found.show(Console(file=out, width=200))
    assert "gossip: time of the last node, in times of one download (R)" in out.getvalue()
    assert re.search(r"1\.\d\d \(1\.\d\d to 1\.\d\d\)", out.getvalue())
    written = json.loads(target.read_text())
    assert (written["figures"], written["agreed"]) == (len(found.pairs), len(found.pairs) - 2)
    assert len(written["differing"][0]["second"]["samples"]) == 3


def test_what_was_measured_once_may_differ_by_more_and_what_only_one_has_is_counted(tmp_path: Path) -> None:
    one, other = canned.folder(tmp_path / "a"), canned.folder(tmp_path / "b")
    slower(other, 1.2)
    content = json.loads((other / "fanout-5.json").read_text())
    content["runs"] = [run for run in content["runs"] if run["repeat"] == 0]
    (other / "fanout-5.json").write_text(json.dumps(content))
    (other / "serve.json").unlink()
    found = compare_folders(one, other)
    assert found.differing == []
    assert found.alone > 0
    assert "measured once" in found.sentences[1]


def test_files_of_one_name_with_other_settings_have_nothing_in_common(tmp_path: Path) -> None:
    one, other = canned.folder(tmp_path / "a"), canned.folder(tmp_path / "b")
    canned.lab(canned.settings(nodes=3)).write(other / "fanout-5.json")
    assert "fanout-5" not in {pair.name.file for pair in compare_folders(one, other).pairs}
    done = CliRunner().invoke(main, ["report", f"{one}", f"{other}"])
    assert done.exit_code == 1
    assert "fanout-5 is of different settings" in done.output


def test_a_page_of_two_runs_has_the_samples_of_both_and_says_whether_they_agree(tmp_path: Path) -> None:
    one, other = canned.folder(tmp_path / "a"), canned.folder(tmp_path / "b", seed=2)
    slower(other, 1.3)
    (one / "kill-5.json").unlink()
    document = tmp_path / "results.md"
    done = CliRunner().invoke(main, ["report", f"{one}", f"{other}", "--markdown", f"{document}"])
    assert done.exit_code == 0, done.output
    written = json.loads((one / "report.json").read_text())
    figures = Figures(msgspec.convert(written["results"], dict[str, Result]))
    alone = [Figures(read_folder(folder)).lab("fanout", nodes=5)[0].get("skvaller", "ratio") for folder in (one, other)]
    both = figures.lab("fanout", nodes=5)[0].get("skvaller", "ratio")
    assert both is not None
    assert list(both.values) == [value for found in alone if found for value in found.values]
    assert figures.lab("kill"), "what only one has is shown, too"
    (sheet,) = figures.tables("serve", "A cached blob")
    assert "6 rounds" in sheet.title
    assert {len(row["rate"].samples) for row in sheet.rows if isinstance(row["rate"], Figure)} == {6}
    page = (one / "report.html").read_text()
    assert "Do two runs agree?" in page
    assert "Do two runs agree?" in document.read_text()
    assert "time of the last node, in times of one download (R) |" in document.read_text()


@pytest.mark.parametrize(("what", "value"), [("versions", {"code": "other"}), ("machine", {"cpus": 64})])
def test_runs_of_other_code_or_of_another_machine_make_no_page_together(
    tmp_path: Path, what: str, value: object
) -> None:
    one, other = canned.folder(tmp_path / "a"), canned.folder(tmp_path / "b")
    content = json.loads((other / "serve.json").read_text())
    (other / "serve.json").write_text(json.dumps({**content, what: value}))
    done = CliRunner().invoke(main, ["report", f"{one}", f"{other}"])
    assert done.exit_code == 1
    assert "python -m bench compare" in done.output
    assert "of different" in compare_folders(one, other).sentences[-1]


def test_what_failed_in_one_run_is_taken_of_the_other_and_said(tmp_path: Path) -> None:
    one, other = canned.folder(tmp_path / "a"), canned.folder(tmp_path / "b")
    step = {"name": "serve", "arguments": ["serve"], "code": "c", "took_s": 1.0, "error": "exit status 3"}
    (one / "serve.json").write_text(json.dumps({"bench": "serve", "step": step}))
    found = pooled(read_folder(one), read_folder(other))
    assert found["serve"].tables
    assert compare_folders(one, other).sentences[-1] == "Steps that failed in one run or both: serve."


def test_a_goal_is_reached_when_it_is_in_both_runs() -> None:
    def goals(*found: float) -> Mapping[str, Result]:
        return {"a": Result("serve", goals=[Goal(f"{at}", 2.0, it, it >= 2.0) for at, it in enumerate(found)])}

    both = pooled(goals(3.0, 1.0, 5.0), goals(1.5, 3.0, 4.0))["a"].goals
    assert [(goal.found, goal.reached) for goal in both] == [(1.5, False), (1.0, False), (4.0, True)]


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="has no results"):
        compare_folders(canned.folder(tmp_path / "a"), tmp_path)
    for command in (["report", f"{tmp_path}"], ["compare", f"{tmp_path}", f"{tmp_path / 'a'}"]):
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 1
        assert "has no results" in done.output


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        ([1.0, 1.1, 1.2], [1.2, 1.4, 1.5], True),
        ([1.0, 1.1, 1.2], [1.3, 1.4, 1.5], False),
        ([1.0, 1.0, 1.0], [1.0, 1.0, 1.0], True),
        ([100.0, 100.0], [104.0, 104.0], True),
        ([100.0, 100.0], [106.0, 106.0], False),
        ([100.0], [130.0, 131.0], True),
        ([100.0], [140.0, 141.0], False),
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


def test_runs_beside_other_rivals_or_libraries_make_no_page_together(tmp_path: Path) -> None:
    one, other = canned.folder(tmp_path / "a"), canned.folder(tmp_path / "b")
    for folder, nginx in ((one, "1.22"), (other, "1.24")):
        content = json.loads((folder / "serve.json").read_text())
        content["versions"] |= {"nginx": nginx, "commit": nginx}
        (folder / "serve.json").write_text(json.dumps(content))
    done = CliRunner().invoke(main, ["report", f"{one}", f"{other}"])
    assert done.exit_code == 1
    assert "serve is of different versions (nginx 1.22 and 1.24)" in " ".join(done.output.split())
    assert "The runs are of different versions (nginx 1.22 and 1.24)." in compare_folders(one, other).sentences


def row(cell: object) -> Mapping[str, Result]:
    sheet = {
        "title": "t",
        "rows": [{"mode": "dht", "found": cell}],
        "columns": {"mode": "mode", "found": "found"},
        "formats": {"found": ".2f"},
    }
    return {"a": msgspec.convert({"bench": "x", "tables": [sheet]}, Result)}


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ({"median": 2.0, "samples": [1.0, 2.0, 3.0]}, "> 15.00", "2.00 (1.00 to 3.00); > 15.00"),
        ("> 15.00", 2.0, "> 15.00; 2.00"),
        ("> 15.00", "> 15.00", "> 15.00"),
        ("> 15.00", None, "> 15.00"),
        (1.0, 3.0, Figure(2.0, [1.0, 3.0])),
    ],
)
def test_a_text_and_a_figure_of_two_runs_stand_beside_each_other(one: object, other: object, together: object) -> None:
    (sheet,) = pooled(row(one), row(other))["a"].tables
    assert sheet.rows == [{"mode": "dht", "found": together}]


def test_two_columns_of_one_heading_are_two_figures(tmp_path: Path) -> None:
    for name, second in (("a", 5.0), ("b", 9.0)):
        (tmp_path / name).mkdir()
        cells: Mapping[str, Cell] = {"idle": Samples([1.0, 1.0]), "wave": Samples([second, second])}
        columns = {"idle": "packets/s", "wave": "packets/s"}
        table = Table("What a node sends", columns, dict.fromkeys(columns, ".1f"), [cells])
        Report("gossip-sim", [table], []).write(tmp_path / name / "sim.json")
    found = compare_folders(tmp_path / "a", tmp_path / "b")
    assert len(found.pairs) == 2
    assert [(pair.name.key, pair.words.rpartition(": ")[2]) for pair in found.differing] == [("wave", "packets/s")]


def test_the_json_marks_figures_that_are_open() -> None:
    assert Spread([1.0, 3.0]).plain() == {"median": 2.0, "samples": [1.0, 3.0]}
    assert Spread([60.0], is_open=True).plain() == {"median": 60.0, "samples": [60.0], "open": True}
