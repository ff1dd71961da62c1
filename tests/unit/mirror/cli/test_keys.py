"""What `skvaller keys` tells a program that has taken the agent's address."""

import base64
import json
import os
import pwd
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

from mirror.cli import main
from mirror.cli.running_agent import Answer
from mirror.sources.peers.auth import PeerAuth

CLUSTER, NEW = bytes(range(32)), bytes(range(32, 64))


class Impostor:
    """Answers as an agent would that names a key file, and keeps what it is sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, key_file: Path) -> None:
        self._key_file = key_file
        self.bodies: list[bytes] = []
        module = import_module("mirror.cli.keys")  # the package has the command under that name
        monkeypatch.setattr(module, "ask", lambda url, path: {"name": "a", "key_file": str(self._key_file)})
        monkeypatch.setattr(import_module("mirror.cli.orders"), "exchange", self._exchange)

    def _exchange(self, url: str, path: str, body: bytes, headers: object) -> Answer:
        self.bodies.append(body)
        return Answer(200, {}, b'{"key": "00000000", "members": []}')


def written(path: Path, key: bytes) -> Path:
    path.touch(0o600)
    path.write_bytes(base64.b64encode(key) + b"\n")
    return path


def test_a_key_is_sent_so_that_only_who_has_the_clusters_key_reads_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    impostor = Impostor(monkeypatch, written(tmp_path / "cluster", CLUSTER))
    shown = CliRunner().invoke(main, ["keys", "install", str(written(tmp_path / "new", NEW))])
    assert shown.exit_code != 0
    assert "has another program taken the agent's address?" in shown.output
    (body,) = impostor.bodies
    sent = base64.b64decode(json.loads(body)["key"])
    assert NEW not in sent
    assert PeerAuth([CLUSTER], "a").unseal(sent) == NEW
    with pytest.raises(ValueError, match="not sealed"):
        PeerAuth([NEW], "a").unseal(sent)


def test_a_key_file_of_another_user_that_an_agent_names_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    named, new = written(tmp_path / "named", CLUSTER), written(tmp_path / "new", NEW)
    impostor = Impostor(monkeypatch, named)
    module = import_module("mirror.cli.keys")
    monkeypatch.setattr(module, "owners_of", lambda file: {12345})
    shown = CliRunner().invoke(main, ["keys", "install", str(new)])
    assert shown.exit_code != 0
    assert "name it with --key-file" in shown.output
    assert impostor.bodies == []
    CliRunner().invoke(main, ["keys", "install", str(new), "--key-file", str(named)])
    assert len(impostor.bodies) == 1


def test_a_key_file_of_the_system_user_that_the_agent_runs_as_is_believed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    agent = Impostor(monkeypatch, written(tmp_path / "key", CLUSTER))
    monkeypatch.setattr(import_module("mirror.cli.keys"), "owners_of", lambda file: {os.geteuid(), 998})
    for user_id, believed in ((998, True), (1998, False)):  # a person may be called as the agent is
        user = ("skvaller", "x", user_id, user_id, "", "/", "/usr/sbin/nologin")
        monkeypatch.setattr(pwd, "getpwnam", lambda name, user=user: pwd.struct_passwd(user))
        agent.bodies.clear()
        outcome = CliRunner().invoke(main, ["keys", "use", "00000000"])
        assert bool(agent.bodies) is believed, outcome.output
