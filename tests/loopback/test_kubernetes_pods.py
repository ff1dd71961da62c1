"""What the chart's small pods ask: agents about themselves, and an API server. Both are doubles on loopback."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from prometheus_client import generate_latest

from mirror.cli import main
from mirror.errors import ConfigError
from mirror.kubernetes.server import Server, ServerFailed
from mirror.metrics import Metrics

Serve = Callable[..., int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Answer by path at an address: a status and a body, or 404; returns the port."""
    with ExitStack() as stack:

        def start(answers: dict[str, tuple[int, str]], host: str = "127.0.0.1", port: int = 0) -> int:
            class Handler(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    seen.append(self.headers.get("Authorization", ""))
                    status, body = answers.get(self.path, (404, ""))
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body.encode())

                def log_message(self, *_: object) -> None:
                    pass

            server = stack.enter_context(ThreadingHTTPServer((host, port), Handler))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
            return int(server.server_address[1])

        seen: list[str] = []
        start.seen = seen  # type: ignore[attr-defined]
        yield start


def agent(members: int, ready: str = "ready\n", status: int = 200) -> dict[str, tuple[int, str]]:
    """What an agent answers that knows so many members, itself included."""
    metrics = Metrics()
    metrics.members.labels("alive").set(members)
    return {"/readyz": (status, ready), "/metrics": (200, generate_latest(metrics.registry).decode())}


def check(port: int) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["kubernetes", "check", f"127.0.0.1:{port}"], env={"COLUMNS": "120"})
    return done.exit_code, done.output


def test_agent_that_is_ready_and_knows_itself_is_well_alone(serve: Serve) -> None:
    code, said = check(serve(agent(1)))
    assert (code, said.split()) == (0, ["agent", "members", "it", "knows", "state", "127.0.0.1", "1", "ready"])


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (agent(0), "ready"),
        (agent(1, "ready\nalone: no other member is reached\n"), "alone: no other member is reached"),
        (agent(1, "not ready: starting or leaving\n", 503), "not ready: starting or leaving"),
        ({}, "status 404"),
    ],
)
def test_agent_that_is_not_well_fails_the_test_and_says_why(
    serve: Serve, answers: dict[str, tuple[int, str]], told: str
) -> None:
    code, said = check(serve(answers))
    assert code == 1
    assert told in said
    assert "of 1 agents not all are ready" in said


def test_agents_that_do_not_know_all_others_fail_the_test(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    port = serve(agent(2), "127.9.1.1")
    serve(agent(1), "127.9.1.2", port)
    found = [(0, 0, 0, "", (address, port)) for address in ("127.9.1.2", "fd00::9", "127.9.1.1")]
    really = socket.getaddrinfo

    def getaddrinfo(host: str, *rest: Any, **named: Any) -> Any:
        return found if host == "agents.svc" else really(host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    done = CliRunner().invoke(main, ["kubernetes", "check", "--here", "10.0.0.1", f"agents.svc:{port}"])
    assert done.exit_code == 1
    assert [line.split()[:2] for line in done.output.splitlines()[1:3]] == [["127.9.1.1", "2"], ["127.9.1.2", "1"]]


@pytest.fixture
def account(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("secret\n")
    (tmp_path / "namespace").write_text("images\n")
    return tmp_path


def test_api_server_is_asked_with_the_accounts_token(serve: Serve, account: Path) -> None:
    server = Server(f"http://127.0.0.1:{serve({'/api/v1/x': (200, json.dumps({'kind': 'X'}))})}", account)
    assert (server.namespace, server.get("/api/v1/x")) == ("images", {"kind": "X"})
    assert serve.seen == ["Bearer secret"]  # type: ignore[attr-defined]
    with pytest.raises(ServerFailed, match="answers 404 to /other"):
        server.get("/other")


def test_api_server_that_does_not_answer_is_told(account: Path) -> None:
    with pytest.raises(ServerFailed, match="does not answer"):
        Server("http://127.0.0.1:9", account).get("/api")


def test_a_pod_knows_its_api_server_and_nobody_else_does(
    account: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    found = Server.of_pod({"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}, account)
    assert found.url == "https://[fd00::1]:443"
    for environment, folder in (
        ({}, account),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, tmp_path_factory.mktemp("none")),
    ):
        with pytest.raises(ConfigError, match="this is no pod"):
            Server.of_pod(environment, folder)
