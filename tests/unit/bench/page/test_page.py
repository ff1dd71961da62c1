"""The page: made of files alone, honest about who is better, and safe whatever stands in a file."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.page.build import Page
from bench.page.contest import Outcome
from bench.page.results import FILE_BYTES_MAX, read_folder
from bench.page.words import MODES, QUESTIONS, ordered
from bench.page.write import check_target, html, write_markdown
from bench.report import BenchError, Cell, Report, Samples, Table
from tests.unit.bench.page import canned

if TYPE_CHECKING:
    from collections.abc import Mapping


class Checker(HTMLParser):
    """Collects what a page has loaded from elsewhere, its scripts, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.sources: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(text: str) -> Checker:
    checker = Checker()
    checker.feed(text)
    checker.text = " ".join(checker.text.split())
    return checker


def made(folder: Path) -> Checker:
    return parsed(html(Page.of(read_folder(folder))))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """That of the canned folder."""
    return Page.of(read_folder(canned.folder(tmp_path_factory.mktemp("canned"))))


def only(folder: Path, report: Report) -> Page:
    folder.mkdir(exist_ok=True)
    report.write(folder / "a.json")
    return Page.of(read_folder(folder))


def test_the_first_screen_answers_by_the_figures(page: Page) -> None:
    text = parsed(html(page)).text
    assert "Use gossip rather than a DHT." in text
    assert "Of 3 questions that users feel, gossip is better in 3, worse in 0, even in 0." in text
    said = text.partition("Use gossip")[2].partition("What speaks for gossip")[0]
    assert "With gossip all nodes know each other, so they share one download: the registry sends the" in said
    assert "With a DHT nobody knows who else pulls:" in said


def test_the_costs_of_a_dht_in_python_count_for_nobody_and_are_shown_apart(page: Page) -> None:
    text = parsed(html(page)).text
    speaks, _, rest = text.partition("What speaks for a DHT")[2].partition("Not counted: 2")
    assert "CPU of the mirrors" not in speaks
    uncounted = rest.partition("How to read it")[0]
    assert "CPU of the mirrors" in uncounted
    assert "Memory of one mirror" in uncounted
    assert "Spegel, whose DHT is in Go, costs less than gossip in 2 of 2 costs." in text
    spegel = next(tally for tally in page.tallies if tally.rival == "spegel")
    assert [duel.key for _, duel in spegel.of(Outcome.WORSE, felt=False)] == ["cpu_s_per_gib", "peak_mib"]


def test_reasons_follow_each_other_as_the_questions_do(page: Page) -> None:
    assert page.first is not None
    won = [answer.question for answer, _ in page.first.of(Outcome.BETTER, felt=True)]
    assert won == sorted(won, key=QUESTIONS.index)
    assert [tally.rival for tally in page.tallies][:3] == ["dht", "spegel", "exact"]
    assert ordered({"new": 0, **MODES})[-1] == "new"
    assert set(ordered(MODES)) == set(MODES)


def test_what_clients_need_by_themselves_is_shown_and_competes_with_nobody(page: Page) -> None:
    assert "clients alone" in parsed(html(page)).text
    assert "unshared" not in {tally.rival for tally in page.tallies}
    ended = next(answer for answer in page.answers if answer.question.key == "ratio")
    assert set(ended.best) == {"skvaller", "exact"}
    assert not [it for outcome in Outcome for it in page.standing(outcome) if it.rival == "unshared"]


def test_the_same_page_says_the_contrary_of_contrary_figures(tmp_path: Path) -> None:
    turned = {**canned.TYPICAL, "skvaller": canned.TYPICAL["dht"], "dht": canned.TYPICAL["skvaller"]}
    page = only(tmp_path, canned.lab(canned.settings(), turned))
    assert page.first is not None
    assert page.first.headline == "Use a DHT rather than gossip"
    text = parsed(html(page)).text
    assert "Use a DHT rather than gossip." in text
    assert "Of 2 questions that users feel, a DHT is better in 2, worse in 0, even in 0." in text
    assert "they share one download" not in text
    assert "these figures do not show that" in text


def test_what_differs_by_less_than_the_spread_decides_nothing(tmp_path: Path) -> None:
    same = dict.fromkeys(canned.TYPICAL, canned.TYPICAL["skvaller"])
    page = only(tmp_path, canned.lab(canned.settings(), same))
    assert page.first is not None
    assert page.first.choice is Outcome.EVEN
    assert "what was measured does not decide" in html(page)
    assert page.standing(Outcome.BETTER) == page.standing(Outcome.WORSE) == []


def test_without_a_dht_the_page_does_not_choose(tmp_path: Path) -> None:
    page = only(tmp_path, canned.lab(canned.settings(modes=("skvaller", "direct"))))
    assert "no DHT was measured beside gossip" in html(page)


