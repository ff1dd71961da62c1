"""What doctor prints, and with which status it ends, where no agent answers."""

import json
import socket
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mirror.cli.doctor import doctor
from mirror.doctor import error

DOCTOR = import_module("mirror.cli.doctor")


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of something that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def run(root: Path, *words: str, name: str = "n1") -> Result:
    given = [
        "--",
        "--name",
        name,
        "--data-dir",
        str(root / "data"),
        "--peer",
        "127.0.0.1:0",
        "--listen",
        "unix:/run/x/y",
    ]
    given[given.index("127.0.0.1:0")] = free()
    return CliRunner().invoke(doctor, ["--root", str(root), *words, *given, "--gossip", free()])


def free() -> str:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{trial.getsockname()[1]}"


def test_each_fault_has_a_line_for_the_command_that_mends_it(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.exit_code == 2, done.output
    lines = done.stdout.splitlines()
    assert lines[0].startswith("error    agent       no agent answers at unix:/run/x/y")
    assert any(line.strip().startswith("mend it: ") for line in lines)
    assert "2 errors" in lines[-1], "the agent, and the folder of its socket"


def test_json_says_the_same(tmp_path: Path) -> None:
    done = run(tmp_path, "--json")
    assert done.exit_code == 2
    told = json.loads(done.stdout)
    assert (told["node"], told["agent"], told["verdict"]) == (None, "unix:/run/x/y", "error")
    assert {"check", "verdict", "says", "means", "command"} == told["findings"][0].keys()


def test_settings_that_are_wrong_are_told_and_no_flag_of_doctor(tmp_path: Path) -> None:
    done = run(tmp_path, name="two words")
    assert done.exit_code == 2
    assert "two words" in done.stdout
    assert "mend it" in done.stdout


def test_an_agent_elsewhere_is_not_examined_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirror.cli.doctor.is_on_this_machine", lambda url: False)
    address = free()
    done = CliRunner().invoke(doctor, ["--root", str(tmp_path), "--agent", address])
    assert done.exit_code == 3
    assert "run `skvaller doctor` there" in done.output
    monkeypatch.setattr("mirror.cli.doctor.machine_addresses", lambda family: ["127.0.0.1"])
    done = CliRunner().invoke(doctor, ["--root", str(tmp_path), "--agent", address, "--json"])
    assert done.exit_code == 2, "an address of this machine is this machine"


def test_an_agent_that_takes_connections_and_never_answers_is_given_up(
    tmp_path: Path, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.cli.doctor._FIRST_S", 0.05)
    done = run(tmp_path, "--agent", silent)
    assert done.exit_code == 2
    assert "timed out" in done.stdout


def test_what_others_say_commands_no_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member's answer and the command line of any process stand in findings."""
    found = [error("tcp", "b says \x1b[2J", "\x1b]0;x\x07", "on b: \x1b[1A")]
    monkeypatch.setattr(DOCTOR, "examine", lambda checks, sources: [(check, found) for check in checks])
    said = run(tmp_path).output
    assert "mend it: on b: " in said
    assert "\x1b" not in said
