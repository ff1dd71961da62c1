"""The sentences of the answer follow from the figures, whichever they are."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from bench.page.build import Page
from bench.page.contest import Outcome
from bench.page.figures import Figures, Spread, Trial
from bench.page.results import read_folder
from bench.page.sentences import caveats, counts, guide, reasons, scenarios
from bench.page.words import METRICS
from bench.report import MIB, OURS
from tests.unit.bench.page import canned

BOTH = ("skvaller", "dht")


def page_of(folder: Path, figures: Mapping[str, Mapping[str, float]], scenario: str = "fanout") -> Page:
    canned.lab(canned.settings(scenario, modes=tuple(figures)), figures).write(folder / "a.json")
    return Page.of(read_folder(folder))


def test_the_reason_has_the_figures_of_both(tmp_path: Path) -> None:
    page = page_of(tmp_path, {"skvaller": {"ratio": 1.2, "upstream": 1.0}, "dht": {"ratio": 5.1, "upstream": 5.0}})
    assert page.first is not None
    mine, theirs = reasons(page.first)
    figures = page.first.answers[0][1].trial.modes
    assert f"after {figures['skvaller']['ratio'].median:.2f} times the time of one download" in mine
    assert f"the registry sends the image {figures['dht']['upstream'].median:.2f} times" in theirs


def test_where_nodes_shared_nothing_no_reason_is_invented(tmp_path: Path) -> None:
    page = page_of(tmp_path, {"skvaller": {"ratio": 5.1, "upstream": 5.0}, "dht": {"ratio": 1.2, "upstream": 1.0}})
    assert page.first is not None
    said = " ".join(reasons(page.first))
    assert "share one download:" not in said
    assert "nobody knows" not in said
    assert "these figures do not show that" in said


def test_without_a_pull_at_once_there_is_no_reason_to_say(tmp_path: Path) -> None:
    page = page_of(tmp_path, {mode: {"ratio": 1.0} for mode in BOTH}, "kill")
    assert page.first is not None
    assert reasons(page.first) == []
    assert counts(page.first, felt=False) == "", "no cost was measured"


def test_one_question_is_one_and_the_winner_comes_first(tmp_path: Path) -> None:
    page = page_of(tmp_path, {"skvaller": {"ratio": 3.0}, "dht": {"ratio": 1.0}})
    assert page.first is not None
    assert (
        counts(page.first, felt=True) == "Of 1 question that users feel, a DHT is better in 1, worse in 0, even in 0."
    )


def test_what_does_not_count_says_how_it_came_out_and_nothing_is_said_where_all_counts(tmp_path: Path) -> None:
    figures = {"skvaller": {"ratio": 1.2, "peak_mib": 50.0}, "dht": {"ratio": 1.2, "peak_mib": 90.0}}
    (tmp_path / "one").mkdir()
    page = page_of(tmp_path / "one", figures)
    assert page.first is not None
    (said,) = caveats(page.first, page.tallies)
    assert "1 figure does not count here, of which 1 would be better with gossip, and 0 worse." in said
    (tmp_path / "two").mkdir()
    page = page_of(tmp_path / "two", {mode: {"ratio": 1.2} for mode in BOTH})
    assert page.first is not None
    assert caveats(page.first, page.tallies) == []


@pytest.mark.parametrize(
    ("ratio", "words"), [(1.17, "17 % longer than"), (0.9, "10 % shorter than"), (1.0, "as long as")]
)
def test_the_guide_explains_the_first_figure_by_itself(tmp_path: Path, ratio: float, words: str) -> None:
    report = canned.lab(canned.settings(modes=BOTH), {mode: {"ratio": 1.0} for mode in BOTH})
    for run in report.details["runs"]:
        run["figures"] = {"ratio": ratio, "ideal_s": 3.5084}
    report.write(tmp_path / "a.json")
    page = Page.of(read_folder(tmp_path))
    term, meaning = guide(page.figures, page.answers)[0]
    assert term.startswith(f"{ratio:.2f} ")
    assert meaning == f"{words} one node alone needs for the image (3.5 s at 50 Mbit/s)"
    assert ("a figure (with a range)", "the middle of 3 runs, with the least and the most of them") in guide(
        page.figures, page.answers
    )


def test_only_scenarios_that_were_measured_are_explained(tmp_path: Path) -> None:
    page = page_of(tmp_path, {mode: {"ratio": 1.0} for mode in BOTH}, "kill")
    assert [name for name, _ in scenarios(page.figures)] == ["kill"]


def test_an_open_figure_is_more_than_its_median_and_so_is_how_many_times_it_is(tmp_path: Path) -> None:
    report = canned.lab(canned.settings("partition", modes=BOTH), {mode: {"healed_s": 1.0} for mode in BOTH})
    for run in report.details["runs"]:
        run["figures"] = {"healed_s": 0.5}
        if run["mode"] == "dht":
            run["figures"] = {"healed_s": 50.0 + run["repeat"], "healed_s_at_least": 1.0}
    report.write(tmp_path / "a.json")
    page = Page.of(read_folder(tmp_path))
    assert page.first is not None
    ((_, duel),) = page.first.of(Outcome.BETTER, felt=True)
    assert duel.apart == "more than 102 times as much"
    assert duel.metric.shown(duel.theirs) == "> 51.00 s"
    plain = page.plain()
    assert plain["answers"][0]["modes"]["dht"]["open"] is True
    assert plain["duels"][0]["open"] == ["theirs"]
    assert Spread([1.0, 2.0, 9.0], is_open=True).shown(".0f") == "> 2", "the most of three may be no bound of the rest"


def test_a_median_is_known_where_most_runs_have_ended(tmp_path: Path) -> None:
    report = canned.lab(canned.settings(modes=BOTH), {mode: {"ratio": 1.0} for mode in BOTH})
    for run in report.details["runs"]:
        run["figures"] = {"ratio": 1.0}
        if run["mode"] == "dht":
            last = run["repeat"] == 2
            run["figures"] = {"ratio": 60.0, "ratio_at_least": 1.0} if last else {"ratio": 3.0 + run["repeat"]}
    report.write(tmp_path / "a.json")
    page = Page.of(read_folder(tmp_path))
    assert page.first is not None
    ((_, duel),) = page.first.answers
    assert duel.theirs.shown(".1f") == "4.0 (3.0 to > 60.0)"
    assert (duel.metric.shown(duel.theirs)[:4], duel.metric.range(duel.theirs)) == ("4.00", "3.00 to > 60.00")
    assert duel.apart == "4 times as much"
    assert duel.outcome is Outcome.BETTER
    assert not duel.theirs.is_below(Spread([100.0, 100.0])), "who did not end is better than nobody"


def test_pulls_that_failed_stand_beside_the_times_of_pulls(tmp_path: Path) -> None:
    figures = {"pulls_failed": Spread([1.0, 0.0, 2.0]), "pulls_counted": Spread([5.0, 5.0, 5.0])}
    trial = Trial("a", "fanout", {}, {"dht": figures, OURS: {**figures, "pulls_failed": Spread([0.0])}})
    assert trial.remark("dht", "ratio") == "3 of 15 pulls failed"
    assert trial.remark("dht", "peak_mib") == trial.remark(OURS, "ratio") == ""
    report = canned.lab(canned.settings(modes=BOTH), {mode: {"ratio": 2.0} for mode in BOTH})
    for run in report.details["runs"]:
        run["figures"] |= {"pulls_counted": 5.0, "pulls_failed": 1.0 if run["mode"] == "dht" else 0.0}
    report.write(tmp_path / "a.json")
    page = Page.of(read_folder(tmp_path))
    assert page.first is not None
    assert "(3 of 15 pulls failed)" in reasons(page.first)[1]
    assert page.first.answers[0][1].remarks == ["3 of 15 pulls failed with a DHT"]


def test_the_link_of_most_trials_answers(tmp_path: Path) -> None:
    for name, nodes, link in (("a", 5, 100), ("b", 5, 25), ("c", 3, 25)):
        wanted = replace(
            canned.settings("lonely", nodes=nodes, modes=BOTH), link=link * 1_000_000, image=link * MIB, image_name=name
        )
        canned.lab(wanted, {mode: {"ratio": 1.0} for mode in BOTH}).write(tmp_path / f"{name}.json")
    page = Page.of(read_folder(tmp_path))
    assert page.answers[0].trial.name == "b"
    assert page.first is not None
    assert page.first.answers[0][0].trial.name == "b"


def test_no_figure_is_named_by_words_that_only_its_makers_know() -> None:
    said = " ".join(metric.words for metric in METRICS.values())
    unknown = ("p50", "p99", "upstream", "stands between", "its share", "head of")
    assert [word for word in unknown if word in said] == []


def test_of_no_figures_there_is_no_usual_link() -> None:
    assert Figures({}).usual_link is None
    assert Figures({}).repeats == []
