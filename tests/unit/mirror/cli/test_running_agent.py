"""How the command line names an agent, and what it ends with."""

import errno
import io
import json
import os
from importlib import import_module

import click
import pytest
from click.testing import CliRunner

from mirror.cli import main
from mirror.cli.running_agent import Answer, Refused, agent_url, read, show_table

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
    ["load"],
    ["save"],
    ["pin"],
    ["unpin"],
    ["pins"],
    ["prefetch"],
    ["verify"],
    ["token"],
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


@pytest.mark.parametrize(
    "text",
    ["", "http://", "ftp://node", "unix:", "unix:relative", "://", "node:http", "node:70000", "http://[::1", ":5000"],
)
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
        (Answer(404, {}, b"Not Found"), 3),
        (Answer(404, {}, b'{"error": "no such job"}'), 1),
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


def test_a_narrow_table_breaks_names_and_nothing_short(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    name = "registry.example.com/shop/a-service-with-a-long-name:2.1"
    show_table(("image", "digest", "copies", "its loss would hurt"), [(name, "ab" * 6, "2 of 2", "lab1 lab2 lab3")])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 60
    assert any("ab" * 6 in line and "2 of 2" in line for line in lines)
    assert "".join(line[1:].split("  ")[0].strip() for line in lines) == f"image{name}"


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_an_answer_for_which_the_disk_has_no_room_is_an_error_of_one_line(
    flags: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {"members": [], "alone": "", "budgets": [], "outages": []}
    monkeypatch.setattr(import_module("mirror.cli.members"), "ask", lambda url, path: told)

    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("sys.stdout", Full())
    with pytest.raises(SystemExit) as ended:
        main(["members", *flags])
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        "Error: standard output: it cannot be written: No space left on device; make room\n"
    )


def test_no_text_of_an_answer_commands_a_terminal() -> None:
    """It quotes what members and registries say, and names that anybody gave."""
    told = {"images": [{"na\x1bme": "a\x1b]0;x\x07b\n", "\u202e": 1, "size": 5, "at": None}]}
    assert read("http://a", Answer(200, {}, json.dumps(told).encode())) == {
        "images": [{"na\ufffdme": "a\ufffd]0;x\ufffdb\ufffd", "\ufffd": 1, "size": 5, "at": None}]
    }
    with pytest.raises(Refused) as refused:
        read("http://a", Answer(409, {}, b'{"error": "no \\u001b[2J"}'))
    assert refused.value.format_message() == "http://a: no \ufffd[2J"


def test_no_cell_of_a_table_commands_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("agent",), [("10.0.0.1 \x1b[2J",)])
    assert "\x1b" not in capsys.readouterr().out


def test_no_error_commands_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> Answer:
        raise Refused("b says \x1b[2J\nand no more")

    monkeypatch.setattr(import_module("mirror.cli.running_agent"), "exchange", refuse)
    assert CliRunner().invoke(main, ["members"]).stderr == "Error: b says \ufffd[2J\nand no more\n"
