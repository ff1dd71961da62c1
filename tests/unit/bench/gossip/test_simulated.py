"""Simulated gossip: sizes that lead nowhere are refused at once, and plots leave out what was not simulated."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from bench.gossip import simulated
from bench.gossip.plots import draw
from bench.gossip.results import Extrapolated, Found, Modelled, Spread
from bench.report import BenchError, Samples


def test_sizes_of_which_none_is_simulated_whole_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated, "simulate", lambda *_: pytest.fail("this takes hours"))
    with pytest.raises(BenchError, match=r"give two sizes of at most 1,500, too, such as --nodes 100,1000,2000"):
        simulated.measure(Console(file=io.StringIO()), [5000, 2000])


def test_plots_leave_out_what_was_not_simulated(tmp_path: Path) -> None:
    killed = {"lan": Samples([9.0]), "fast": Samples([3.0])}
    modelled = [Modelled(size, Spread([[0.1, 0.2]]), 0, killed) for size in (2000, 5000)]
    target = tmp_path / "plot.svg"
    draw(Found([], modelled, [Extrapolated(2000, 1e6, 200.0, 0.01)], ""), target)
    drawn = target.read_text()
    assert "lan, model" in drawn
    assert "extrapolated" in drawn
    assert "What a node sends" not in drawn
