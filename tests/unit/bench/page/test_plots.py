"""Plots: in the page's colours alone, with numbers that do not touch each other."""

import re

from bench.page.figures import Spread
from bench.page.plots import Bar, Plot, Series, bars, lines


def of_lines(*points: tuple[float, float], log: bool = True) -> Plot:
    found = lines("a", "", ("nodes", "seconds"), [Series("gossip", 0, [(x, Spread([y])) for x, y in points])], log=log)
    assert found is not None
    return found


def of_bars(*rows: Bar, log: bool = False) -> Plot:
    found = bars("a", "", "seconds", rows, log=log)
    assert found is not None
    return found


def test_every_letter_and_line_has_a_colour_of_the_page() -> None:
    for plot in (of_lines((1.0, 1.0), (2.0, 2.0)), of_bars(Bar("gossip", 0, Spread([1.0, 2.0]), "1"))):
        assert [tag for tag in re.findall(r"<text[^>]*>", plot.svg) if "fill: var(--ink)" not in tag] == []
        assert re.findall(r"(?:fill|stroke): #\w+", plot.svg) == []
