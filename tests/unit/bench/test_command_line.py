"""The command line: what would fail in the end is refused at the start, and what was measured is never lost."""

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench import arguments, relay, serve
from bench.__main__ import main
from bench.gossip import simulated
from bench.lab import run
from bench.report import BenchError, Report, Table
from bench.suite import run as suite

FOUND = Table("found", {"x": "x"}, {"x": ".0f"}, [{"x": 1.0}])


def said(*words: str) -> tuple[int, str]:
    """The exit status of a command, and all that it prints."""
    ended = CliRunner().invoke(main, words)
    assert ended.exception is None or isinstance(ended.exception, SystemExit), "a stack trace"
    return ended.exit_code, " ".join(ended.output.split())


@pytest.fixture(autouse=True)
def drawable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots can be drawn, whether matplotlib is here or not."""
    monkeypatch.setattr(arguments, "find_spec", lambda name: name)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[Any]]:
    """What the benches would have measured; they find a table."""
    calls: list[Sequence[Any]] = []

    def draw(target: Path) -> None:
        target.write_text("drawn")

    def measure(console: object, *given: Any, **options: Any) -> Report:
        calls.append(given)
        return Report("bench", [FOUND], [], draw=draw)

    for module in (relay, serve, simulated, run):
        monkeypatch.setattr(module, "measure", measure)
    return calls


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["gossip", "--sim", "--json", "nodir/x.json"], "there is no folder nodir: make it first"),
        (["gossip", "--sim", "--plot", "nodir/x.svg"], "there is no folder nodir"),
        (["gossip", "--sim", "--plot", "x.txt"], "x.txt must end in one of .svg, .png, .pdf, .jpg"),
        (["lab", "fanout", "--plot", "x"], "x must end in one of .svg"),
        (["gossip", "--plot", "x.svg"], "--plot changes nothing without --sim: leave it out"),
        *(
            (["gossip", "--sim", option, "2"], f"{option} changes nothing beside --sim: leave it out")
            for option in ("--repeats", "--leaves", "--kills", "--keys")
        ),
        (["scale", "--plot", "x.json"], "x.json must end in one of .svg"),
        (["lab", "fanout", "--json", "x.svg"], "x.svg cannot have both the JSON and the plot"),
        (["gossip", "--sim", "--json", "x.png", "--plot", "./x.png"], "x.png cannot have both"),
        (["lab", "chaos", "--keep-logs", "/proc/version/logs/x"], "no folder can be made in /proc/version"),
        (["lab", "kill", "--keep-logs", "/proc/version/logs"], "no folder can be made in /proc/version"),
        (["lab", "fanout", "--image", "0"], "'0' is too small for an image: give 64KiB or more"),
        (["lab", "fanout", "--image", "3"], "'3' is too small for an image"),
        (["lab", "hub", "--image", "0"], "'0' is too small to be measured: give 64KiB or more"),
        (["lab", "pins", "--image", "3"], "'3' is too small to be measured: give 64KiB or more"),
        (["serve", "--size", "0"], "'0' is too small to be measured: give 1MiB or more"),
        (["serve", "--size", "1"], "'1' is too small"),
        (["relay", "--quick", "--size", "64KiB"], "'64KiB' is too small"),
        (["channels", "--size", "0"], "'0' is too small"),
        (["archives", "--size", "0"], "'0' is too small"),
    ],
)
def test_what_would_fail_in_the_end_is_refused_at_the_start(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    measured: list[Sequence[Any]],
    words: Sequence[str],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    status, output = said(*words)
    assert status == 2
    assert complaint in output
    assert not measured
    assert not list(tmp_path.iterdir())


def test_a_size_is_taken_as_it_is_given(measured: list[Sequence[Any]]) -> None:
    assert said("serve", "--size", "1MiB")[0] == 0
    assert said("relay", "--quick")[0] == 0
    assert [size for size, _ in measured] == [1024**2, 64 * 1024**2]


def test_the_plot_is_drawn_beside_the_json(tmp_path: Path, measured: list[Sequence[Any]]) -> None:
    assert said("gossip", "--sim", "--json", str(tmp_path / "x.json"))[0] == 0
    assert measured == [([10, 100, 1000],)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.json", "x.svg"]


def fails(error: Exception) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


def test_what_was_measured_is_there_although_the_plot_cannot_be_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = Report("bench", [FOUND], [], draw=fails(OSError("the disk is full")))
    monkeypatch.setattr(simulated, "measure", lambda *_: report)
    status, output = said("gossip", "--sim", "--json", str(tmp_path / "x.json"))
    assert status == 1
    assert "found" in output
    assert "Error: the disk is full" in output
    assert json.loads((tmp_path / "x.json").read_text())["tables"][0]["title"] == "found"


def test_the_tables_are_shown_although_the_json_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: list[Sequence[Any]]
) -> None:
    monkeypatch.setattr(Report, "write", fails(OSError("the disk is full")))
    status, output = said("serve", "--json", str(tmp_path / "x.json"))
    assert status == 1
    assert "found" in output
    assert "Error: the disk is full" in output


@pytest.mark.parametrize("error", [BenchError("no"), subprocess.TimeoutExpired("wrk", 60.0), OSError("no")])
def test_no_failure_of_what_is_run_ends_in_a_stack_trace(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(serve, "measure", fails(error))
    status, output = said("serve")
    assert status == 1
    assert output == f"Error: {error}"


RESULT = '{"bench": "serve", "tables": [], "goals": []}'


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder with a result."""
    (tmp_path / "serve.json").write_text(RESULT)
    return tmp_path


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["-o", "serve.html"], "serve.html would replace serve.json, which is not of a page"),
        (["-o", "serve"], "serve would replace serve.json"),
        (["-o", "serve.json"], "serve.json must not end in .json, as results do"),
        (["-o", "new.json"], "new.json must not end in .json"),
        (["--markdown", "serve.json"], "serve.json must not end in .json"),
        (["-o", "nodir/page.html"], "there is no folder nodir"),
    ],
)
def test_a_page_replaces_no_result(
    results: Path, monkeypatch: pytest.MonkeyPatch, flags: Sequence[str], complaint: str
) -> None:
    monkeypatch.chdir(results)
    status, output = said("report", ".", *flags)
    assert status
    assert complaint in output
    assert [path.name for path in results.iterdir()] == ["serve.json"]
    assert (results / "serve.json").read_text() == RESULT


@pytest.mark.parametrize("other", ["", "[]", "[" * 100_000, '{"answers": []}'])
def test_a_page_replaces_no_other_json(results: Path, monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    monkeypatch.chdir(results)
    (results / "report.json").write_text(other)
    assert "which is not of a page" in said("report", ".")[1]
    assert (results / "report.json").read_text() == other


def test_a_suite_asks_before_its_first_step_whether_its_page_may_be_written(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite, "run_all", lambda *_: pytest.fail("this takes an hour"))
    (results / "report.json").write_text(RESULT)
    assert "which is not of a page" in said("all", "--folder", str(results))[1]


def test_a_page_replaces_a_page(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(results)
    for _ in range(2):
        assert said("report", ".")[0] == 0
    assert {"answers", "duels"} <= json.loads((results / "report.json").read_text()).keys()
