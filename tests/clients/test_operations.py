"""What an operator does with running agents: keys, names, restarts, and what metrics show."""

import base64
import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mirror.auth import PeerAuth
from tests.clients.conftest import WAIT_S, Agent, skvaller

KEY = bytes(range(32))
StartAgent = Callable[..., Agent]


def key_file(folder: Path, name: str, *keys: bytes) -> Path:
    """A file with the cluster's keys."""
    file = folder / f"{name}.key"
    file.touch(0o600)
    file.write_bytes(b"".join(base64.b64encode(key) + b"\n" for key in keys))
    return file


def ask(agent: Agent, *words: str) -> tuple[int, Any]:
    """Run a command against an agent. Returns its exit status and what it printed, as JSON where it is."""
    command = skvaller(*words, "--agent", agent.url, "--json")
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def alive(agent: Agent) -> set[str]:
    return {row["name"] for row in json.loads(agent.get("/api/v1/members"))["members"] if row["state"] == "alive"}


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def rings(answer: Any) -> dict[str, list[str]]:
    return {row["member"]: row["keys"] for row in answer["members"]}


def test_keys_of_a_running_cluster_are_changed_from_the_command_line(
    start_agent: StartAgent, loopback: Callable[[], str], tmp_path: Path
) -> None:
    files = [key_file(tmp_path, name, KEY) for name in ("a", "b")]
    host = loopback()
    a = start_agent("a", host, "--key-file", str(files[0]))
    b = start_agent("b", loopback(), "--join", host, "--key-file", str(files[1]))
    until(lambda: alive(a) == alive(b) == {"a", "b"})
    _, before = ask(a, "keys", "list")
    (old,) = rings(before)["a"]
    status, installed = ask(a, "keys", "install")
    new = installed["key"]
    assert (status, rings(installed)) == (0, {"a": [old, new], "b": [old, new]})
    status, refused = ask(a, "keys", "remove", old)
    assert status == 1
    assert f"key {old} may still seal on a, b" in refused
    assert rings(ask(b, "keys", "use", new)[1]) == {"a": [new, old], "b": [new, old]}
    assert rings(ask(a, "keys", "remove", old)[1]) == {"a": [new], "b": [new]}
    assert files[0].read_bytes() == files[1].read_bytes() != base64.b64encode(KEY) + b"\n"
    secret = files[0].read_bytes().splitlines()[-1].decode()
    assert secret not in a.log + b.log + json.dumps(installed)
    target = f"/v2/library/none/blobs/sha256:{'0' * 64}?ns=docker.io"
    for key, answer in ((KEY, 401), (base64.b64decode(secret), 404)):
        signed = urllib.request.Request(f"http://{a.host}:5001{target}", headers=PeerAuth([key]).sign("GET", target))
        with pytest.raises(urllib.error.HTTPError) as refusal, urllib.request.urlopen(signed, timeout=WAIT_S):
            pass
        refusal.value.close()
        assert refusal.value.code == answer


def test_keys_are_not_for_other_sites_nor_for_nonsense(
    start_agent: StartAgent, loopback: Callable[[], str], tmp_path: Path
) -> None:
    agent = start_agent("a", loopback(), "--key-file", str(key_file(tmp_path, "a", KEY)))
    order = {"Skvaller-Order": "1"}
    for path, body, headers, status in (
        ("install", b"{}", {}, 403),
        ("install", b"[]", order, 400),
        ("install", b"{" * 5000, order, 400),
        ("install", b'{"key": "short"}', order, 400),
        ("use", b'{"id": "xyz"}', order, 400),
        ("use", b'{"id": "00000000"}', order, 409),
        ("rotate", b"{}", order, 404),
    ):
        request = urllib.request.Request(f"{agent.url}/api/v1/keys/{path}", body, headers)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=WAIT_S)
        with refused.value as answer:
            assert (answer.code, list(json.load(answer))) == (status, ["error"])
    file = tmp_path / "short"
    file.write_text("short")
    assert ask(agent, "keys", "install", str(file)) == (1, f"Error: {agent.url}: key must be 32 bytes in base64\n")