def test_another_size_is_named_where_it_stands_for_the_one_that_is_asked_for(tmp_path: Path) -> None:
    page = only(tmp_path, canned.lab(canned.settings(nodes=3)))
    assert "Not all of it was measured with 5 nodes; these sizes stand for it: 3." in parsed(html(page)).text


def test_a_size_at_which_modes_can_be_compared_answers_before_a_nearer_one(tmp_path: Path) -> None:
    canned.lab(canned.settings(nodes=5, modes=["skvaller"])).write(tmp_path / "alone.json")
    page = only(tmp_path, canned.lab(canned.settings(nodes=8)))
    assert {answer.trial.nodes for answer in page.answers} == {8}


def test_each_rival_is_compared_where_it_was_measured(tmp_path: Path) -> None:
    for rival in ("dht", "spegel"):
        canned.lab(canned.settings(modes=["skvaller", rival])).write(tmp_path / f"{rival}.json")
    found = Page.of(read_folder(tmp_path)).tallies
    assert [(tally.rival, tally.choice) for tally in found] == [("dht", Outcome.BETTER), ("spegel", Outcome.BETTER)]


def test_the_page_needs_nothing_beside_it_and_has_the_plots(page: Page) -> None:
    shown = parsed(html(page))
    assert "svg" in shown.tags
    assert not shown.tags & {"script", "link", "img", "iframe"}
    assert [source for source in shown.sources if not source.startswith("#")] == []


def test_it_has_machine_versions_commands_and_every_table(page: Page) -> None:
    text, found = parsed(html(page)).text, page.results["serve"]
    for words in (found.machine["kernel"], found.versions["skvaller"], "python -m bench", "MB/s", "docker-registry"):
        assert f"{words}" in text


def test_names_from_files_are_escaped(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\"'&$x$"
    rows: list[Mapping[str, Cell]] = [
        {"mode": evil, "a": Samples([1.0, 2.0]), "size": 3.0},
        {"mode": evil, "a": 4.0, "size": 5.0},
    ]
    table = Table(evil, {"size": "nodes", "mode": evil, "a": evil}, {"a": ".1f", "size": ".0f"}, rows)
    Report(evil, [table], [], {"settings": {"seed": evil}}, {evil: evil}).write(tmp_path / "evil.json")
    report = canned.lab(canned.settings(modes=("skvaller",)))
    for run in report.details["runs"]:
        run["mode"] = evil
    report.write(tmp_path / "modes.json")
    page = made(tmp_path)
    assert "script" not in page.tags
    assert evil in page.text


def test_a_step_that_failed_is_named_with_what_it_said(tmp_path: Path) -> None:
    canned.serve().write(tmp_path / "serve.json")
    step = {"name": "relay", "arguments": ["relay"], "code": "abc", "took_s": 3.0, "error": "exit status 1\n<no disk>"}
    (tmp_path / "relay.json").write_text(json.dumps({"bench": "relay", "step": step}))
    page = made(tmp_path)
    assert "1 step failed" in page.text
    assert "<no disk>" in page.text


def test_files_of_several_versions_are_told(tmp_path: Path) -> None:
    canned.serve().write(tmp_path / "serve.json")
    canned.serve().write(tmp_path / "again.json")
    found = json.loads((tmp_path / "serve.json").read_text())
    (tmp_path / "serve.json").write_text(json.dumps({**found, "versions": {"skvaller": "other"}}))
    assert "2 sets of versions" in made(tmp_path).text


def test_a_commit_that_changes_nothing_that_is_measured_makes_no_other_version(tmp_path: Path) -> None:
    for name, commit in (("serve", "aaa"), ("again", "bbb")):
        canned.serve().write(tmp_path / f"{name}.json")
        found = json.loads((tmp_path / f"{name}.json").read_text())
        found["versions"]["commit"] = commit
        (tmp_path / f"{name}.json").write_text(json.dumps(found))
    text = made(tmp_path).text
    assert "sets of versions" not in text
    assert re.search(r"skvaller \S+ commit aaa, bbb, code", text), "it is ours, and stands beside our version"


def test_the_json_has_the_answers_and_all_results(page: Page) -> None:
    found = json.loads(page.as_json())
    assert {answer["scenario"] for answer in found["answers"]} == {"fanout", "kill"}
    assert found["choices"][0]["headline"] == "Use gossip rather than a DHT"
    assert set(found["results"]) == {"fanout-2", "fanout-5", "kill-5", "serve"}


def test_the_page_of_documents_shows_its_plots_from_a_folder_beside_it(page: Page, tmp_path: Path) -> None:
    write_markdown(page, tmp_path / "results.md")
    text = (tmp_path / "results.md").read_text()
    shown = re.findall(r"\]\(results/([^)]+)\)", text)
    assert sorted(shown) == sorted(path.name for path in (tmp_path / "results").iterdir())
    assert shown
    picture = (tmp_path / "results" / shown[0]).read_text()
    assert "prefers-color-scheme: dark" in picture
    texts = [tag for tag in re.findall(r"<text[^>]*>", picture) if "fill: var(--ink)" not in tag]
    assert texts == [], "these cannot be read on a dark page"
    assert "**Use gossip rather than a DHT.**" in text


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is no result of a bench"),
        (b'{"bench": "lab fan', "is no result of a bench"),
        (b"[]", "is no result of a bench"),
        (b'{"bench": 1}', "Expected `str`"),
        (b'{"bench": "x", "tables": [{"title": "t", "rows": [{"a": [1]}]}]}', "tables"),
        (b'{"bench": "x", "tables": [{"title": "t", "rows": [], "formats": {"a": "9999999d"}}]}', "'9999999d'"),
        (b'{"bench": "x", "runs": [{"mode": "a"}]}', "repeat"),
        (b"[" * 100_000, "is no result of a bench"),
        (b'{"bench": "x", "written_unix_s": NaN}', "is no result of a bench"),
        (b'{"bench": "\xff"}', "is no result of a bench"),
    ],
)
def test_a_file_that_no_bench_has_written_is_named_with_what_is_wrong(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    (tmp_path / "odd.json").write_bytes(content)
    with pytest.raises(BenchError, match=re.escape(complaint)) as caught:
        read_folder(tmp_path)
    assert "odd.json" in str(caught.value)


def test_an_empty_folder_and_a_huge_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="has no results"):
        read_folder(tmp_path)
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(FILE_BYTES_MAX + 1)
    with pytest.raises(BenchError, match="at most"):
        read_folder(tmp_path)


NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers()
WORDS = st.text(max_size=8) | st.sampled_from(["skvaller", "dht", "direct", "ratio", "upstream", "nodes", "size"])
CELLS = WORDS | NUMBERS | st.fixed_dictionaries({"median": NUMBERS, "samples": st.lists(NUMBERS, max_size=3)})
SHEETS = st.fixed_dictionaries(
    {"title": WORDS, "rows": st.lists(st.dictionaries(WORDS, CELLS, max_size=3), max_size=3)},
    optional={
        "columns": st.dictionaries(WORDS, WORDS, max_size=3),
        "formats": st.dictionaries(WORDS, st.sampled_from([".2f", ".0f", "", "x", ",.1f"]), max_size=2),
    },
)
RUNS = st.fixed_dictionaries(
    {"mode": WORDS, "repeat": st.integers(), "figures": st.dictionaries(WORDS, NUMBERS, max_size=4)}
)
ANYTHING = st.recursive(NUMBERS | WORDS | st.booleans(), lambda inner: st.lists(inner) | st.dictionaries(WORDS, inner))
FILES = st.fixed_dictionaries(
    {"bench": st.sampled_from(["lab fanout", "lab kill", "lab ", "serve"]) | WORDS},
    optional={
        "tables": st.lists(SHEETS, max_size=2),
        "runs": st.lists(RUNS, max_size=4),
        "goals": st.lists(
            st.fixed_dictionaries({"what": WORDS, "limit": NUMBERS, "found": NUMBERS, "reached": st.booleans()})
        ),
        "settings": st.dictionaries(
            st.sampled_from(["nodes", "image", "layers", "link", "upstream", "image_name", "client", "loss", "seed"]),
            ANYTHING,
        ),
        "machine": st.dictionaries(st.sampled_from(["cpus", "kernel"]) | WORDS, WORDS | NUMBERS, max_size=2),
        "versions": st.dictionaries(WORDS, WORDS, max_size=2),
        "written_unix_s": NUMBERS,
    },
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=FILES, second=FILES | ANYTHING)
def test_any_json_gives_a_page_or_a_clear_error(tmp_path: Path, first: Any, second: Any) -> None:
    (tmp_path / "a.json").write_text(json.dumps(first))
    (tmp_path / "b.json").write_text(json.dumps(second))
    complaint = ""
    try:
        page = Page.of(read_folder(tmp_path))
    except BenchError as error:
        complaint = str(error)
    else:
        assert "</html>" in html(page)
        write_markdown(page, tmp_path / "results.md")
        json.loads(page.as_json())
    assert not complaint or re.search(r"[ab]\.json", complaint)


def test_a_containerd_that_some_steps_use_is_no_other_set_of_versions_but_another_code_is(tmp_path: Path) -> None:
    found = read_folder(canned.folder(tmp_path))
    for name, change in (("serve", {"containerd": "2.1.0", "spegel": "0.7.4"}), ("kill-5", {"containerd": "1.6"})):
        found[name] = msgspec.structs.replace(found[name], versions={**found[name].versions, **change})
    (versions,) = Page.of(found).versions
    assert {"2.1.0", "1.6"} <= set(versions["containerd"].split(", "))
    assert versions["spegel"] == "0.7.4"
    found["serve"] = msgspec.structs.replace(found["serve"], versions={**found["serve"].versions, "code": "other"})
    assert len(Page.of(found).versions) == 2


