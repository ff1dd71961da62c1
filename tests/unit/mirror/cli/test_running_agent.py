"""How the command line names an agent, and what it ends with."""

from importlib import import_module

import click
import pytest
from click.testing import CliRunner

from mirror.cli import main
from mirror.cli.running_agent import Answer, agent_url

COMMANDS = (
    [],
    ["agent"],
    ["demo"],
    ["find"],
    ["why"],
    ["images"],
    ["delete"],
    ["prune"],
    ["refresh"],
    ["members"],
    ["keys"],
    *(["keys", step] for step in ("install", "use")),
)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("[::1]:5000", "http://[::1]:5000"),
        ("node", "http://node"),
        ("http://node:5000/", "http://node:5000/"),
        ("https://node", "https://node"),
        ("unix:/run/skvaller.sock", "unix:/run/skvaller.sock"),
    ],
)
def test_an_agent_may_be_named_without_a_scheme(text: str, url: str) -> None:
    assert agent_url(text) == url


@pytest.mark.parametrize("text", ["", "http://", "ftp://node", "unix:", "unix:relative", "://"])
def test_what_names_no_agent_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="HOST:PORT"):
        agent_url(text)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (Answer(400, {}, b'{"error": "q: this is no reference"}'), 2),
        (Answer(403, {}, b'{"error": "not from there"}'), 1),
        (Answer(500, {}, b"oh"), 1),
        (Answer(200, {}, b"<html>"), 3),
    ],
)
def test_the_exit_status_says_whose_fault_it_is(monkeypatch: pytest.MonkeyPatch, answer: Answer, status: int) -> None:
    monkeypatch.setattr(import_module("mirror.cli.running_agent"), "exchange", lambda url, path: answer)
    shown = CliRunner().invoke(main, ["find", "x"], env={"SKVALLER_AGENT": "node:1"})
    assert shown.exit_code == status
    assert "http://node:1" in shown.output
    assert shown.output.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command) or "skvaller")
def test_help_has_no_marks_for_its_writer(command: list[str]) -> None:
    shown = CliRunner().invoke(main, [*command, "--help"])
    assert shown.exit_code == 0
    assert "\b" not in shown.output
    assert "\\b" not in shown.output


@pytest.mark.parametrize("words", [words for words in COMMANDS if words])
def test_a_misspelt_variable_is_refused_by_every_command(words: list[str]) -> None:
    answer = CliRunner(env={"SKVALLER_AGNET": "10.0.0.1:5000"}).invoke(main, words)
    assert answer.exit_code == 2
    assert answer.output == "Error: SKVALLER_AGNET: no such setting; is SKVALLER_AGENT meant?\n"
