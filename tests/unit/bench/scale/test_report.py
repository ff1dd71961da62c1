"""The report: its tables, its plots, and what the page reads of it."""

import json
import math
from pathlib import Path

from bench.gossip.crowd import Traffic
from bench.gossip.results import Calm, Modelled, Spread
from bench.page.results import read
from bench.report import Samples
from bench.scale import tables
from bench.scale.flat import Flat
from bench.scale.found import Found
from bench.scale.kademlia import walk
from bench.scale.pulls import Results, cases, pull


def _calm(size: int) -> Calm:
    spread = Spread([[0.1, 0.2]])
    sent, wave = Traffic(200.0 + size, 10.0, 2.0), Traffic(100.0 * size, 10.0, 1.0 * size)
    return Calm(sent, 0.001, 3000 * size, spread, spread, Samples([0.1]), wave, 0.0001 * size, Samples([9.0]))


def _found() -> Found:
    sizes = [2, 5]
    pulls = {case: pull(case) for case in cases(sizes, quick=True)}
    calm = {size: _calm(size) for size in (40, 64, 100)}
    modelled = {64: Modelled(64, Spread([[0.1]]), 0, {"lan": Samples([9.5])})}
    walked = {size: walk(size, 5) for size in sizes}
    return Found(sizes, 2, 0.2, calm, modelled, walked, Results(pulls), [], Flat(calm, 2))


def test_the_page_reads_all_of_it(tmp_path: Path) -> None:
    found = _found()
    target = tmp_path / "scale.json"
    tables.report(found).write(target)
    assert read(target).bench == "scale"  # with formats that it knows
    written = json.loads(target.read_text())
    assert all(table["rows"] for table in written["tables"])
    for plot in written["plots"]:
        for series in plot["series"]:
            assert len(series["x"]) == len(series["y"])
            assert series["x"] == sorted(series["x"])
            assert all(y is not None and math.isfinite(y) for y in series["y"])
            assert plot["y_scale"] == "linear" or all(y > 0 for y in series["y"])
    figures = {(it["of"], it["nodes"], it["key"]): it for it in written["arithmetic"]}
    assert figures["DHT", 5, "records"]["value"] == 10
    assert figures["gossip", 64, "detect"]["value"] == 9.0
    assert figures["gossip", 5, "idle"]["formula"]
    assert figures["gossip", 5, "idle"]["numbers"]
    assert written["findings"]
