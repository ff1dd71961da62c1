"""What a shell completes, and that the script for bash does so in a real one, also in names with colons."""

import json
import os
import shutil
import subprocess
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

from mirror.cli import main
from mirror.cli.running_agent import Answer, NoAgent

AGENT = import_module("mirror.cli.known_names")
ANSWERS = {
    "/api/v1/images?here=1": {"images": [{"reference": "docker.io/library/app:1.0"}, {"reference": "ghcr.io/a/b:2"}]},
    "/api/v1/members": {"members": [{"name": "n1"}, {"name": "n2"}]},
}


def completed(monkeypatch: pytest.MonkeyPatch, line: str) -> list[str]:
    """What is offered at the end of a line."""
    asked = lambda url, path, timeout_s: Answer(200, {}, json.dumps(ANSWERS[path]).encode())  # noqa: E731
    monkeypatch.setattr(AGENT, "exchange", asked)
    done = CliRunner().invoke(
        main, prog_name="skvaller", env={"_SKVALLER_COMPLETE": "bash_complete", "COMP_LINE": line}
    )
    return [row.partition(",")[2] for row in done.output.splitlines()]


def test_commands_options_images_and_members_are_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert completed(monkeypatch, "skvaller ev") == ["events"]
    assert set(completed(monkeypatch, "skvaller p")) == {"pin", "pins", "prefetch", "prune"}
    assert "--follow" in completed(monkeypatch, "skvaller events --")
    assert completed(monkeypatch, "skvaller why app:") == ["app:1.0"]
    assert completed(monkeypatch, "skvaller why ghcr") == ["ghcr.io/a/b:2"]
    assert completed(monkeypatch, "skvaller prefetch app:1.0 --nodes n1,n") == ["n1,n1", "n1,n2"]


def test_without_an_agent_nothing_is_offered_and_nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(url: str, path: str, timeout_s: float) -> Answer:
        raise NoAgent("no agent answers")

    monkeypatch.setattr(AGENT, "exchange", nobody)
    env = {"_SKVALLER_COMPLETE": "bash_complete", "COMP_LINE": "skvaller why a"}
    assert CliRunner().invoke(main, prog_name="skvaller", env=env).output.strip() == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(shell: str) -> None:
    done = CliRunner().invoke(main, ["completion", shell])
    assert (done.exit_code, "_SKVALLER_COMPLETE" in done.output) == (0, True)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_itself_completes_the_part_of_a_name_behind_its_colon(tmp_path: Path) -> None:
    program = tmp_path / "skvaller"
    program.write_text(f'#!/bin/sh\necho "plain,app:1.0"; echo "plain,app:1.1"; echo "$COMP_LINE" > {tmp_path}/line\n')
    program.chmod(0o755)
    script = CliRunner().invoke(main, ["completion", "bash"]).output
    story = f"""{script}
COMP_LINE='skvaller why app:1' COMP_POINT=18 COMP_WORDS=(skvaller why app : 1) COMP_CWORD=4
_skvaller_completion skvaller; printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", story], capture_output=True, text=True, env=environment, check=True, timeout=30
    )
    assert done.stdout.split() == ["1.0", "1.1"]
    assert (tmp_path / "line").read_text() == "skvaller why app:1\n"


def test_a_name_that_a_shell_would_run_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    evil = ["evil:$(reboot)", "evil:a;b", "evil:`x`", "evil: b", "evil:\x1b[2J", "evil:1.0"]
    images = {"images": [{"reference": f"docker.io/library/{name}"} for name in evil]}
    monkeypatch.setitem(ANSWERS, "/api/v1/images?here=1", images)
    assert completed(monkeypatch, "skvaller why evil") == ["evil:1.0"]
