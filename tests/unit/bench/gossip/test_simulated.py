"""Simulated gossip: sizes that lead nowhere are refused at once, and plots leave out what was not simulated."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from bench.gossip import simulated
from bench.gossip.crowd import Traffic, Verdicts
from bench.gossip.plots import draw
from bench.gossip.results import Calm, Extrapolated, Found, Grown, Modelled, Spread
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


def test_the_model_has_the_colour_of_what_it_models(tmp_path: Path) -> None:
    keys, killed, traffic = Spread([[0.1, 0.2]]), Samples([9.0]), Traffic(100.0, 10.0, 2.0)
    calm = Calm(traffic, 0.01, 1000, keys, keys, killed, traffic, 0.01, killed)
    grown = [Grown(size, calm, Verdicts(0, 1, 10, 1.0), Samples([3.0])) for size in (10, 100)]
    modelled = [Modelled(size, keys, 0, {"lan": killed, "fast": killed}) for size in (10, 100)]
    target = tmp_path / "plot.svg"
    draw(Found(grown, modelled, [Extrapolated(2000, 1e6, 200.0, 0.01)], ""), target)
    drawn = target.read_text()
    assert all(name in drawn for name in ("lan, model", "counted", "extrapolated", "What a node sends"))
