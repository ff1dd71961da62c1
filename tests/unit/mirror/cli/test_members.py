"""What `skvaller members` prints of what an agent answers."""

from importlib import import_module
from typing import Any

import pytest
from click.testing import CliRunner

from mirror.cli import main


def row(name: str, **values: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "name": name,
        "state": "alive",
        "peer": "http://10.0.0.1:5001",
        "keys": 7,
        "itself": False,
        "flapping": False,
        "home": "yes",
        "rtt_ms": 0.5,
        "contradicts": None,
    }
    return given | values


def budget(registry: str, **values: Any) -> dict[str, Any]:
    given = {
        "remaining": 0,
        "limit": None,
        "window_s": None,
        "wait_s": 0.0,
        "age_s": 3.0,
        "source": "",
        "refused": "nothing",
    }
    return {"registry": registry, **given, **values}


BUDGETS = [
    budget("docker.io", remaining=76, limit=100, window_s=21600, source="192.0.2.1"),
    budget("quay.io", wait_s=40.0, age_s=20.0, refused="all"),
    budget("ghcr.io", remaining=5),
    budget("lab:5000", wait_s=216.0),
]
OUTAGES = [
    {"registry": "docker.io", "out_s": 12.3, "members": ["a", "b"]},
    {"registry": "quay.io", "out_s": None, "members": ["c"]},
]


def test_a_member_that_contradicts_upstream_is_named_below_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"tag": "docker.io/library/nginx:1", "says": "sha256:aa", "upstream": "sha256:bb", "ignored_s": 3000}
    rows = [row("honest"), row("liar", contradicts=said)]
    module = import_module("mirror.cli.members")  # the package has the command under that name
    monkeypatch.setattr(
        module, "ask", lambda url, path: {"alone": "", "members": rows, "budgets": BUDGETS, "outages": OUTAGES}
    )
    shown = CliRunner().invoke(main, ["members"])
    assert shown.exit_code == 0
    assert "alone" not in shown.output
    assert "docker.io: 76 of 100 pulls left within 6 h (192.0.2.1), as it said 3 s ago" in shown.output
    assert "quay.io: it answered 429, and nobody asks for another 40 s, as it said 20 s ago" in shown.output
    assert "ghcr.io: 5 pulls left, as it said 3 s ago" in shown.output
    assert "lab:5000: no pull is left, and nobody pulls for another 216 s, as it said 3 s ago" in shown.output
    assert "docker.io: it has not answered this node for 12 s, a, b\n" in shown.output
    assert "quay.io: it has not answered c\n" in shown.output
    (line,) = [line for line in shown.output.splitlines() if "upstream says" in line]
    assert line.startswith("liar says that docker.io/library/nginx:1 is sha256:aa, and upstream says sha256:bb")
    assert "no tag for 3000 s" in line


def test_node_that_is_alone_says_what_it_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module("mirror.cli.members")
    answer = {
        "alone": "10.0.0.1:7946: Connection refused",
        "members": [row("me", itself=True)],
        "budgets": [],
        "outages": [],
    }
    monkeypatch.setattr(module, "ask", lambda url, path: answer)
    shown = CliRunner().invoke(main, ["members"])
    assert "reaches no other member. Tried 10.0.0.1:7946: Connection refused" in shown.output
