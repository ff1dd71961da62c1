"""What `skvaller images`, `delete` and `prune` print of what an agent answers."""

import json
from importlib import import_module
from typing import Any

import pytest
from click.testing import CliRunner

from mirror.cli import main

APP = {
    "reference": "docker.io/library/app:1",
    "digest": "sha256:" + "ab" * 32,
    "bytes": 3 * 1024 * 1024,
    "whole": ["n1", "n2"],
    "partial": ["n3"],
    "unused_s": 7200.0,
    "pinned": "all",
    "here": {"held": 3, "named": 4, "stores": ["cache", "containerd"]},
    "from": {"n2": 5, "upstream": 3},
}
LONE = APP | {
    "reference": "",
    "digest": "sha256:" + "cd" * 32,
    "bytes": 5,
    "partial": [],
    "unused_s": None,
    "from": {},
    "pinned": None,
}
LONE |= {"here": None, "pinned": None, "whole": ["n1", "n2", "n3"]}


def images(monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any], *flags: str) -> Any:
    monkeypatch.setattr(import_module("mirror.cli.images"), "ask", lambda url, path: answer)
    return CliRunner().invoke(main, ["images", *flags], env={"COLUMNS": "100"})


def test_images_are_shown_with_copies_and_who_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = [{"member": "n4", "reason": "it has not answered within 10 s"}]
    shown = images(monkeypatch, {"images": [APP, LONE], "silent": silent})
    rows = [line.split() for line in shown.stdout.splitlines()]
    assert shown.exit_code == 0
    assert rows[1][:10] == ["app:1", "abababababab", "3.0", "MiB", "2", "+1", "part", "all", "cache+containerd", "(3"]
    assert rows[1][-3:] == ["h", "n2", "+1"]
    assert rows[2] == ["-", "cdcdcdcdcdcd", "5", "B", "3", "-", "-", "-", "-"]
    assert "n4 does not tell what it holds: it has not answered within 10 s\n" in shown.output


@pytest.mark.parametrize(
    ("order", "first"), [("name", "app:1"), ("size", "app:1"), ("copies", "app:1"), ("unused", "app:1")]
)
def test_images_are_sorted(monkeypatch: pytest.MonkeyPatch, order: str, first: str) -> None:
    shown = images(monkeypatch, {"images": [LONE, APP], "silent": []}, "--sort", order)
    assert shown.stdout.splitlines()[1].split()[0] == first


def test_without_any_image_the_status_is_1(monkeypatch: pytest.MonkeyPatch) -> None:
    for flags, text in (([], "there is no image"), (["nginx:*"], "no member has an image that fits nginx:*")):
        shown = images(monkeypatch, {"images": [], "silent": []}, *flags)
        assert (shown.exit_code, shown.stdout.strip()) == (1, text)


class Agent:
    """Takes orders, and answers each with the next of its answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: dict[str, Any]) -> None:
        self.orders: list[tuple[str, dict[str, Any]]] = []
        self._answers = list(answers)
        monkeypatch.setattr(import_module("mirror.cli.removal"), "order", self._order)

    def _order(self, url: str, path: str, what: dict[str, Any], key_file: object) -> dict[str, Any]:
        self.orders.append((path, what))
        return self._answers.pop(0)

    def run(self, *words: str, answer: str = "") -> Any:
        return CliRunner().invoke(main, words, input=answer, env={"COLUMNS": "100"})


def deleted(member: str, **more: Any) -> dict[str, Any]:
    row = {"member": member, "problem": None, "tags": ["docker.io/library/app:1"], "blobs": 4, "bytes": 1024}
    return row | {"runtime": False, "shares": []} | more


def test_what_each_member_deleted_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    members = [deleted("n1", runtime=True, shares=["docker.io/library/b:1"]), {"member": "n2", "problem": "n2 is gone"}]
    agent = Agent(monkeypatch, {"members": members})
    shown = agent.run("delete", "app:1", "--everywhere")
    assert agent.orders == [("/api/v1/delete", {"what": "app:1", "everywhere": True})]
    assert shown.exit_code == 1, "one member did not"
    assert "n2 is gone" in shown.stdout
    assert "1.0 KiB" in shown.stdout
    assert "docker.io/library/b:1" in shown.stdout
    assert "containerd's own copy is never touched" in shown.stdout


def test_to_delete_what_is_not_there_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = deleted("n1", tags=[], blobs=0, bytes=0)
    assert Agent(monkeypatch, {"members": [nothing]}).run("delete", "app:1").exit_code == 1
    assert Agent(monkeypatch, {"members": [deleted("n1")]}).run("delete", "app:1").exit_code == 0


PLAN = {"node": "n1", "images": [APP], "blobs": 4, "bytes": 2048, "pinned": 2, "read": 1}


def test_a_prune_shows_what_goes_and_asks_first(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent(monkeypatch, PLAN, PLAN)
    shown = agent.run("prune", "--unused", "12h", "--keep-size", "1KiB", answer="n\n")
    assert shown.exit_code == 1
    assert (
        "to go from the cache of n1: 4 blobs, 2.0 KiB; what stays: 2 blobs pinned and 1 blob being read"
    ) in shown.stdout
    rule = {"unused_s": 43200.0, "keep_bytes": 1024}
    assert agent.orders == [("/api/v1/prune", {**rule, "dry_run": True})]

    agent = Agent(monkeypatch, PLAN, PLAN)
    shown = agent.run("prune", "--keep-size", "1KiB", "--yes", "--json")
    assert json.loads(shown.stdout) == PLAN
    assert [order["dry_run"] for _, order in agent.orders] == [True, False]


def test_a_dry_run_deletes_nothing_and_neither_does_one_with_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent(monkeypatch, PLAN)
    assert agent.run("prune", "--unused", "1d", "--dry-run").exit_code == 0
    agent = Agent(monkeypatch, PLAN | {"blobs": 0, "images": []})
    assert agent.run("prune", "--unused", "1d").exit_code == 0
    assert [order["dry_run"] for _, order in agent.orders] == [True]


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [([], "say what may go"), (["--unused", "x"], "a time such as"), (["--keep-size", "x"], "a size such as")],
)
def test_a_prune_without_a_rule_that_is_in_order_is_refused(
    monkeypatch: pytest.MonkeyPatch, flags: list[str], complaint: str
) -> None:
    agent = Agent(monkeypatch)
    shown = agent.run("prune", *flags)
    assert shown.exit_code == 2
    assert complaint in shown.output
    assert agent.orders == []
