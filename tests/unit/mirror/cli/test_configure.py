"""What the commands say, write, and end with."""

import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from mirror.cli import main
from mirror.cli.running_agent import Answer, NoAgent
from mirror.runtimes.known import known

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIG = "etc/containerd/config.toml"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with containerd, where the agent answers."""
    root = tmp_path / "host"
    (root / CONFIG).parent.mkdir(parents=True)
    (root / CONFIG).write_text("version = 2\n")
    answers(monkeypatch, Answer(200, {}, b"ok\n"))
    monkeypatch.setattr(import_module("mirror.cli.configure"), "MACHINE", tmp_path)
    (tmp_path / "etc/skvaller").mkdir(parents=True)
    return root


def answers(monkeypatch: pytest.MonkeyPatch, answer: Answer | None) -> None:
    def exchange(url: str, path: str, *, timeout_s: float) -> Answer:
        if answer is None:
            raise NoAgent("refused")
        return answer

    monkeypatch.setattr(import_module("mirror.cli.configure"), "exchange", exchange)


def invoked(command: str, root: Path, *words: str) -> Result:
    state = root.parent / "agent"
    return CliRunner().invoke(main, [command, "--root", str(root), "--data-dir", str(state), *words])


def test_a_change_is_shown_made_and_taken_back(root: Path) -> None:
    shown = invoked("configure", root)
    assert shown.exit_code == 0, shown.output
    assert '+  config_path = "/etc/containerd/certs.d"' in shown.output
    assert f"what was there is in {root.parent}/agent/configured/containerd" in shown.output
    assert "to have it read, run this (--restart does it):\n  systemctl restart containerd\n" in shown.output
    again = invoked("configure", root)
    assert again.output.startswith("containerd asks the agent already\n")
    back = invoked("unconfigure", root)
    assert back.exit_code == 0
    assert (root / CONFIG).read_text() == "version = 2\n"
    assert "nothing is to be taken back" in invoked("unconfigure", root).output


def test_a_dry_run_writes_nothing(root: Path) -> None:
    shown = invoked("configure", root, "--dry-run")
    assert "nothing is written" in shown.output
    assert (root / CONFIG).read_text() == "version = 2\n"
    assert not (root.parent / "agent").exists()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["contanerd"], 2, "Error: contanerd: no such runtime; is containerd meant?"),
        (["k3s"], 1, "Error: k3s is not found below"),
        (["--registry", "docker.oi"], 2, "is docker.io meant?"),
        (["--registry", "a/b"], 2, "is not a host name"),
        (["--registry", "registry.lab"], 0, 'upstream = ["registry.lab=https://registry.lab"]'),
        (["--agent", "unix:/run/a.sock"], 2, "give HOST:PORT"),
        (["--agent", "http://a:5000/v2"], 2, "give HOST:PORT"),
        (["--agent", "http://[10.0.0.1]"], 2, "give HOST:PORT"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(root: Path, words: list[str], status: int, said: str) -> None:
    shown = invoked("configure", root, *words)
    assert shown.exit_code == status, shown.output
    assert said in shown.output


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("[10.0.0.1]:5000", "http://10.0.0.1:5000"),
        ("http://[fd00::1]:5000", "http://[fd00::1]:5000"),
        ("http://10.0.0.1", "http://10.0.0.1"),
    ],
)
def test_an_address_of_either_family_may_stand_in_brackets(root: Path, given: str, asked: str) -> None:
    shown = invoked("configure", root, "--agent", given, "--dry-run", "--json")
    assert json.loads(shown.stdout)["agent"] == asked


def test_a_host_without_a_runtime_is_told_which_there_are(root: Path) -> None:
    (root / CONFIG).unlink()
    shown = invoked("configure", root)
    assert shown.exit_code == 1
    assert "no runtime is found below" in shown.output
    assert ", ".join(it.name for it in known()) in shown.output


def test_a_file_that_is_not_in_order_stops_its_runtime_alone(root: Path) -> None:
    (root / CONFIG).write_text("version = 2\n[plugins\n")
    (root / "etc/rancher/k3s").mkdir(parents=True)
    shown = invoked("configure", root)
    assert shown.exit_code == 1
    assert f"Error: containerd: /{CONFIG}:2: it is not TOML" in shown.output
    assert (root / "etc/rancher/k3s/registries.yaml").exists()
    assert (root / CONFIG).read_text() == "version = 2\n[plugins\n"


@pytest.mark.parametrize(
    ("answer", "said"),
    [(None, "no agent answers at"), (Answer(200, {}, b"<html>"), "is no agent: give the agent another")],
)
def test_an_agent_that_is_not_there_is_a_warning(
    root: Path, monkeypatch: pytest.MonkeyPatch, answer: Answer | None, said: str
) -> None:
    answers(monkeypatch, answer)
    shown = invoked("configure", root)
    assert shown.exit_code == 0
    assert "Warning: " in shown.output
    assert said in shown.output


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ('["unix:/run/a.sock", "0.0.0.0:5005"]', "http://127.0.0.1:5005"),
        ('"[::1]:5005"', "http://[::1]:5005"),
        ('"10.0.0.7:5000"', "http://10.0.0.7:5000"),
    ],
)
def test_the_agent_is_where_its_settings_say(root: Path, listen: str, url: str) -> None:
    (root.parent / "etc/skvaller/agent.toml").write_text(f"listen = {listen}\n")
    shown = json.loads(invoked("configure", root, "--json").stdout)
    assert (shown["agent"], shown["silent"]) == (url, None)
    assert [file["path"] for file in shown["runtimes"][0]["files"]] == [
        "/etc/containerd/certs.d/_default/hosts.toml",
        f"/{CONFIG}",
    ]


def test_an_agent_at_a_socket_alone_is_of_no_use(root: Path) -> None:
    (root.parent / "etc/skvaller/agent.toml").write_text('listen = "unix:/run/a.sock"\n')
    shown = invoked("configure", root)
    assert shown.exit_code == 2
    assert "runtimes speak TCP" in shown.output


def test_a_restart_that_fails_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []

    def run(command: list[str], **how: object) -> None:
        ran.append(list(command))
        raise FileNotFoundError(2, "No such file or directory", "systemctl")

    monkeypatch.setattr(import_module("mirror.cli.runtime_files").subprocess, "run", run)
    shown = invoked("configure", root, "--restart")
    assert shown.exit_code == 1
    assert "its files are written, but `systemctl restart containerd` failed: [Errno 2] No such file" in shown.output
    assert "if that was not done since" in invoked("configure", root).output
    assert len(ran) == 1


def test_who_watches_writes_again_what_goes_and_says_a_problem_once(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = root / "etc/containerd/certs.d/_default/hosts.toml"
    steps: list[Callable[[], object]] = [
        hosts.unlink,
        lambda: None,
        lambda: (root / CONFIG).write_text("version = \n"),
        lambda: None,
        lambda: (root / CONFIG).write_text("version = 2\n"),
    ]

    def sleep(seconds: float) -> None:
        if not steps:
            raise KeyboardInterrupt
        steps.pop(0)()

    monkeypatch.setattr(import_module("mirror.cli.configure").time, "sleep", sleep)
    shown = invoked("configure", root, "--watch").output
    assert shown.count("containerd: written again:") == 2
    assert shown.count("it is not TOML") == 1
    assert hosts.exists()
    assert "config_path" in (root / CONFIG).read_text()


def test_who_may_not_write_is_told_of_what_is_here_alone(root: Path) -> None:
    """And needs no right where nothing is to be written."""
    (root.parent / "agent").write_text("no folder")
    refused = invoked("configure", root)
    assert refused.exit_code == 1
    assert [line for line in refused.output.splitlines() if line.startswith("Error: ")] == [
        f"Error: containerd: {root.parent}/agent/configured: it cannot be read: Not a directory"
    ]
    (root / "etc/containerd/certs.d/_default").mkdir(parents=True)
    (root / "etc/containerd/certs.d/_default/hosts.toml").write_text('[host."http://127.0.0.1:5000"]\n')
    text = '[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "/etc/containerd/certs.d"\n'
    (root / CONFIG).write_text(f"version = 2\n{text}")
    (root.parent / "agent").unlink()
    assert invoked("configure", root).output == "containerd asks the agent already\n"
    assert not (root.parent / "agent").exists()


@pytest.mark.parametrize(
    "url", ["http://user:secret@mirror:5000", 'http://a"]\n[x', "http://a?b", "http://a b", "http://"]
)
def test_another_mirror_is_a_plain_host_without_a_password(root: Path, url: str) -> None:
    done = CliRunner().invoke(main, ["configure", "--root", str(root), "--then", url, "--dry-run"])
    assert done.exit_code == 2
    assert "and no password" in done.output


def test_in_a_pod_the_agent_comes_later(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, None)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    shown = invoked("configure", root)
    assert "no agent answers at http://127.0.0.1:5000 yet" in shown.output
    assert "systemctl start skvaller" not in shown.output
