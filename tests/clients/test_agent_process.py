"""The agent as a process: what it refuses to start with, how it stops, what a crash leaves, and who may ask it."""

import base64
import hashlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from urllib.error import HTTPError

import pytest

from mirror.kubernetes.own_files import delete_own
from testbed.agents import Agent, skvaller
from testbed.images import Image
from testbed.processes import WAIT_S, wait_until
from testbed.registry import Registry

APP = "docker.io/library/app:1.0"
KEY = bytes(range(32))


def ended(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = skvaller(*arguments, **environment)
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)


def refusal(*arguments: str, status: int = 2, **environment: str) -> str:
    """What an agent says that does not start: one line, without its `Error: `."""
    agent = ended("agent", *arguments, **environment)
    assert (agent.returncode, agent.stdout) == (status, "")
    (line,) = agent.stderr.splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


# What it refuses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("toml", "key"),
    [
        (b'lisen = "127.0.0.1:5000"', "lisen"),
        (b"[agent]\nname = 'a'", "agent"),
        (b"listen = true", "listen"),
        (b'listen = "127.0.0.1"', "listen"),
        (b"name = {first = 'a'}", "name"),
        (b'name = "two words"', "name"),
        (b"join = 5", "join"),
        (b'join = ["10.0.0.1", 5]', "join"),
        (b'join = ["10.0.0.1:99999"]', "join"),
        (b'upstream = ["docker.io"]', "upstream"),
        (b'upstream = ["docker.io=ftp://127.0.0.1"]', "upstream"),
        (b"cache-size = 5", "cache-size"),
        (b'cache-size = "plenty"', "cache-size"),
        (b'advertise = "0.0.0.0"', "advertise"),
        (b'log-level = "loud"', "log-level"),
        (b'sealing = "maybe"', "sealing"),
        (b'cluster = "two words"', "cluster"),
        (b'gossip-profile = "slow"', "gossip-profile"),
        (b'gossip-allow = ["10.0.0.1/8"]', "gossip-allow"),
        (b'peer = "0.0.0.0:5001"\ngossip = "127.0.0.1:7946"', "peer"),
        (b"name = ", "config"),
        (b"name = '\xff'", "config"),
    ],
)
def test_a_bad_file_is_refused_by_one_line_that_names_the_key(toml: bytes, key: str, tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_bytes(toml)
    assert refusal("--config", str(file), "--data-dir", str(tmp_path)).startswith((f"{key}:", f"{key} in {file}:"))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert refusal("--config", str(tmp_path / "none.toml")).startswith(f"config: cannot read {tmp_path / 'none.toml'}:")


def test_a_bad_flag_and_a_bad_variable_are_refused_under_their_own_names() -> None:
    assert refusal("--listen", "localhost:5000").startswith("--listen: 'localhost:5000'")
    assert refusal(SKVALLER_CACHE_SIZE="plenty").startswith("SKVALLER_CACHE_SIZE: 'plenty'")
    assert refusal(SKVALLER_LISEN="127.0.0.1:1") == "SKVALLER_LISEN: no such setting; is SKVALLER_LISTEN meant?"


def test_settings_are_checked_without_a_start(tmp_path: Path, loopback: Callable[[], str]) -> None:
    file = tmp_path / "keys"
    file.touch(0o600)
    file.write_text("short\n")
    addresses = [f"--{name}={loopback()}:5001" for name in ("listen", "peer", "gossip")]
    flags = ["--name", "a", "--data-dir", str(tmp_path / "data"), "--key-file", str(file), *addresses]
    assert refusal("--check", *flags).startswith("key-file: ")
    file.write_text(KEY.hex())
    checked = ended("agent", "--check", *flags)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout.startswith("the settings are in order: agent a serves clients on 127.")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("key", "port", "kind"),
    [
        ("listen", 5000, socket.SOCK_STREAM),
        ("peer", 5001, socket.SOCK_STREAM),
        ("gossip", 7946, socket.SOCK_STREAM),
        ("gossip", 7946, socket.SOCK_DGRAM),
    ],
)
def test_an_address_in_use_is_refused(
    key: str, port: int, kind: socket.SocketKind, loopback: Callable[[], str], tmp_path: Path
) -> None:
    host = loopback()
    addresses = ["--listen", f"{host}:5000", "--peer", f"{host}:5001", "--gossip", f"{host}:7946"]
    with socket.socket(socket.AF_INET, kind) as taken:
        if kind == socket.SOCK_STREAM:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # another test's connections may linger here
        taken.bind((host, port))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        line = refusal(*addresses, "--data-dir", str(tmp_path), status=1)
    assert line.startswith(f"{key}: ")
    assert f"{host}:{port}: " in line
    assert "in use" in line


