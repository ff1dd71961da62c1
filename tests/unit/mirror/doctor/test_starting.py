"""What keeps an agent from its start is found by trying what it needs, and named with the command that mends it."""

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from mirror.config import AgentConfig, load
from mirror.doctor import Finding, Verdict
from mirror.doctor.advice import Advice
from mirror.doctor.judging.start import settings_problem, start
from mirror.doctor.starting import start_facts
from mirror.errors import ConfigError
from mirror.stores.folder_lock import locked

if TYPE_CHECKING:
    from collections.abc import Mapping

ADVICE = Advice()


def config(folder: Path, **flags: str) -> AgentConfig:
    given: Mapping[str, str] = {name.replace("_", "-"): value for name, value in flags.items()}
    return load({"name": "n1", "data-dir": str(folder), "listen": ["unix:/tmp/none.sock"], **given}, {}, None)


def wrong(folder: Path, **flags: str) -> dict[str, Finding]:
    facts = start_facts(config(folder, **flags), folder, lambda config: None)
    found = start(facts, "no agent answers", ADVICE)
    return {it.check: it for it in found if it.verdict is Verdict.ERROR}


def free() -> str:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{trial.getsockname()[1]}"


def test_where_nothing_is_in_the_way_the_agent_is_to_be_started(tmp_path: Path) -> None:
    found = wrong(tmp_path, peer=free(), gossip=free())
    assert found.keys() == {"agent"}
    assert found["agent"].command.startswith("systemctl enable --now skvaller")


def test_a_taken_port_is_named_with_who_has_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = wrong(tmp_path, peer=f"127.0.0.1:{server.getsockname()[1]}", gossip=free())
    assert f"process {os.getpid()}" in found["ports"].says
    assert found["ports"].command.startswith(f"kill {os.getpid()}")
    assert "said below" in found["agent"].means


def test_a_seed_that_does_not_resolve_and_one_that_refuses(tmp_path: Path) -> None:
    found = wrong(tmp_path, peer=free(), gossip=free(), join=["nosuch.invalid"])  # type: ignore[arg-type]
    assert "nosuch.invalid:7946: its name is not resolved" in found["seeds"].says
    found = wrong(tmp_path, peer=free(), gossip=free(), join=[free()])  # type: ignore[arg-type]
    assert "nothing listens at" in found["seeds"].says


def test_a_missing_socket_of_containerd_names_the_one_that_is_there(tmp_path: Path) -> None:
    other = tmp_path / "run/k3s/containerd/containerd.sock"
    other.parent.mkdir(parents=True)
    other.touch()
    found = wrong(tmp_path, peer=free(), gossip=free(), containerd=str(tmp_path / "c.sock"))
    assert "No such file or directory" in found["containerd"].says
    assert '"/run/k3s/containerd/containerd.sock"' in found["containerd"].command


def test_a_folder_that_another_agent_uses_is_told(tmp_path: Path) -> None:
    with locked(tmp_path):
        found = wrong(tmp_path, peer=free(), gossip=free())
    assert "an agent uses" in found["folder"].says


def test_a_pipe_in_place_of_the_lock_keeps_nobody_waiting(tmp_path: Path) -> None:
    """The folder is the agent's, and root may ask."""
    os.mkfifo(tmp_path / "lock")
    assert "folder" not in wrong(tmp_path, peer=free(), gossip=free())


def test_a_folder_of_another_user_is_told(tmp_path: Path) -> None:
    facts = start_facts(config(tmp_path, peer=free(), gossip=free()), tmp_path, lambda config: None, runs_as="nobody")
    found = {it.check: it for it in start(facts, "none", ADVICE)}
    assert found["folder"].verdict is Verdict.ERROR
    assert found["folder"].command.startswith(f"chown -R nobody: {tmp_path}")


def test_settings_that_an_agent_refuses_come_first(tmp_path: Path) -> None:
    def refuses(config: AgentConfig) -> None:
        raise ConfigError("key-file: key file /k can be read by others: run chmod 600 /k")

    found = start(start_facts(config(tmp_path, peer=free(), gossip=free()), tmp_path, refuses), "none", ADVICE)
    assert [it.check for it in found][:2] == ["agent", "keys"]
    assert found[1].command == "chmod 600 /k, then systemctl restart skvaller"


def test_each_refusal_has_its_command() -> None:
    assert "scp" in settings_problem("key-file: key file /k: No such file or directory", ADVICE, "/k").command
    assert "sudo" in settings_problem("config: cannot read /c: Permission denied", ADVICE).command
    assert "--check" in settings_problem("nme in /c: no such setting; is name meant?", ADVICE).command
    assert "advertise" in settings_problem("advertise: this machine has several addresses", ADVICE).command
