"""Insertions and cuts: the first that means what it should is taken, wherever it is proposed."""

import json

import pytest

from mirror.runtimes.edits import Insertion, cut, inserted, item_cuts, newline_of, occurrences, toml


def test_what_is_proposed_inside_a_comment_or_a_text_is_passed_over() -> None:
    text = '# mirrors = [\nnote = """\nmirrors = ["""\nmirrors = []\n'
    places = [
        Insertion(at + len("mirrors = ["), '"a"') for at in range(len(text)) if text.startswith("mirrors = [", at)
    ]
    found = inserted(text, places, toml, {"note": "mirrors = [", "mirrors": ["a"]})
    assert found is not None
    assert found.into(text).endswith('mirrors = ["a"]\n')
    assert inserted(text, places, toml, {"mirrors": ["b"]}) is None


def test_the_occurrence_that_was_added_last_is_cut_first() -> None:
    assert list(occurrences("x, x, x", "x")) == [(6, 7), (3, 4), (0, 1)]
    assert list(occurrences("", "x")) == list(occurrences("x", "")) == []


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_that_got_its_end_with_a_table_keeps_it_if_others_went_on(end: str) -> None:
    table = f"{end}{end}[t]{end}a = 1{end}"
    meant = {"debug": True}
    assert cut(f"debug = true{table}", occurrences(f"debug = true{table}", table), toml, meant) == "debug = true"
    text = f"debug = true{table}# more"
    assert cut(text, occurrences(text, table), toml, meant) == f"debug = true{end}# more"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('["a", "b"]', '["b"]'),
        ('["b", "a"]', '["b"]'),
        ('["a"]', "[]"),
        ('[\n  "a",\n  "b"\n]', '[\n  "b"\n]'),
        ('[\n  "b",\n  "a"\n]', '[\n  "b"\n]'),
        ('["b" , "a" , "c"]', '["b" , "c"]'),
    ],
)
def test_an_item_goes_with_its_comma_and_its_line(before: str, after: str) -> None:
    meant = [each for each in json.loads(before) if each != "a"]
    assert cut(before, item_cuts(before, '"a"'), json.loads, meant) == after


def test_line_ends_are_those_of_the_first_line() -> None:
    assert [newline_of(text) for text in ("", "a", "a\nb\r\n", "a\r\nb\n")] == ["\n", "\n", "\n", "\r\n"]


def test_what_is_nested_too_deeply_is_no_toml() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        toml("a = " + "[" * 100_000)