def test_a_data_folder_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for folder in (file, file / "below", Path("/proc/skvaller")):
        assert refusal("--data-dir", str(folder), status=1).startswith(f"data-dir: cannot write to {folder}: ")


def test_a_data_folder_of_a_running_agent_is_refused(
    start_agent: Callable[..., Agent], loopback: Callable[[], str]
) -> None:
    agent = start_agent("a", loopback())
    said = refusal("--data-dir", str(agent.folder), status=1)
    assert said.startswith(f"data-dir: another agent uses {agent.folder}")
    assert agent.running


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        (b"", 0o600),
        (b"too short\n", 0o600),
        (base64.b64encode(KEY[1:]), 0o600),
        (KEY.hex().encode() + b"\n" + base64.b64encode(KEY), 0o600),
        (base64.b64encode(KEY), 0o644),
    ],
)
def test_a_bad_key_file_is_refused_without_showing_it(text: bytes, mode: int, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.touch(mode)
    file.chmod(mode)
    file.write_bytes(text)
    line = refusal("--key-file", str(file), "--data-dir", str(tmp_path))
    assert line.startswith("key-file: ")
    assert str(file) in line
    assert not any(word in line for word in text.decode().split())


def test_a_key_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert refusal("--key-file", str(tmp_path / "none")).startswith("key-file: ")


# How it stops, and what it leaves ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_status_0(
    number: signal.Signals, start_agent: Callable[..., Agent], loopback: Callable[[], str]
) -> None:
    agent = start_agent("a", loopback())
    agent.send(number)
    assert agent.wait() == 0
    assert "Traceback" not in agent.output


@pytest.mark.clients
def test_what_was_complete_is_served_after_a_crash(
    start_agent: Callable[..., Agent],
    start_registry: Callable[..., Registry],
    make_image: Callable[..., Image],
    loopback: Callable[[], str],
) -> None:
    registry, image = start_registry(), make_image(APP, [5_000_000, 100])
    registry.push(image, "library/app", "1.0")
    agent = start_agent("a", loopback(), "--pin", APP, "--upstream", f"docker.io=http://{registry.address}")
    pull(agent, image)

    agent.kill()
    registry.stop()
    agent.start()

    pull(agent, image)
    wait_until((agent.folder / "pins" / "kept").exists, "what is pinned to be kept")
    agent.kill()
    # The chart deletes what it knows to be an agent's, and this is all that there is.
    assert delete_own(agent.folder) == [agent.log]


def pull(agent: Agent, image: Image) -> None:
    """Get an image as a client does that gives no registry, by tag; fail unless every byte is right."""
    assert agent.get("/v2/library/app/manifests/1.0") == image.read(image.manifest)
    for digest in (image.config, *image.layers):
        assert agent.get(f"/v2/library/app/blobs/{digest}") == image.read(digest)


class StoppingRegistry(ThreadingHTTPServer):
    """Serves one blob, and stops in the middle of it until it is told to go on."""

    daemon_threads = True

    def __init__(self, blob: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Stopping)
        self.blob = blob
        self.stopped = Event()
        self.go_on = Event()


