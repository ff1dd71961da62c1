"""What is drawn: who is better at what, like settings together, and the quantity with its unit at every axis."""

import html
import re
from collections.abc import Mapping, Sequence

import pytest

from bench.gossip import tables as of_gossip
from bench.gossip.crowd import Traffic, Verdicts
from bench.gossip.results import Calm, Grown, Modelled, Spread
from bench.gossip.results import Found as Simulated
from bench.page.build import Page
from bench.page.charts import CURVES, Curves
from bench.page.plots import Plot
from bench.page.results import Result, Run, read_folder
from bench.page.words import TIMES
from bench.report import Report, Samples
from bench.scale import tables as of_scale
from bench.scale.flat import Flat
from bench.scale.found import Found as Scaled
from bench.scale.kademlia import walk
from bench.scale.pulls import IMAGES, Case, Results, cases, pull
from bench.scale.world import WAVES

OURS, DHT, EVEN = (f"fill: var(--{name})" for name in ("series-0", "series-2", "even"))


def lab(scenario: str, key: str, figures: Mapping[str, Sequence[float]], **settings: object) -> Result:
    """A file of the lab with one figure, by mode."""
    runs = [Run(mode, number, {key: it}) for mode, found in figures.items() for number, it in enumerate(found)]
    return Result(f"lab {scenario}", runs=runs, settings={"nodes": 5} | settings)


def drawn(*results: Result) -> dict[str, Plot]:
    return {plot.name: plot for plot in Page.of({f"{at}": it for at, it in enumerate(results)}).plots}


def texts(plot: Plot) -> list[str]:
    return [html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)", plot.svg)]


def beside(scenario: str, key: str, ours: float, theirs: float, **at_least: str) -> tuple[list[str], str]:
    """The texts, and the picture, of one row of the plot that has gossip beside a DHT."""
    found = lab(scenario, key, {"skvaller": [ours] * 3, "dht": [theirs] * 3})
    for run in found.runs:
        if run.mode in at_least.values():
            run.figures[f"{key}_at_least"] = 1.0
    plot = drawn(found)["dht-beside-gossip"]
    return texts(plot), plot.svg


def test_a_bar_beside_gossip_has_the_colour_of_who_is_better() -> None:
    for ours, theirs, fill, text in (
        (1.0, 4.0, OURS, f"4.00 {TIMES}"),
        (4.0, 1.0, DHT, f"0.25 {TIMES}"),
        (1.0, 1.01, EVEN, f"1.01 {TIMES}"),
    ):
        found, svg = beside("fanout", "ratio", ours, theirs)
        assert text in found
        assert [it for it in (OURS, DHT, EVEN) if it in svg] == [fill]


def test_a_figure_of_which_more_is_better_is_turned_round() -> None:
    for ours, theirs, fill, text in ((0.2, 0.8, DHT, f"0.25 {TIMES}"), (0.8, 0.2, OURS, f"4.00 {TIMES}")):
        found, svg = beside("dark", "dark_share_least", ours, theirs)
        assert f"{text}, more is better" in found
        assert [it for it in (OURS, DHT) if it in svg] == [fill]


def test_who_needs_nothing_has_a_row() -> None:
    found, svg = beside("idle", "idle_sent_bytes_per_s", 220.0, 0.0)
    assert {"idle: idle traffic", "0 B/s with a DHT"} <= set(found)
    assert DHT in svg
    found, svg = beside("idle", "idle_sent_bytes_per_s", 0.0, 0.0)
    assert "0 B/s with gossip and 0 B/s with a DHT" in found
    assert (OURS in svg, DHT in svg) == (False, False)


def test_what_was_still_growing_is_marked() -> None:
    assert f"\N{GREATER-THAN OR EQUAL TO} 4.00 {TIMES}" in beside("partition", "healed_s", 15.0, 60.0, open="dht")[0]
    assert f"\N{LESS-THAN OR EQUAL TO} 0.25 {TIMES}" in beside("partition", "healed_s", 60.0, 15.0, open="skvaller")[0]
    assert "> 60.00 s with both" in beside("partition", "healed_s", 60.0, 60.0, one="dht", other="skvaller")[0]
    grows, ended = (beside("partition", "healed_s", 15.0, 60.0, **it)[1] for it in ({"open": "dht"}, {}))
    assert grows.count(OURS) == ended.count(OURS) + 1, "an arrow"


