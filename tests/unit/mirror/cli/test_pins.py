"""What the commands about pins order, print, and end with."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mirror.cli import main

PIN: dict[str, Any] = {
    "name": "docker.io/library/a:1",
    "digest": "sha256:" + "ab" * 32,
    "copies": 2,
    "platforms": ["linux/amd64"],
    "pattern": None,
    "configured_by": "n7",
    "wanted": 2,
    "held": 1,
    "missing": 1,
    "bytes": 5_000_000,
    "bytes_to_go": 1_000_000,
    "keepers": [
        {"member": "n1", "parts_missing": 0, "bytes_missing": 0},
        {"member": "n2", "parts_missing": 1, "bytes_missing": 1_000_000},
    ],
    "problem": "n2: the cache has no room for it",
}
WHOLE = {**PIN, "held": 2, "missing": 0, "bytes_to_go": 0, "problem": ""}
FOUND: dict[str, Any] = {
    "image": "docker.io/library/a:1",
    "digest": "sha256:" + "ab" * 32,
    "whole": True,
    "enough": True,
    "copies": 2,
    "copies_wanted": 2,
    "parts": 4,
    "bytes": 5_000_000,
    "lacking": [],
    "lacking_count": 0,
    "needed_members": [],
    "problems": [],
    "wrong": [],
}
LACKING = {
    **FOUND,
    "whole": False,
    "enough": False,
    "lacking": [{"digest": "sha256:" + "cd" * 32, "kind": "blobs", "bytes": 5}],
    "lacking_count": 1,
    "needed_members": ["n1"],
}


class Told:
    """An agent that answers what a test says, and remembers what it was told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: Any) -> None:
        self.answers = list(answers)
        self.orders: list[tuple[str, Any]] = []
        for name in ("pins", "prefetch", "verify", "jobs"):
            module = import_module(f"mirror.cli.{name}")  # the package has the command under that name
            for called in ("ask", "order", "exchange"):
                if hasattr(module, called):
                    monkeypatch.setattr(module, called, self.answer)
        monkeypatch.setattr(import_module("mirror.cli.verify"), "read", lambda url, answer: answer)

    def answer(self, url: str, path: str, what: Any = None, key_file: Path | None = None) -> Any:
        self.orders.append((path, json.loads(what) if isinstance(what, bytes) else what))
        return self.answers.pop(0)


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, list(arguments), input=stdin, env={"COLUMNS": "200"})


def ended(*rows: dict[str, Any], state: str = "done") -> dict[str, Any]:
    return {"job": "1", "state": state, "rows": list(rows), "progress": {}, "error": ""}


@pytest.mark.parametrize(("rows", "status"), [([PIN], 1), ([WHOLE], 0), ([WHOLE, PIN], 1), ([], 0)])
def test_pins_shows_what_is_held_and_fails_where_copies_are_missing(
    rows: list[dict[str, Any]], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    Told(monkeypatch, {"node": "n1", "pins": rows})
    shown = run("pins")
    assert shown.exit_code == status
    if PIN in rows:
        for text in ("1 of 2", "977 KiB", "n1 n2?", "no room", "settings of n7"):
            assert text in shown.output
    elif not rows:
        assert "nothing is pinned" in shown.output


def test_pin_says_what_was_done_and_what_not(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(monkeypatch, {"pinned": ["docker.io/library/a:1"], "problems": {"b:9": "no member knows it"}})
    shown = run("pin", "a:1", "b:9", "--copies", "all", "--platform", "linux/amd64")
    assert shown.exit_code == 1
    assert "docker.io/library/a:1 is pinned" in shown.output
    assert "b:9: no member knows it" in shown.output
    wanted = {"names": ["a:1", "b:9"], "copies": "all", "platforms": ["linux/amd64"]}
    assert told.orders == [("/api/v1/pins", wanted)]


def test_pins_fails_where_no_pin_has_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    Told(monkeypatch, {"node": "n1", "pins": []})
    shown = run("pins", "a:1", "b:*")
    assert shown.exit_code == 1
    assert shown.output == "no pin is called a:1 or b:*\n"


@pytest.mark.parametrize("time", ["soon", "5 minutes", "-1"])
def test_a_bound_that_is_no_time_is_refused(time: str) -> None:
    shown = run("pin", "a:1", "--wait", "--timeout", time)
    assert shown.exit_code == 2
    assert "give a time such as" in shown.output


def test_pin_waits_until_the_copies_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("mirror.cli.pins").time, "sleep", lambda seconds: None)
    told = Told(monkeypatch, {"pinned": [PIN["name"]], "problems": {}}, {"pins": [PIN]}, {"pins": [WHOLE]})
    shown = run("pin", "a:1", "--wait")
    assert (shown.exit_code, len(told.orders)) == (0, 3)
    assert "2 of 2" in shown.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pin"], "Missing argument"),
        (["pin", "a", "--copies", "0"], "give a number of members, or all"),
        (["verify", "--images", "/nowhere"], "No such file"),
        (["verify", "--images", "-"], "names no image"),
    ],
)
def test_what_is_wrong_with_a_command_is_said_and_what_is_allowed(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Told(monkeypatch)
    shown = run(*arguments, stdin="")
    assert shown.exit_code == 2
    assert said in shown.output


@pytest.mark.parametrize(
    ("found", "listed", "status", "said"),
    [
        (FOUND, "a:1\n", 0, "the line may be cut"),
        (LACKING, "a:1\n", 1, "1 of 1 image lacks bytes or copies: the line must not be cut"),
        (FOUND, "image: a:1\n---\nimage: ${B}\n", 1, "and 1 name could not be read"),
    ],
)
def test_verify_says_whether_the_line_may_be_cut(
    found: dict[str, Any], listed: str, status: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(monkeypatch, ended(found), ended(found))
    shown = run("verify", "--images", "-", stdin=listed)
    assert shown.exit_code == status
    assert said in shown.output
    assert told.orders == [("/api/v1/verify", {"copies": None, "platforms": None, "images": ["a:1"]})]
    if found is LACKING:
        assert "nobody has 1 of 4 parts" in shown.output
        assert "n1" in shown.output
    answer = json.loads(run("verify", "--images", "-", "--json", stdin=listed).stdout)
    assert answer["enough"] is (status == 0)


def test_a_deep_look_is_an_order_and_follows_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("mirror.cli.jobs").time, "sleep", lambda seconds: None)
    wrong = {**FOUND, "enough": False, "wrong": [{"member": "n3", "digest": FOUND["digest"], "found": "wrong"}]}
    told = Told(monkeypatch, ended(state="runs"), ended(wrong))
    shown = run("verify", "--deep")
    assert shown.exit_code == 1
    assert "n3: its copy of" in shown.output
    assert [path for path, _ in told.orders] == ["/api/v1/verify?deep=1", "/api/v1/jobs/1"]
    assert told.orders[0][1]["images"] is None


@pytest.mark.parametrize(("nodes", "sent"), [("all", "all"), ("3", 3), ("n1, n2", ["n1", "n2"])])
def test_prefetch_names_nodes_and_shows_each(nodes: str, sent: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"image": "a:1", "member": "n1", "state": "failed", "problem": "its log says why"}
    told = Told(monkeypatch, ended(row, state="failed"))
    shown = run("prefetch", "a:1", "--nodes", nodes)
    assert shown.exit_code == 1
    assert "its log says why" in shown.output
    assert told.orders[0][1]["nodes"] == sent
