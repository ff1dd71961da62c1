"""What `skvaller refresh` asks an agent, and what it ends with."""

from importlib import import_module
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mirror.cli import main
from mirror.cli.running_agent import Answer

FOUND = {"docker-content-digest": "sha256:aa"}


def refreshed(monkeypatch: pytest.MonkeyPatch, answer: Answer, *words: str) -> tuple[Result, list[Any]]:
    asked: list[Any] = []

    def exchange(url: str, path: str, *, headers: dict[str, str]) -> Answer:
        asked.append((path, headers))
        return answer

    monkeypatch.setattr(import_module("mirror.cli.refresh"), "exchange", exchange)
    return CliRunner().invoke(main, ["refresh", *words]), asked


def test_the_agent_is_told_to_ask_upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, asked = refreshed(monkeypatch, Answer(200, FOUND, b"{}"), "nginx:1.27")
    assert (shown.exit_code, shown.output) == (0, "docker.io/library/nginx:1.27 is sha256:aa\n")
    assert asked == [("/v2/library/nginx/manifests/1.27?ns=docker.io", {"Cache-Control": "no-cache"})]


def test_what_upstream_did_not_say_now_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, _ = refreshed(monkeypatch, Answer(200, FOUND | {"warning": "299 - old"}, b"{}"), "nginx")
    assert "upstream did not say so now: 299 - old" in shown.output


@pytest.mark.parametrize(
    ("body", "why"),
    [(b'{"errors": [{"message": "no member knows it"}]}', "no member knows it"), (b"<html>", "the agent answered 404")],
)
def test_no_such_tag_is_an_exit_status_of_1(monkeypatch: pytest.MonkeyPatch, body: bytes, why: str) -> None:
    shown, _ = refreshed(monkeypatch, Answer(404, {}, body), "nginx")
    assert shown.exit_code == 1
    assert why in shown.output


@pytest.mark.parametrize("name", ["Nginx", "nginx@sha256:" + "a" * 64])
def test_what_is_no_tag_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    shown, asked = refreshed(monkeypatch, Answer(200, FOUND, b""), name)
    assert (shown.exit_code, asked) == (2, [])
