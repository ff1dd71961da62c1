"""Somebody who reads what is lying about: the process table, logs, answers, and files that others may read."""

import base64
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.agents import PEER_PORT, Agent, skvaller
from testbed.network import Address
from tests.clients.attacks.attackers import (
    Stranger,
    ask_locally,
    blob_path,
    is_right,
    manifest_path,
    pull_blob,
    request,
)
from tests.clients.attacks.conftest import KEY, Site

pytestmark = [pytest.mark.clients, pytest.mark.timeout(90)]

PASSWORD = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def agent(site: Site) -> Agent:
    """One with a key, and with a password that stands in its configuration."""
    configuration = site.folder / "secret.toml"
    configuration.touch(0o600)
    configuration.write_text(f'upstream = ["private.example=http://user:{PASSWORD}@{site.upstream.address}"]\n')
    flags = ["--config", str(configuration), "--log-level", "debug", "--key-file", str(site.key_file("a", KEY))]
    return site.agent("a", *flags)


def test_nothing_that_a_node_writes_or_answers_has_a_secret(site: Site, agent: Agent) -> None:
    """He reads logs, answers, and the process table, for the password and the cluster's key."""
    image = site.image("1", 100_000)
    said = [agent.output]
    for path in (
        "/metrics",
        "/api/v1/members",
        "/api/v1/fetches",
        "/api/v1/find?q=private.example/app:1",
        "/api/v1/keys",
        "/healthz",
        manifest_path("1"),
        "/v2/private.example/library/app/manifests/1",
        "/v2/private.example/none/manifests/none",
        blob_path(f"sha256:{'0' * 64}"),
    ):
        got = ask_locally(agent, request(path, "localhost:5000"))
        said += [got.body.decode("latin-1"), *got.headers.values()]
        got = Stranger(site.host("stranger")).ask(Address(agent.host, PEER_PORT), request(path))
        said += [got.body.decode("latin-1"), *got.headers.values()]
    assert is_right(pull_blob(agent, image.layers[0]), image.layers[0])
    site.upstream.stop()
    try:
        for tag in ("gone", "away"):
            said.append(ask_locally(agent, request(f"/v2/private.example/x/manifests/{tag}")).body.decode())
    finally:
        site.upstream.start()
    said += [agent.output, Path(f"/proc/{agent.pid}/cmdline").read_text()]
    secrets = [PASSWORD, base64.b64encode(f"user:{PASSWORD}".encode()).decode(), *_spellings(KEY)]
    for text in said:
        assert not any(secret in text for secret in secrets)
    for file in filter(Path.is_file, agent.folder.rglob("*")):
        content = file.read_bytes().decode("latin-1")
        assert not any(secret in content for secret in secrets), file


def _spellings(key: bytes) -> list[str]:
    return [key.hex(), base64.b64encode(key).decode(), repr(key)[2:-1], base64.urlsafe_b64encode(key).decode()]


def test_others_on_the_machine_read_no_names(site: Site, agent: Agent) -> None:
    """He has an account on the node, and looks into the data folder."""
    assert is_right(pull_blob(agent, digest := site.image("2", 50_000).config), digest)
    assert ask_locally(agent, request(manifest_path("2"))).status == 200
    assert not [path for path in _open_to_others(agent.folder) if path.name not in ("agent.log", "lock")]


def _open_to_others(folder: Path) -> Iterator[Path]:
    """What others can list or read below a folder that they may enter."""
    for path in folder.iterdir():
        others = stat.S_IMODE(path.lstat().st_mode) & 0o077
        if others:
            yield path
        if path.is_dir() and others:
            yield from _open_to_others(path)


def test_a_password_on_the_command_line_is_warned_about(site: Site) -> None:
    """He lists processes: the operator is told, and told of another way."""
    agent = site.agent("loud", "--upstream", f"other.example=http://user:{PASSWORD}@{site.upstream.address}")
    warnings = [line for line in agent.output.splitlines() if "level=WARNING" in line and "password" in line]
    assert warnings
    assert PASSWORD not in agent.output
    agent.stop()


def test_a_configuration_that_others_may_read_is_refused(site: Site, tmp_path: Path) -> None:
    """He reads the configuration file, which has a password in it."""
    for mode in (0o644, 0o640):
        file = tmp_path / f"open-{mode:o}.toml"
        file.write_text(f'upstream = ["private.example=http://user:{PASSWORD}@127.0.0.1:9"]\n')
        file.chmod(mode)
        command = skvaller("agent", "--config", str(file), "--data-dir", str(tmp_path / "data"))
        ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        assert ended.returncode == 1
        assert str(file) in ended.stderr
        assert PASSWORD not in ended.stderr
