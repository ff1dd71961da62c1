"""What an operator does with running agents: keys, names, restarts, and what metrics show."""

import base64
import json
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mirror.sources.peers.auth import PeerAuth, Request
from testbed.agents import Agent, skvaller
from testbed.processes import WAIT_S, wait_until

KEY, OTHER_KEY = bytes(range(32)), bytes(range(32, 64))
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


def until(condition: Callable[[], bool]) -> None:
    wait_until(condition, "the agents to be as the test expects them")


def shows(agent: Agent, pattern: str) -> bool:
    """Whether a line of the agent's metrics is like this."""
    return re.search(pattern, agent.get("/metrics").decode(), re.MULTILINE) is not None


def fetched(url: str, host: str) -> int:
    """The status of an answer to a request with this Host."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Host": host}), timeout=WAIT_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def rings(answer: Any) -> dict[str, list[str]]:
    return {row["member"]: row["keys"] for row in answer["members"]}


def test_keys_of_a_running_cluster_are_changed_from_the_command_line(
    start_agent: StartAgent, loopback: Callable[[], str], tmp_path: Path
) -> None:
    files = [key_file(tmp_path, name, KEY) for name in ("a", "b")]
    host = loopback()
    clear = ("--peer-tls", "off")
    a = start_agent("a", host, "--key-file", str(files[0]), *clear)
    b = start_agent("b", loopback(), "--join", host, "--key-file", str(files[1]), *clear)
    until(lambda: a.alive() == b.alive() == {"a", "b"})
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
    assert secret not in a.output + b.output + json.dumps(installed)
    target = f"/v2/library/none/blobs/sha256:{'0' * 64}?ns=docker.io"
    for key, answer in ((KEY, 401), (base64.b64decode(secret), 404)):
        headers = PeerAuth([key]).ask("a", Request("GET", target)).headers
        signed = urllib.request.Request(f"http://{a.host}:5001{target}", headers=dict(headers))
        with pytest.raises(urllib.error.HTTPError) as refusal, urllib.request.urlopen(signed, timeout=WAIT_S):
            pass
        refusal.value.close()
        assert refusal.value.code == answer


def test_keys_are_not_for_those_without_one_nor_for_nonsense(
    start_agent: StartAgent, loopback: Callable[[], str], tmp_path: Path
) -> None:
    agent = start_agent("a", loopback(), "--key-file", str(key_file(tmp_path, "a", KEY)))
    for step, body, key, status in (
        ("install", b"{}", None, 401),
        ("install", b"{}", OTHER_KEY, 401),
        ("install", b"[]", KEY, 400),
        ("install", b"{" * 5000, KEY, 400),
        ("install", b'{"key": "short"}', KEY, 400),
        ("use", b'{"id": "xyz"}', KEY, 400),
        ("use", b'{"id": "00000000"}', KEY, 409),
        ("rotate", b"{}", KEY, 404),
    ):
        path = f"/api/v1/keys/{step}"
        signed = PeerAuth([key] if key else []).ask("a", Request("POST", path, (), body)).headers
        request = urllib.request.Request(agent.url + path, body, dict(signed))
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=WAIT_S)
        with refused.value as answer:
            assert (answer.code, list(json.load(answer))) == (status, ["error"])


def test_a_key_from_a_file_is_checked_before_it_is_sent(
    start_agent: StartAgent, loopback: Callable[[], str], tmp_path: Path
) -> None:
    agent = start_agent("a", loopback(), "--key-file", str(key_file(tmp_path, "a", KEY)))
    short, other = key_file(tmp_path, "short", b"short"), key_file(tmp_path, "other", OTHER_KEY)
    several, absent = key_file(tmp_path, "several", KEY, OTHER_KEY), tmp_path / "absent"
    for file, complaint in ((short, "a key is 32 bytes"), (several, "2 keys"), (absent, "No such file")):
        status, error = ask(agent, "keys", "install", str(file))
        assert (status, error.count("\n")) == (2, 1)
        assert complaint in error
    status, error = ask(agent, "keys", "install", str(other), "--key-file", str(other))
    assert status == 1
    assert "must be signed with a key of the cluster" in error
    status, installed = ask(agent, "keys", "install", str(other))
    assert (status, len(rings(installed)["a"])) == (0, 2)
    assert ask(agent, "keys", "use", installed["key"])[0] == 0
    assert (tmp_path / "a.key").read_bytes().splitlines()[1] == base64.b64encode(OTHER_KEY)


def test_keys_are_not_sent_where_packets_are_plain_and_nothing_changes(
    start_agent: StartAgent, loopback: Callable[[], str], tmp_path: Path
) -> None:
    host, file = loopback(), key_file(tmp_path, "k", KEY)
    sealing = ["--key-file", str(file), "--sealing", "allow"]
    a, b = start_agent("a", host, *sealing), start_agent("b", loopback(), "--join", host, *sealing)
    until(lambda: a.alive() == b.alive() == {"a", "b"})
    status, error = ask(a, "keys", "install")
    assert status == 1
    assert "only where packets are sealed" in error
    assert file.read_bytes() == base64.b64encode(KEY) + b"\n"


def test_agents_say_at_the_start_who_may_take_part(
    start_agent: StartAgent, loopback: Callable[[], str], tmp_path: Path
) -> None:
    file = key_file(tmp_path, "k", KEY)
    sealed = start_agent("sealed", loopback(), "--key-file", str(file))
    half = start_agent("half", loopback(), "--key-file", str(file), "--sealing", "prefer", "--router", "exact")
    assert "level=warning logger=mirror.agent" not in sealed.output
    assert "sealing is prefer: anybody who reaches peer and gossip is taken for a member" in half.output
    assert "router is exact, which is for comparison" in half.output


def test_agents_without_a_key_refuse_to_change_keys(start_agent: StartAgent, loopback: Callable[[], str]) -> None:
    status, error = ask(start_agent("a", loopback()), "keys", "install")
    assert status == 2
    assert "give every node the same one with --key-file" in error


def test_an_agent_whose_name_is_taken_says_so_and_ends(
    start_agent: StartAgent, loopback: Callable[[], str], tmp_path: Path
) -> None:
    host, second = loopback(), loopback()
    first = start_agent("a", host)
    other = start_agent("b", loopback(), "--join", host)
    addresses = ["--listen", f"{second}:5000", "--peer", f"{second}:5001", "--gossip", f"{second}:7946"]
    command = skvaller("agent", "--name", "a", "--data-dir", str(tmp_path / "second"), "--join", host, *addresses)
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 2, "a supervisor need not start it again"
    assert f"Error: name: a is also the name of the node at {host}:7946" in done.stderr
    assert "Traceback" not in done.stderr
    until(lambda: first.alive() == other.alive() == {"a", "b"})


def test_a_restarted_agent_finds_the_others_without_seeds(start_agent: StartAgent, loopback: Callable[[], str]) -> None:
    host, other = loopback(), loopback()
    a = start_agent("a", host)
    b = start_agent("b", other, "--join", host)
    until(lambda: a.alive() == b.alive() == {"a", "b"})
    b.stop()
    until(lambda: a.alive() == {"a"})
    again = start_agent("b", other)
    until(lambda: a.alive() == again.alive() == {"a", "b"})


@pytest.mark.parametrize(("mine", "others"), [("allow", None), ("prefer", "allow"), ("require", "prefer")])
def test_each_step_from_plain_to_sealed_understands_the_one_before(
    mine: str, others: str | None, start_agent: StartAgent, loopback: Callable[[], str], tmp_path: Path
) -> None:
    file, host = key_file(tmp_path, "k", KEY), loopback()
    before = ["--key-file", str(file), "--sealing", others] if others else []
    a = start_agent("a", host, *before)
    b = start_agent("b", loopback(), "--join", host, "--key-file", str(file), "--sealing", mine)
    until(lambda: a.alive() == b.alive() == {"a", "b"})
    missing = f"/v2/library/none/blobs/sha256:{'0' * 64}?ns=docker.io"
    with pytest.raises(urllib.error.HTTPError) as refusal, urllib.request.urlopen(f"http://{b.host}:5001{missing}"):
        pass
    with refusal.value:
        assert refusal.value.code == (400 if mine == "require" else 404)


def test_another_cluster_and_another_network_are_not_heard(
    start_agent: StartAgent, loopback: Callable[[], str]
) -> None:
    host = loopback()
    a = start_agent("a", host, "--gossip-allow", f"{host}/32")
    other = start_agent("b", loopback(), "--join", host)
    stranger = start_agent("c", loopback(), "--join", other.host, "--cluster", "elsewhere")
    until(lambda: shows(a, r'^skvaller_gossip_rejected_total\{reason="allow"\} [1-9]'))
    until(lambda: shows(other, r'^skvaller_gossip_rejected_total\{reason="cluster"\} [1-9]'))
    assert [agent.alive() for agent in (a, other, stranger)] == [{"a"}, {"b"}, {"c"}]


def test_metrics_show_what_gossip_does(start_agent: StartAgent, loopback: Callable[[], str]) -> None:
    host = loopback()
    a = start_agent("a", host, "--metrics", f"{host}:5002")
    start_agent("b", loopback(), "--join", host)
    until(lambda: a.alive() == {"a", "b"})
    patterns = (
        r'^skvaller_gossip_datagrams_total\{direction="sent"\} [1-9]',
        r'^skvaller_gossip_bytes_total\{direction="received"\} [1-9]',
        r'^skvaller_gossip_events_total\{event="member_joined"\} 1\.0$',
        r"^skvaller_gossip_streams_total [1-9]",
        r"^skvaller_gossip_health 0\.0$",
        r'^skvaller_event_loop_lag_seconds\{percentile="99"\} 0\.\d',
        r'^skvaller_gossip_errors_total\{kind="snapshot"\} 0\.0$',
        r'^skvaller_gossip_events_total\{event="member_failed"\} 0\.0$',
        r'^skvaller_gossip_rejected_total\{reason="replay"\} 0\.0$',
    )
    until(lambda: all(shows(a, pattern) for pattern in patterns))
    assert fetched(f"http://{host}:5002/metrics", "prometheus.example") == 200
    assert fetched(f"http://{host}:5002/readyz", "prometheus.example") == 200
    assert fetched(f"{a.url}/metrics", "prometheus.example") == 403
    for path in ("/api/v1/members", "/api/v1/fetches", "/v2/", "/api/v1/find?q=nginx"):
        assert fetched(f"http://{host}:5002{path}", host) == 404
