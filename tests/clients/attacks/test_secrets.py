"""Somebody who reads what is lying about: the process table, logs, answers, and files that others may read."""

import base64
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Final
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from testbed.agents import Agent
from testbed.processes import WAIT_S
from tests.clients.test_agent_process import ended

pytestmark = [pytest.mark.clients, pytest.mark.timeout(90)]

USER, PASSWORD = "robot", "hunter2:+/secret"
BASIC = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
TOKEN, SIGNATURE = "t0ken-of-the-registry", "s1gnature-of-the-store"
KEY = hashlib.sha256(b"of the cluster").digest()
BLOB = b"bytes of a layer" * 1000
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"}).encode()

SECRETS: Final = {
    "password": PASSWORD.encode(),
    "password in a URL": quote(PASSWORD, safe="").encode(),
    "password in base64": BASIC.encode().rstrip(b"="),
    "token": TOKEN.encode(),
    "signature": SIGNATURE.encode(),
    "key": KEY,
    "key in base64": base64.b64encode(KEY).rstrip(b"="),
    "key in hex": KEY.hex().encode(),
}


def name(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


class Spy(BaseHTTPRequestHandler):
    """A registry that wants a token, and whose failures repeat all that it was told."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        given = self.headers.get("Authorization", "")
        host = self.headers["Host"]
        if path == "/token":
            self._say(200 if given == f"Basic {BASIC}" else 401, json.dumps({"token": TOKEN}).encode())
        elif path == "/store":
            found = f"sig={SIGNATURE}" in query
            self._say(200 if found else 403, BLOB if found else self._told())
        elif given != f"Bearer {TOKEN}":
            self._say(401, self._told(), **{"WWW-Authenticate": f'Bearer realm="http://{host}/token",service="{host}"'})
        elif path.endswith(name(BLOB)):
            target = f"http://{USER}:{quote(PASSWORD, safe='')}@{host}/store?sig={SIGNATURE}"
            self._say(307, b"", Location=target)
        elif path.endswith(("/manifests/1", name(MANIFEST))):
            self._say(200, MANIFEST, **{
                "Content-Type": "application/vnd.oci.image.manifest.v1+json", "Docker-Content-Digest": name(MANIFEST)
            })  # fmt: skip
        elif "/elsewhere" in path:
            self._say(302, b"", Location=f"http://{USER}:{quote(PASSWORD, safe='')}@10.0.0.1/x?sig={SIGNATURE}")
        elif "/limited" in path:
            self._say(429, self._told(), **{"Retry-After": self._told().decode()[:200]})
        else:
            self._say(500, self._told(), **{"X-Told": given})

    do_HEAD = do_GET

    def _told(self) -> bytes:
        return f"{self.path} {self.headers.items()} {BASIC} {TOKEN} {SIGNATURE}".replace("\n", " ").encode()

    def _say(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for field, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(field, value)
        self.end_headers()
        if self.command != "HEAD":
            with suppress(ConnectionError):
                self.wfile.write(body)

    def handle(self) -> None:
        with suppress(ConnectionError):  # the agent has stopped
            super().handle()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def spy() -> Iterator[str]:
    """The registry's address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Spy)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def answer(url: str) -> bytes:
    """An answer, whatever its status, with its headers."""
    try:
        with urlopen(Request(url), timeout=WAIT_S) as given:
            return str(given.headers).encode() + bytes(given.read())
    except HTTPError as error:
        with error:
            return str(error.headers).encode() + error.read()


def private(file: Path, content: str) -> Path:
    file.touch(mode=0o600)
    file.write_text(content)
    return file


def readable_by_others(file: Path, folder: Path) -> bool:
    """Whether neither a file's own mode nor that of a folder between it and `folder` keeps others out."""
    between = [file, *(parent for parent in file.parents if parent.is_relative_to(folder) and parent != folder)]
    return all(path.stat().st_mode & 0o077 for path in between)


def shown(evidence: dict[str, bytes]) -> list[str]:
    """Which secret is where."""
    return [
        f"{secret} in {where}: {text[max(0, at.start() - 60) : at.end() + 20]!r}"
        for where, text in evidence.items()
        for secret, value in SECRETS.items()
        for at in re.finditer(re.escape(value), text)
    ]


PATHS: Final = (
    "/v2/team/app/manifests/1?ns=lab",
    f"/v2/team/app/blobs/{name(BLOB)}?ns=lab",
    f"/v2/team/broken/blobs/{name(b'1')}?ns=lab",
    "/v2/team/broken/manifests/1.1?ns=lab",
    f"/v2/team/elsewhere/blobs/{name(b'2')}?ns=lab",
    f"/v2/../..?ns=lab&x={'y' * 100}",
    "/healthz",
    "/readyz",
    "/metrics",
    "/api/v1/members",
    "/api/v1/keys",
    "/api/v1/fetches",
    "/api/v1/find?q=lab/team/app:1",
    f"/api/v1/find?q={name(BLOB)}",
    "/api/v1/why?q=lab/team/app:1",
    f"/api/v1/why?q={name(BLOB)}",
    "/api/v1/images",
    f"/v2/team/limited/blobs/{name(b'3')}?ns=lab",
    "/v2/team/limited/manifests/2?ns=lab",
)


def test_no_secret_is_in_any_log_answer_command_line_or_file_but_its_own(
    start_agent: Callable[..., Agent], loopback: Callable[[], str], spy: str, tmp_path: Path
) -> None:
    auth = private(tmp_path / "auth.json", json.dumps({"auths": {spy: {"auth": BASIC}}}))
    key = private(tmp_path / "key", base64.b64encode(KEY).decode())
    flags = ["--key-file", str(key), "--log-level", "debug", "--upstream", f"lab=http://{spy}"]
    a = start_agent("a", loopback(), *flags, "--upstream-auth", str(auth))
    b = start_agent("b", loopback(), *flags, "--join", a.gossip)
    b.until_state("a", "alive")

    evidence = {f"{agent.name}: {path}": answer(agent.url + path) for agent in (a, b) for path in PATHS}
    assert evidence[f"a: {PATHS[1]}"].endswith(BLOB)
    assert evidence[f"b: {PATHS[1]}"].endswith(BLOB)  # from a: b has no password
    for command in (["members"], ["find", "lab/team/app:1"], ["why", "lab/team/app:1"], ["keys", "list"]):
        said = ended(*command, "--agent", a.url)
        evidence[" ".join(command)] = (said.stdout + said.stderr).encode()
    lines = [(process, Path(f"/proc/{process}/cmdline")) for process in os.listdir("/proc") if process.isdigit()]
    for process, line in lines:
        with suppress(OSError):
            evidence[f"command line of {process}"] = line.read_bytes()
    for agent in (a, b):
        agent.stop()
        files = [file for file in agent.folder.rglob("*") if file.is_file()]
        assert not [file for file in files if file.name != "agent.log" and readable_by_others(file, agent.folder)]
        evidence |= {str(file.relative_to(tmp_path)): file.read_bytes() for file in files}

    assert len(evidence["agent-a/agent.log"]) > 1000
    assert not shown(evidence)


@pytest.mark.parametrize("where", ["--upstream", "SKVALLER_UPSTREAM", "agent.toml"])
def test_a_password_that_is_refused_is_not_shown_where_it_was_written(where: str, tmp_path: Path) -> None:
    wrong = f"lab=https://{USER}:{quote(PASSWORD, safe='')}@lab.example?x"
    toml = private(tmp_path / "agent.toml", f'upstream = ["{wrong}"]' if where == "agent.toml" else "")
    flags = ["--upstream", wrong] if where == "--upstream" else []
    variables = {where: wrong} if where.isupper() else {}
    said = ended("agent", "--config", str(toml), "--data-dir", str(tmp_path), *flags, **variables)
    assert said.returncode == 2
    assert not shown({"stdout": said.stdout.encode(), "stderr": said.stderr.encode()})


def test_a_password_on_the_command_line_is_warned_about_in_the_log(
    start_agent: Callable[..., Agent], loopback: Callable[[], str]
) -> None:
    url = f"lab=https://{USER}:{quote(PASSWORD, safe='')}@lab.example"
    agent = start_agent("a", loopback(), "--upstream", url)
    agent.stop()
    log = (agent.folder / "agent.log").read_bytes()
    assert b"level=warning" in log
    assert b"every user of this machine sees in `ps`" in log
    assert not shown({"log": log})


@pytest.mark.parametrize("mode", [0o644, 0o640])
def test_a_configuration_that_others_may_read_is_refused(mode: int, tmp_path: Path) -> None:
    file = private(tmp_path / "open.toml", f'upstream = ["lab=http://{USER}:{quote(PASSWORD, safe="")}@127.0.0.1:9"]')
    file.chmod(mode)
    said = ended("agent", "--config", str(file), "--data-dir", str(tmp_path / "data"))
    assert said.returncode == 2
    assert str(file) in said.stderr
    assert not shown({"stdout": said.stdout.encode(), "stderr": said.stderr.encode()})
