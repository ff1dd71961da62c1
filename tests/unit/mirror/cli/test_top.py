"""`skvaller top`: what is shown in few columns and lines, and what where the agent goes."""

import json
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from mirror.cli import main
from mirror.cli.running_agent import NoAgent
from mirror.cli.top_view import picture

TOP = import_module("mirror.cli.top")
EVENT = {"number": 5, "time_unix_s": 0.0, "kind": "member-died", "member": "n2", "address": "10.0.0.2:7946"}


def member(name: str, state: str = "alive", **more: Any) -> dict[str, Any]:
    usual = {"name": name, "state": state, "peer": "http://10.0.0.1:5001", "keys": 7, "itself": False}
    return usual | {"flapping": False, "home": "yes", "rtt_ms": 1.5, "trouble": None, "pace": 0} | more


STATUS: dict[str, Any] = {
    "node": "n1",
    "ready": True,
    "cache": {"bytes": 1 << 30, "limit_bytes": 20 << 30},
    "upstream_pace": 5 << 20,
    "members": [member("n1", itself=True), member("n2", "dead"), member("n3", pace=3 << 20)],
    "pulls": [
        {
            "image": "docker.io/library/app:1.0",
            "bytes": 30 << 20,
            "of_bytes": 60 << 20,
            "sources": {"upstream": 10 << 20, "n3": 20 << 20},
            "clients": ["127.0.0.1"],
            "for": "clients",
        }
    ],
    "budgets": [
        {"registry": "docker.io", "remaining": 3, "limit": 100, "wait_s": 0.0, "refused": "nothing", "window_s": 21600,
         "source": "", "age_s": 4.0}
    ],
    "problems": [
        {"severity": "error", "what": "n2 is dead.", "advice": "Start it again:", "command": "systemctl start skvaller",
         "on": "n2"},
        {"severity": "error", "what": "ghcr.io has not answered this node for 12 s.", "advice": "See what it says",
         "command": "skvaller doctor", "on": ""},
    ],
}  # fmt: skip


def drawn(status: dict[str, Any], height: int | None = None, silence: str = "", columns: int = 80) -> list[str]:
    console = Console(width=columns, height=height or 100)
    with console.capture() as capture:
        console.print(picture(status, [EVENT], silence, height))
    return capture.get().splitlines()


class Agent:
    """Answers, one after the other."""

    def __init__(self, *answers: dict[str, Any] | NoAgent) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    def ask(self, url: str, path: str) -> dict[str, Any]:
        answer = self._answers.pop(0)
        if isinstance(answer, NoAgent):
            raise answer
        return answer

    def lines(self, url: str, path: str, timeout_s: float) -> Iterator[str]:
        self.asked.append(path)
        yield json.dumps(EVENT)


def run(monkeypatch: pytest.MonkeyPatch, agent: Agent, *flags: str) -> Result:
    monkeypatch.setattr(TOP, "ask", agent.ask)
    monkeypatch.setattr(TOP, "lines", agent.lines)
    monkeypatch.setattr(TOP.time, "sleep", lambda seconds: None)
    return CliRunner().invoke(main, ["top", *flags], env={"COLUMNS": "80"})


def test_a_look_has_members_pulls_budgets_what_is_wrong_and_events_in_80_columns() -> None:
    shown = drawn(STATUS)
    text = "\n".join(shown)
    assert max(map(len, shown)) <= 80
    assert shown[0].startswith("n1   2 of 3 members alive   cache 1.0 GiB of 20.0 GiB   upstream 5.0 MiB/s")
    names = [line.split()[0] for line in shown[3:6]]
    assert names == ["n2", "n3", "n1"], "first who is not alive, then who sends most"
    for words in ("app:1.0", " 50%", "upstream 10.0 MiB, n3", "3 of 100 pulls left", "n2 is dead. Start it again:",
                  "ghcr.io has not answered this node for 12 s.", "n2 is dead (10.0.0.2:7946)"):  # fmt: skip
        assert words in text


def test_many_members_and_long_names_fit_into_a_small_terminal() -> None:
    many = [member(f"a-node-with-quite-a-long-name-{number}.example.com", pace=number) for number in range(90)]
    pulls = [STATUS["pulls"][0] | {"image": f"registry.example.com/a/long/path/{number}:1.0"} for number in range(40)]
    shown = drawn({**STATUS, "members": many, "pulls": pulls}, height=24)
    assert len(shown) <= 24
    assert max(map(len, shown)) <= 80
    assert "alive" in shown[3]
    assert any(line.strip().endswith("more members") for line in shown)


def test_nothing_of_what_others_named_is_markup_or_moves_the_cursor() -> None:
    odd = member("[red]n9[/red]\x1b[2J")
    text = "\n".join(drawn({**STATUS, "members": [odd]}, columns=200))
    assert "[red]n9[/red]" in text
    assert "\x1b[2J" not in text


def test_without_a_terminal_one_look_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(monkeypatch, Agent(STATUS))
    assert (done.exit_code, done.output.count("members alive")) == (0, 1)
    assert "\x1b" not in done.output


def test_an_agent_that_goes_is_said_to_be_gone_and_shown_again_when_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent(STATUS, NoAgent("no agent answers at x"), {**STATUS, "node": "n1-again"})
    done = run(monkeypatch, agent, "-n", "3")
    assert done.exit_code == 0
    assert done.output.count("no agent answers at x (last seen 0 s ago)") == 1
    assert done.output.count("2 of 3 members alive") == 3
    assert "n1-again" in done.output
    assert agent.asked == ["/api/v1/events", "/api/v1/events?after=5"], "each event is asked for once"


def test_an_agent_that_was_never_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(monkeypatch, Agent(NoAgent("no agent answers at x")))
    assert (done.exit_code, done.output) == (3, "Error: no agent answers at x\n")


def test_json_is_an_object_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(monkeypatch, Agent(STATUS, STATUS), "--json", "-n", "2")
    assert [json.loads(line) for line in done.output.splitlines()] == [STATUS, STATUS]