def test_agents_without_a_key_refuse_to_change_keys(start_agent: StartAgent, loopback: Callable[[], str]) -> None:
    status, error = ask(start_agent("a", loopback()), "keys", "install")
    assert status == 1
    assert "give it a key file" in error


def test_an_agent_whose_name_is_taken_says_so_and_ends(
    start_agent: StartAgent, loopback: Callable[[], str], tmp_path: Path
) -> None:
    host, second = loopback(), loopback()
    first = start_agent("a", host)
    other = start_agent("b", loopback(), "--join", host)
    addresses = ["--listen", f"{second}:5000", "--peer", f"{second}:5001", "--gossip", f"{second}:7946"]
    command = skvaller("agent", "--name", "a", "--data-dir", str(tmp_path / "second"), "--join", host, *addresses)
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 1
    assert f"Error: name: a is also the name of the node at {host}:7946" in done.stderr
    assert "Traceback" not in done.stderr
    until(lambda: alive(first) == alive(other) == {"a", "b"})


def test_a_restarted_agent_finds_the_others_without_seeds(start_agent: StartAgent, loopback: Callable[[], str]) -> None:
    host, other = loopback(), loopback()
    a = start_agent("a", host)
    b = start_agent("b", other, "--join", host)
    until(lambda: alive(a) == alive(b) == {"a", "b"})
    b.daemon.stop()
    until(lambda: alive(a) == {"a"})
    again = start_agent("b", other)
    until(lambda: alive(a) == alive(again) == {"a", "b"})


@pytest.mark.parametrize(("mine", "others"), [("allow", None), ("prefer", "allow"), ("require", "prefer")])
def test_each_step_from_plain_to_sealed_understands_the_one_before(
    mine: str, others: str | None, start_agent: StartAgent, loopback: Callable[[], str], tmp_path: Path
) -> None:
    file, host = key_file(tmp_path, "k", KEY), loopback()
    before = ["--key-file", str(file), "--sealing", others] if others else []
    a = start_agent("a", host, *before)
    b = start_agent("b", loopback(), "--join", host, "--key-file", str(file), "--sealing", mine)
    until(lambda: alive(a) == alive(b) == {"a", "b"})


def test_another_cluster_and_another_network_are_not_heard(
    start_agent: StartAgent, loopback: Callable[[], str]
) -> None:
    host = loopback()
    a = start_agent("a", host, "--gossip-allow", f"{host}/32")
    other = start_agent("b", loopback(), "--join", host)
    stranger = start_agent("c", loopback(), "--join", other.host, "--cluster", "elsewhere")
    until(lambda: 'gossip_rejected_total{reason="allow"}' in a.get("/metrics").decode())
    until(lambda: 'gossip_rejected_total{reason="cluster"}' in other.get("/metrics").decode())
    assert [alive(agent) for agent in (a, other, stranger)] == [{"a"}, {"b"}, {"c"}]


def test_metrics_show_what_gossip_does(start_agent: StartAgent, loopback: Callable[[], str]) -> None:
    host = loopback()
    a = start_agent("a", host)
    start_agent("b", loopback(), "--join", host)
    until(lambda: alive(a) == {"a", "b"})

    def shows(pattern: str) -> bool:
        return re.search(pattern, a.get("/metrics").decode(), re.MULTILINE) is not None

    patterns = (
        r'^gossip_datagrams_total\{direction="sent"\} [1-9]',
        r'^gossip_bytes_total\{direction="received"\} [1-9]',
        r'^gossip_events_total\{event="MemberJoined"\} 1\.0$',
        r"^gossip_streams_total [1-9]",
        r"^gossip_health 0\.0$",
        r'^gossip_loop_lag_seconds\{quantile="0\.99"\} 0\.\d',
        r'^gossip_errors_total\{kind="snapshot"\} 0\.0$',
    )
    until(lambda: all(map(shows, patterns)))