class _Stopping(BaseHTTPRequestHandler):
    server: StoppingRegistry

    def do_GET(self) -> None:
        blob = self.server.blob
        self.send_response(200)
        self.send_header("Content-Length", str(len(blob)))
        self.end_headers()
        self.wfile.write(blob[: len(blob) // 2])
        self.server.stopped.set()
        self.server.go_on.wait(WAIT_S)
        self.wfile.write(blob[len(blob) // 2 :])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def stopping_registry() -> Iterator[StoppingRegistry]:
    """An upstream that stops after half of a blob of 10 MB."""
    registry = StoppingRegistry(os.urandom(10_000_000))
    thread = Thread(target=registry.serve_forever)
    thread.start()
    yield registry
    registry.go_on.set()
    registry.shutdown()
    thread.join()
    registry.server_close()


def test_what_was_arriving_at_a_crash_is_not_served_but_gone_on_with(
    start_agent: Callable[..., Agent], stopping_registry: StoppingRegistry, loopback: Callable[[], str]
) -> None:
    digest = f"sha256:{hashlib.sha256(stopping_registry.blob).hexdigest()}"
    path = f"/v2/library/app/blobs/{digest}"
    host = loopback()
    agent = start_agent("a", host, "--upstream", f"docker.io=http://127.0.0.1:{stopping_registry.server_port}")
    with closing(socket.create_connection((host, 5000))) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert stopping_registry.stopped.wait(WAIT_S)
        agent.until_received(digest, "upstream", len(stopping_registry.blob) // 4)
        journal = agent.folder / "cache" / "spool" / f"{digest.removeprefix('sha256:')}.pieces"
        # Bytes count as received before their piece is on the disk, and later still in the journal.
        wait_until(lambda: journal.exists() and journal.stat().st_size >= 8 + 32, "a piece in the journal")
        agent.kill()

    agent.start()

    assert agent.ask(f"/api/v1/find?q={digest}")["holders"] == {digest: []}
    assert not list(agent.folder.glob("cache/blobs/sha256/*/*"))
    stopping_registry.go_on.set()
    assert agent.get(path) == stopping_registry.blob
    assert agent.fetch(digest)["resumed"] > 0
    assert not list(agent.folder.glob("cache/spool/*"))


class _Blobs(BaseHTTPRequestHandler):
    """An upstream: the blob of each number from 0 to 19."""

    @staticmethod
    def blob(number: int) -> bytes:
        return bytes([number]) * 300_000

    def do_GET(self) -> None:
        digest = self.path.partition("?")[0].rpartition(":")[2]
        (blob,) = (blob for blob in map(self.blob, range(20)) if hashlib.sha256(blob).hexdigest() == digest)
        self.send_response(200)
        self.send_header("Content-Length", str(len(blob)))
        self.end_headers()
        self.wfile.write(blob)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_with_few_descriptors_it_serves_all_that_it_has_and_loses_nothing(
    start_agent: Callable[..., Agent], loopback: Callable[[], str]
) -> None:
    host, blobs = loopback(), [_Blobs.blob(number) for number in range(20)]
    paths = [f"/v2/library/app/blobs/sha256:{hashlib.sha256(blob).hexdigest()}" for blob in blobs]
    with ThreadingHTTPServer(("127.0.0.1", 0), _Blobs) as upstream:
        thread = Thread(target=upstream.serve_forever)
        thread.start()
        flags = ("--upstream", f"docker.io=http://127.0.0.1:{upstream.server_port}")
        agent = start_agent("a", host, *flags, odd="descriptors=120")
        assert [agent.get(path) for path in paths] == blobs
        upstream.shutdown()
        thread.join()
    idle = [socket.create_connection((host, 5000 + number % 2), WAIT_S) for number in range(600)]
    with ThreadPoolExecutor(8) as clients:
        got = list(clients.map(lambda path: insist(agent, path), paths * 3))
    assert got == blobs * 3
    assert all(agent.has_cached(path.rpartition("/")[2]) for path in paths)
    for connection in idle:
        connection.close()
    assert "Traceback" not in agent.output


def insist(agent: Agent, path: str) -> bytes:
    """Get something as a client does that tries again when its connection is refused."""
    for _ in range(100):
        try:
            return agent.get(path)
        except HTTPError:
            raise
        except OSError:
            pass  # it was closed before it was answered
    raise AssertionError(f"{path} is refused every time")


# Asking it ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(
    start_agent: Callable[..., Agent], start_registry: Callable[..., Registry], loopback: Callable[[], str]
) -> tuple[Agent, Agent, Registry]:
    """Two agents, the second joined to the first, and their upstream."""
    registry = start_registry()
    upstream = ["--upstream", f"docker.io=http://{registry.address}"]
    a = start_agent("a", loopback(), *upstream)
    b = start_agent("b", loopback(), *upstream, "--join", a.gossip)
    a.until_state("b", "alive")
    b.until_state("a", "alive")
    return a, b, registry


@pytest.mark.clients
def test_members_shows_the_cluster(pair: tuple[Agent, Agent, Registry]) -> None:
    a, b, _ = pair
    shown = ended("members", "--agent", a.url)
    assert (shown.returncode, shown.stderr) == (0, "")
    rows = [line.split() for line in shown.stdout.splitlines()]
    assert ["a", "(this", "node)", "alive", f"http://{a.host}:5001", "0", "new", "-"] in rows
    assert ["b", "alive", f"http://{b.host}:5001", "0", "new"] in [
        row[:5] for row in rows
    ]  # then the round trip, if it is known

    raw = json.loads(ended("members", "--json", "--agent", b.url).stdout)
    assert {row["name"]: row["itself"] for row in raw["members"]} == {"a": False, "b": True}


@pytest.mark.clients
def test_find_shows_who_has_an_image_or_a_digest(
    pair: tuple[Agent, Agent, Registry], make_image: Callable[..., Image]
) -> None:
    a, b, registry = pair
    image = make_image(APP, [1_000_000])
    registry.push(image, "library/app", "1.0")
    pull(a, image)
    b.until_found(APP, "a")
    b.until_found(image.layers[0], "a")

    by_name = ended("find", "app:1.0", "--agent", b.url)
    assert (by_name.returncode, by_name.stderr) == (0, "")
    assert f"docker.io/library/app:1.0 is {image.manifest}" in by_name.stdout
    assert "says a: from upstream" in by_name.stdout

    why = ended("why", "app:1.0", "--agent", a.url)
    assert (why.returncode, why.stderr) == (0, "")
    assert f"docker.io/library/app:1.0 is {image.manifest}" in why.stdout
    rows = [line.split() for line in why.stdout.splitlines()]
    assert [row[4] for row in rows if row[:2] == ["layer", image.layers[0][7:19]] and "KiB" in row[3]] == ["cache"]
    raw = json.loads(ended("why", image.layers[0], "--json", "--agent", b.url).stdout)
    assert [row["member"] for row in raw["content"][0]["holders"]] == ["a"]
    assert ended("why", "app:2.0", "--agent", b.url).returncode == 1

    shown = json.loads(ended("images", "app:*", "--json", "--agent", b.url).stdout)
    assert [[row[key] for key in ("reference", "digest", "whole")] for row in shown["images"]] == [
        [APP, image.manifest, ["a"]]
    ]

    by_digest = ended("find", image.layers[0], "--agent", b.url)
    assert by_digest.returncode == 0
    assert ["a", f"{image.size(image.layers[0]):,}", "bytes"] in [
        [row[0], *row[2:]] for row in map(str.split, by_digest.stdout.splitlines())
    ]

    assert "no key" in ended("delete", "app:1.0", "--everywhere", "--agent", a.url).stderr
    plan = json.loads(ended("prune", "--keep-size", "0", "--dry-run", "--json", "--agent", a.url).stdout)
    assert (plan["blobs"], a.has_cached(image.layers[0])) == (3, True)
    deleted = ended("delete", "app:1.0", "--agent", a.url)
    assert (deleted.returncode, deleted.stderr) == (0, "")
    assert not a.has_cached(image.layers[0])
    wait_until(lambda: not b.holders(image.layers[0]), "b to learn that nobody has the layer any more")


def test_find_says_so_where_nobody_has_it(start_agent: Callable[..., Agent], loopback: Callable[[], str]) -> None:
    agent = start_agent("a", loopback())
    missing = f"sha256:{'0' * 64}"
    asked = ended("find", missing, SKVALLER_AGENT=agent.url.removeprefix("http://"))
    assert (asked.returncode, asked.stdout.strip()) == (
        1,
        f"no member has {missing}: `skvaller why {missing}` says why",
    )


@pytest.mark.parametrize("command", [("members",), ("find", APP)])
def test_asking_an_agent_that_does_not_run_says_so_in_one_line(
    command: tuple[str, ...], loopback: Callable[[], str]
) -> None:
    url = f"http://{loopback()}:5000"
    asked = ended(*command, "--agent", url)
    assert (asked.returncode, asked.stdout) == (3, "")
    assert asked.stderr.startswith(f"Error: no agent answers at {url} ")
    assert asked.stderr.count("\n") == 1


def test_an_agent_is_asked_directly_where_a_proxy_is_set(
    start_agent: Callable[..., Agent], loopback: Callable[[], str]
) -> None:
    agent = start_agent("a", loopback())
    asked = ended("members", "--agent", agent.url, http_proxy="http://127.0.0.1:9")
    assert (asked.returncode, asked.stderr) == (0, "")
