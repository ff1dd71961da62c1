"""Plots: in the page's colours alone, with numbers that do not touch, and axes that say what they are."""

import re
from itertools import pairwise

import pytest

from bench.page.figures import Spread
from bench.page.plots import Bar, Plot, Series, bars, lines

DIGIT_PX = 6.0
"""About the width of a digit, as it is drawn."""


def of_lines(*points: tuple[float, float]) -> Plot:
    series = [Series("gossip", 0, [(x, Spread([y])) for x, y in points])]
    found = lines("a", "", ("nodes", "seconds"), series, log=True)
    assert found is not None
    return found


def of_bars(*rows: Bar, log: bool = False) -> Plot:
    found = bars("a", "", "seconds", rows, log=log)
    assert found is not None
    return found


def texts(plot: Plot) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)", plot.svg)


def below(plot: Plot) -> list[tuple[float, str]]:
    """The numbers along the lower axis, each with its middle."""
    found = re.findall(r'<text[^>]*text-anchor: middle[^>]* x="([\d.]+)"[^>]*>([\d.,e+-]+)<', plot.svg)
    return sorted((float(x), text) for x, text in found)


def test_every_letter_and_line_has_a_colour_of_the_page() -> None:
    for plot in (of_lines((1.0, 1.0), (2.0, 2.0)), of_bars(Bar("gossip", 0, Spread([1.0, 2.0]), "1"))):
        assert [tag for tag in re.findall(r"<text[^>]*>", plot.svg) if "fill: var(--ink)" not in tag] == []
        assert re.findall(r"(?:fill|stroke): #\w+", plot.svg) == []


@pytest.mark.parametrize(
    "points",
    [
        [(2.0, 0.0), (8.0, 0.0), (64.0, 0.74), (100.0, 0.79), (500.0, 1.0), (1000.0, 1.2)],
        [(2.0, 1.0), (64.0, 3.0), (70.0, 2.0), (75.0, 0.0), (80.0, 4.0), (10_000.0, 1e6)],
        [(float(1000 + x), 1.0) for x in range(9)],
    ],
)
def test_numbers_of_nodes_do_not_touch(points: list[tuple[float, float]]) -> None:
    assert_apart(below(of_lines(*points)))


@pytest.mark.parametrize(
    ("figures", "log"), [([0.11, 1.4, 900.0], True), ([1e-7, 1e9], True), ([123_456.0], False), ([0.0], False)]
)
def test_numbers_below_bars_do_not_touch(figures: list[float], log: bool) -> None:
    name = "a name that leaves the bars little room"
    assert_apart(below(of_bars(*(Bar(name, 0, Spread([it]), f"{it}") for it in figures), log=log)))


def assert_apart(numbers: list[tuple[float, str]]) -> None:
    assert len(numbers) > 1
    for (left, one), (right, other) in pairwise(numbers):
        assert right - left > DIGIT_PX * (len(one) + len(other)) / 2, f"{one} {other}"


def test_long_names_of_lines_stay_within_the_picture() -> None:
    names = [f"{number} is the name of a line that says much" for number in range(3)]
    plot = lines("a", "", ("nodes", "s"), [Series(name, 0, [(1.0, Spread([2.0]))]) for name in names])
    assert plot is not None
    (width,) = re.findall(r'viewBox="0 0 ([\d.]+)', plot.svg)
    for name in names:
        (left,) = re.findall(rf' x="([-\d.]+)"[^>]*>{name}', plot.svg)
        assert 0 < float(left) < float(width) - 4.0 * len(name)


def test_the_least_and_the_most_nodes_are_always_written() -> None:
    numbers = below(of_lines(*((float(x), 1.0) for x in range(100, 200))))
    assert [text for _, text in numbers][:: len(numbers) - 1] == ["100", "199"]


def test_an_axis_of_figures_that_are_close_begins_at_nothing_and_one_of_wide_figures_is_logarithmic() -> None:
    close = texts(of_lines((10.0, 217.0), (100.0, 218.0), (1000.0, 254.0)))
    assert {"0", "seconds", "nodes (logarithmic)"} <= set(close)
    wide = texts(of_lines((2.0, 217.0), (3.0, 13_000.0)))
    assert {"seconds (logarithmic)", "nodes"} <= set(wide)
    assert "0" not in wide
    assert "seconds (logarithmic)" in texts(of_bars(Bar("a", 0, Spread([3.0]), ""), log=True))