def test_unlike_settings_are_in_plots_of_their_own() -> None:
    figures = {"skvaller": [1.0], "dht": [2.0]}
    plots = drawn(*(lab("lonely", "ratio", figures, link=mbit * 1_000_000) for mbit in (25, 100)))
    found = [plot for name, plot in plots.items() if name.startswith("lonely")]
    assert sorted(mbit for plot in found for mbit in re.findall(r"links (\d+) Mbit/s", plot.title)) == ["100", "25"]
    for plot in found:
        assert texts(plot).count("5 nodes, gossip") == 1


def test_like_settings_of_several_sizes_are_in_one_plot() -> None:
    figures = {"skvaller": [1.0], "dht": [2.0]}
    plots = drawn(*(lab("kill", "ratio", figures, nodes=nodes) for nodes in (3, 5)))
    (found,) = (plot for name, plot in plots.items() if name.startswith("kill"))
    assert {"3 nodes, DHT", "5 nodes, DHT"} <= set(texts(found))


def test_axes_of_the_lab_have_quantity_and_unit() -> None:
    figures = {"skvaller": [1.0], "dht": [2.0]}
    wanted = {"ratio": "times of one download", "upstream": "images", "cpu_s_per_gib": "s for each GiB"}
    for key, unit in wanted.items():
        plots = drawn(*(lab("fanout", key, figures, nodes=nodes) for nodes in (2, 5)))
        found = [plot for name, plot in plots.items() if name.startswith(f"fanout-{key}")]
        assert found
        for plot in found:
            assert any(text.endswith(f", {unit}") for text in texts(plot)), plot.name


def simulated(size: int) -> Calm:
    seen = Spread([[0.1, 0.2]])
    sent, wave = Traffic(200.0 + size, 10.0, 2.0), Traffic(100.0 * size, 10.0, 1.0 * size)
    return Calm(sent, 0.001, 3000 * size, seen, seen, Samples([0.3]), wave, 0.0001 * size, Samples([9.0]))


@pytest.fixture(scope="module")
def of_tables(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Plot]:
    """Of the tables that the simulation and the model write."""
    folder, sizes = tmp_path_factory.mktemp("tables"), [2, 5]
    calm = {size: simulated(size) for size in (10, 40, 100)}
    modelled = [Modelled(size, Spread([[7.0]]), 0, {"lan": Samples([7.0])}) for size in (100, 250)]
    grown = [Grown(size, it, Verdicts(0, 0, 1, 1.0), Samples([3.0])) for size, it in calm.items()]
    Report("gossip-sim", of_gossip.tables(Simulated(grown, modelled, [], "")), []).write(folder / "sim.json")
    pulls = {case: pull(case) for case in cases(sizes, quick=True)}
    pulls |= {case: pull(case) for case in (Case(size, "homes", WAVES[0], image) for size in sizes for image in IMAGES)}
    walked = {size: walk(size, 5) for size in sizes}
    of_scale.report(Scaled(sizes, 2, 0.2, calm, {}, walked, Results(pulls), [], Flat(calm, 2))).write(
        folder / "scale.json"
    )
    return {plot.name: plot for plot in Page.of(read_folder(folder)).plots}


@pytest.mark.parametrize("curves", CURVES, ids=lambda it: it.name)
def test_each_plot_of_tables_has_its_lines_and_says_quantity_and_unit(
    of_tables: Mapping[str, Plot], curves: Curves
) -> None:
    found = texts(of_tables[curves.name])
    assert {column.line for column in curves.columns} <= set(found)
    assert {curves.label, f"{curves.label} (logarithmic)"} & set(found)


def test_of_tables_nothing_else_is_drawn(of_tables: Mapping[str, Plot]) -> None:
    assert set(of_tables) == {curves.name for curves in CURVES}
    assert len({plot.title for plot in of_tables.values()}) == len(CURVES)


def test_rows_of_a_model_beside_simulated_ones_are_not_drawn(of_tables: Mapping[str, Plot]) -> None:
    assert "250" not in texts(of_tables["dead-named"])
    assert "100" in texts(of_tables["dead-named"])
