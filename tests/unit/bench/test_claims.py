"""Claims: the table and README say the same, every comparison of README is in it, and figures decide."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.claims import CLAIMS, Verdict, cell, lab, lab_beside, rows_beside
from bench.micro import lookup
from bench.micro.amount import Amount
from bench.page.build import Page
from bench.page.figures import Figures
from bench.page.results import read_folder
from bench.page.write import html
from bench.report import Cell, Report, Table
from tests.unit.bench.page import canned

if TYPE_CHECKING:
    from collections.abc import Mapping

README = (Path(__file__).parents[3] / "README.md").read_text()
RIVALS = re.compile(r"\b(Spegel|serf|nginx|docker-registry|DHT|pull-through cache|[Ww]ithout a mirror)\b")
DESCRIPTIONS = ("There is no database, no leader, no DHT.",)
"""Sentences that name others, and claim nothing against them."""


def words(text: str) -> str:
    return " ".join(text.split())


def prose(readme: str) -> str:
    """Sentences one after the other, without code, tables, headings and marks."""
    text = re.sub(r"^```.*?^```$", "", readme, flags=re.MULTILINE | re.DOTALL)
    lines = [line for line in text.splitlines() if not line.startswith(("|", "#"))]
    return re.sub(r"\*\*|^- ", "", "\n".join(lines), flags=re.MULTILINE)


def test_readme_has_each_claim_word_for_word() -> None:
    text = words(prose(README))
    assert [claim.id for claim in CLAIMS if claim.sentence not in text] == []


def test_each_sentence_of_readme_that_names_a_rival_is_a_claim() -> None:
    claimed = {words(claim.sentence) for claim in CLAIMS} | set(DESCRIPTIONS)
    paragraphs = re.split(r"\n\s*\n|\n(?=- )", re.sub(r"^- ", "\n- ", README, flags=re.MULTILINE))
    sentences = [
        words(sentence)
        for paragraph in paragraphs
        for sentence in re.split(r"(?<=[.!?])\s+", prose(paragraph).strip())
        if RIVALS.search(re.sub(r"`[^`]*`", "", sentence))
    ]
    pointing = [sentence for sentence in sentences if "docs/results.md" in sentence]
    assert len(pointing) == 1
    assert [sentence for sentence in sentences if sentence not in claimed and sentence not in pointing] == []


def test_ids_are_distinct_and_each_claim_has_a_rule() -> None:
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)
    assert all(claim.rules for claim in CLAIMS)


def figures_of(folder: Path, *reports: Report) -> Figures:
    for number, report in enumerate(reports):
        report.write(folder / f"{number}.json")
    return Figures(read_folder(folder))


def claim(name: str) -> int:
    return [claim.id for claim in CLAIMS].index(name)


@pytest.mark.parametrize(("upstream", "verdict"), [(5.0, Verdict.HOLDS), (1.0, Verdict.FAILS), (None, Verdict.UNKNOWN)])
def test_the_figures_decide_a_claim(tmp_path: Path, upstream: float | None, verdict: Verdict) -> None:
    typical = {**canned.TYPICAL, "spegel": {} if upstream is None else {"upstream": upstream}}
    found = figures_of(tmp_path, canned.lab(canned.settings(), typical))
    assert CLAIMS[claim("complete-layers")].verdict(found) is verdict


@pytest.mark.parametrize(("errors", "verdict"), [(0.0, Verdict.HOLDS), (1.0, Verdict.FAILS)])
def test_an_error_in_any_run_breaks_a_claim_of_no_errors(tmp_path: Path, errors: float, verdict: Verdict) -> None:
    report = canned.lab(canned.settings("kill", modes=["skvaller"]), {"skvaller": {"client_errors": 0.0}})
    report.details["runs"][1]["figures"]["client_errors"] = errors
    assert CLAIMS[claim("killed")].verdict(figures_of(tmp_path, report)) is verdict


def test_rules_look_at_ratios_between_modes_and_rows(tmp_path: Path) -> None:
    rows: list[Mapping[str, Cell]] = [
        {"kind": "skvaller", "size": 5.0, "cpu": 3.0},
        {"kind": "serf", "size": 5.0, "cpu": 1.5},
    ]
    rows += [{"kind": "serf", "size": 9.0, "cpu": 100.0}]
    table = Table("Idle, per node", {"kind": "kind", "cpu": "CPU"}, {"cpu": ".2f"}, rows)
    found = figures_of(tmp_path, Report("gossip", [table], []), canned.lab(canned.settings()))
    pair = ({"kind": "skvaller"}, {"kind": "serf"})
    (beside,) = rows_beside("gossip", "Idle", "cpu", pair, least=1.0)(found)
    assert (beside.found, beside.holds) == ("2.00", True)
    (beside,) = lab_beside("fanout", "cpu_s_per_gib", "spegel", least=1.0)(found)
    assert beside.holds
    assert not rows_beside("gossip", "Idle", "cpu", pair, most=1.0)(found)[0].holds
    assert [it.holds for it in cell("gossip", "Idle", "cpu", most=2.0, kind="serf")(found)] == [True, False]


def test_what_the_microbenchmark_writes_decides_the_claim_about_lookups(tmp_path: Path) -> None:
    tables, goals = lookup.measure(Amount(rounds=1, shapes=((3, 40),), key_counts=(10,), calls=1, file_bytes=1024))
    found = CLAIMS[claim("lookup")].findings(figures_of(tmp_path, Report("micro", tables, goals)))
    assert [it.what.rpartition(": ")[2] for it in found] == ["hit_us", "miss_us"]


def memory(agent: float, registry: float) -> Report:
    columns = {"server": "server", "idle": "idle", "peak": "peak"}
    rows: list[Mapping[str, Cell]] = [
        {"server": "skvaller", "idle": 70.0, "peak": agent},
        {"server": "nginx", "idle": 15.0, "peak": 16.0},
        {"server": "docker-registry", "idle": 20.0, "peak": registry},
    ]
    return Report("serve", [Table("Memory", columns, {"idle": ".0f", "peak": ".0f"}, rows)], [])


@pytest.mark.parametrize(
    ("agent", "registry", "verdict"), [(75.0, 453.0, Verdict.HOLDS), (500.0, 453.0, Verdict.FAILS)]
)
def test_memory_at_its_peak_is_claimed_apart_from_idle_memory(
    tmp_path: Path, agent: float, registry: float, verdict: Verdict
) -> None:
    assert CLAIMS[claim("memory")].verdict(figures_of(tmp_path, memory(agent, registry))) is verdict


def test_a_claim_that_only_the_long_suite_measures_says_so_in_readme_and_on_the_page(tmp_path: Path) -> None:
    assert [it.id for it in CLAIMS if it.long is not ("`--long` alone" in it.sentence)] == []
    canned.serve().write(tmp_path / "serve.json")
    text = html(Page.of(read_folder(tmp_path)))
    assert text.count("not measured: `--long` alone does") == sum(it.long for it in CLAIMS) > 0


def test_an_open_figure_is_within_no_upper_bound_and_within_a_lower_one(tmp_path: Path) -> None:
    report = canned.lab(canned.settings(modes=["skvaller", "dht"]))
    for run in report.details["runs"]:
        run["figures"] = {"ratio": 2.0, **({"ratio_at_least": 1.0} if run["mode"] == "skvaller" else {})}
    found = figures_of(tmp_path, report)
    assert not lab("fanout", "ratio", most=9.0)(found)[0].holds
    assert lab("fanout", "ratio", least=1.9)(found)[0].holds
    assert not lab_beside("fanout", "ratio", "dht", most=9.0)(found)[0].holds
    assert lab_beside("fanout", "ratio", "dht", least=0.9)(found)[0].holds
    assert lab("fanout", "ratio", most=9.0, mode="dht")(found)[0].holds
