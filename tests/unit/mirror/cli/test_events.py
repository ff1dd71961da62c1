"""`skvaller events`: what it asks, prints, and does when the agent goes."""

import itertools
import json
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mirror.cli import main
from mirror.cli.event_lines import Loudness, loudness_of, text_of
from mirror.cli.running_agent import NoAgent
from mirror.events import Kind

EVENTS = import_module("mirror.cli.events")
DEATH = {"number": 7, "time_unix_s": 0.0, "kind": "member-died", "member": "n2", "address": "10.0.0.2:7946"}
HEARTBEAT = {"number": 9, "time_unix_s": 1.0, "kind": "heartbeat"}
PULL = {
    "kind": "pull-ended",
    "image": "docker.io/library/app:1",
    "client": "127.0.0.1",
    "seconds": 2.34,
    "requests": 7,
    "failed": 0,
    "bytes": 60 << 20,
    "sources": {"n1": 40 << 20, "cache": 20 << 20},
    "upstream_bytes": 0,
    "home_bytes": 0,
    "why_upstream": "",
    "error": "",
}


class Agent:
    """Answers one after the other; a NoAgent among them is raised, and after the last one a person presses Ctrl-C."""

    def __init__(self, *answers: Sequence[dict[str, Any]] | NoAgent) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    def lines(self, url: str, path: str, timeout_s: float) -> Iterator[str]:
        self.asked.append(path.partition("?")[2])
        if not self._answers:
            raise KeyboardInterrupt
        answer = self._answers.pop(0)
        if isinstance(answer, NoAgent):
            raise answer
        yield from map(json.dumps, answer)


def run(monkeypatch: pytest.MonkeyPatch, agent: Agent, *flags: str) -> Result:
    monkeypatch.setattr(EVENTS, "lines", agent.lines)
    monkeypatch.setattr(EVENTS.time, "sleep", lambda seconds: None)
    return CliRunner().invoke(main, ["events", *flags], env={"TZ": "UTC"})


def test_lines_are_for_people_and_have_no_colours_but_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(monkeypatch, Agent([DEATH]))
    assert done.output.endswith("  n2 is dead (10.0.0.2:7946)\n")
    assert "\x1b" not in done.output
    assert (done.exit_code, done.output.count("\n")) == (0, 1)


def test_json_is_an_object_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(monkeypatch, Agent([DEATH, DEATH]), "--json")
    assert [json.loads(line) for line in done.output.splitlines()] == [DEATH, DEATH]


def test_kinds_and_times_are_the_agents_to_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent([])
    run(monkeypatch, agent, "--kind", "pull", "--kind", "ban-began", "--since", "2h")
    assert agent.asked == ["kind=pull%2Cban-began&within_s=7200"]
    wrong = run(monkeypatch, agent, "--since", "soon")
    assert (wrong.exit_code, "30s, 5m, 2h or 7d" in wrong.output) == (2, True)


def test_who_follows_waits_for_an_agent_that_went_and_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = NoAgent("no agent answers")
    agent = Agent([DEATH, HEARTBEAT], gone, gone, [{**DEATH, "number": 12, "member": "n3"}])
    done = run(monkeypatch, agent, "-f", "--since", "1h")
    assert agent.asked[0] == "within_s=3600&follow=1"
    assert agent.asked[1:] == ["follow=1&after=9"] * 3 + ["follow=1&after=12"]
    assert [line.partition("  ")[2] or line for line in done.stdout.splitlines()] == [
        "n2 is dead (10.0.0.2:7946)",
        "n3 is dead (10.0.0.2:7946)",
    ]
    assert done.stderr.count("waiting for it to come back") == 2, "once for each time that it went"
    assert done.exit_code == 130


def test_an_agent_that_was_never_there_is_no_reason_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(monkeypatch, Agent(NoAgent("no agent answers at x")), "-f")
    assert (done.exit_code, done.output) == (3, "Error: no agent answers at x\n")


def test_a_pull_in_words_says_what_a_person_asks() -> None:
    assert text_of(PULL) == "pulled app:1: 60.0 MiB in 2.3 s; from n1 40.0 MiB, cache 20.0 MiB (127.0.0.1)"
    failed = PULL | {"upstream_bytes": 1024, "home_bytes": 2048, "why_upstream": "no member had it", "error": "no room"}
    said = "; no member had it: 1.0 KiB by upstream, 2.0 KiB by homes; not all: no room (127.0.0.1)"
    assert text_of(failed).endswith(said)
    assert (loudness_of(PULL), loudness_of(failed)) == (Loudness.PLAIN, Loudness.BAD)


def test_every_kind_has_words_and_a_kind_of_tomorrow_is_shown_as_it_is() -> None:
    fields = {"name", "version", "member", "address", "content", "registry", "why", "image", "client", "error"}
    row: dict[str, Any] = {
        **PULL, **dict.fromkeys(fields, "x"), "left": 3, "wait_s": 90.0, "answers": True, "blobs": 2, "ids": ["aa"],
    }  # fmt: skip
    texts = [text_of(row | {"kind": kind.value}) for kind in Kind]
    assert not any(text.startswith(kind) for text, kind in zip(texts, Kind, strict=True))
    for one, other in itertools.combinations(texts, 2):
        assert one != other
    assert text_of({"number": 1, "time_unix_s": 0.0, "kind": "moon-rose", "phase": "full"}) == "moon-rose: phase full"


def test_what_others_named_reaches_no_terminal_as_it_is() -> None:
    assert "\x1b" not in text_of(DEATH | {"member": "n\x1b[2J2\n"})