def markdown(page: Page, folder: Path) -> str:
    write_markdown(page, folder / "document.md")
    return (folder / "document.md").read_text()


def test_plots_of_the_page_before_go_and_other_pictures_stay(page: Page, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    for name in ("old", "mine"):
        (folder / f"{name}.svg").write_text("<svg/>")
    (tmp_path / "results.md").write_text("![Old](results/old.svg) ![Other](elsewhere/mine.svg)")
    write_markdown(page, tmp_path / "results.md")
    assert not (folder / "old.svg").exists()
    assert (folder / "mine.svg").exists()


def test_no_plots_go_into_a_folder_of_results(page: Page, tmp_path: Path) -> None:
    place = canned.folder(tmp_path / "results")
    (place / "fanout-5.svg").write_text("<svg/>")
    with pytest.raises(BenchError, match="holds results"):
        write_markdown(page, tmp_path / "results.md")
    assert (place / "fanout-5.svg").exists()
    with pytest.raises(BenchError, match="end its name in"):
        write_markdown(page, tmp_path / "page")


def test_the_page_takes_the_place_of_a_page_and_of_no_result(page: Page, tmp_path: Path) -> None:
    place = canned.folder(tmp_path)
    with pytest.raises(BenchError, match=re.escape("serve.json, which is not of a page")):
        check_target(place / "serve.html")
    with pytest.raises(BenchError, match="end its name in"):
        check_target(place / "other.json")
    check_target(place / "other.html")
    (place / "other.json").write_bytes(page.as_json())
    check_target(place / "other.html")


def test_a_page_among_results_is_none_of_them_whatever_its_name(page: Page, tmp_path: Path) -> None:
    place = canned.folder(tmp_path)
    before = read_folder(place)
    for name in ("report", "pair"):
        (place / f"{name}.json").write_bytes(page.as_json())
    assert read_folder(place) == before


def test_the_page_of_documents_has_the_goals_that_were_missed_but_none_of_failed_steps(tmp_path: Path) -> None:
    place, written = tmp_path / "results", tmp_path / "written"
    place.mkdir()
    written.mkdir()
    goals = [
        {"what": "speed", "limit": 2.0, "found": 1.5, "reached": False},
        {"what": "size", "limit": 2.0, "found": None, "reached": False, "most": True},
        {"what": "other", "limit": 2.0, "found": 3.0, "reached": True},
    ]
    (place / "good.json").write_text(json.dumps({"bench": "serve", "goals": goals}))
    step = {"name": "relay", "arguments": [], "code": "c", "took_s": 1.0, "error": "exit status 1"}
    (place / "broken.json").write_text(json.dumps({"bench": "relay", "goals": goals, "step": step}))
    page = Page.of(read_folder(place))
    assert page.reached == 1
    text = markdown(page, written)
    said = text.partition("## Goals")[2].partition("## Where gossip loses")[0]
    assert "1 of 3 goals of the benches were reached. These were missed:" in said
    assert "- good: speed: 1.5 instead of at least 2\n" in said
    assert "- good: size: no number instead of at most 2\n" in said
    assert "broken" not in said
    assert "R is the time in times of one download" in said


def test_the_page_of_documents_has_the_whole_title_of_a_table(tmp_path: Path) -> None:
    table = Table("Times, and of each\nthe range", {"a": "a"}, {"a": ".1f"}, [{"a": 1.0}])
    text = markdown(only(tmp_path / "results", Report("micro", [table], [])), tmp_path)
    assert "### a: Times, and of each\n\nthe range\n" in text


def test_where_filters_make_no_difference_there_is_a_sentence_and_no_empty_table(page: Page, tmp_path: Path) -> None:
    text = markdown(page, tmp_path)
    said = text.partition("## Bloom filters beside")[2].partition("\n## ")[0]
    assert "No figure made a clear difference" in said
    assert "|" not in said
    assert "No figure made a clear difference" in html(page)
    alone = only(tmp_path / "alone", canned.lab(canned.settings(modes=("skvaller", "dht"))))
    assert "Bloom filters beside" not in markdown(alone, tmp_path)


def test_both_pages_explain_their_words(page: Page, tmp_path: Path) -> None:
    for text in (parsed(html(page)).text, markdown(page, tmp_path).replace("*", "")):
        said = text.partition("How to read it")[2]
        for term in ("of the image (U):", "10MB-4:", "mirror:", "home:", "kill:", "fanout:"):
            assert term in said
        assert "p99 the time within which 99 of 100 have one" in said
