"""Orders to an agent, from its machine and from another one; and the password that `skvaller token` makes."""

import base64
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from mirror.cli import main, orders
from mirror.cli.running_agent import Answer, NoAgent
from mirror.errors import ConfigError, Unauthorized
from mirror.sources.peers.auth import PeerAuth, Request

CLUSTER = bytes(range(32))
ELSEWHERE = "http://192.0.2.7:5000"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_bytes(base64.b64encode(CLUSTER) + b"\n")
    return path


class Agent:
    """Answers an order as the agent `a` does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, has_key: bool = True) -> None:
        self._auth = PeerAuth([CLUSTER if has_key else bytes(32)], "a")
        self.signed: list[bool] = []
        monkeypatch.setattr(orders, "ask", lambda url, path: {"node": "a"})
        monkeypatch.setattr(orders, "exchange", self._exchange)

    def _exchange(self, url: str, path: str, body: bytes, headers: dict[str, str] | None = None) -> Answer:
        self.signed.append(headers is not None)
        answer = json.dumps({"did": json.loads(body)}).encode()
        if headers is None:
            return Answer(200, {}, answer)
        try:
            proof = self._auth.prove(Request("POST", path, headers.items(), body))
        except Unauthorized:
            return Answer(200, {}, answer)
        return Answer(200, dict((proof.of_head(200, ()), proof.of_body(answer))), answer)


def test_an_agent_of_this_machine_takes_an_order_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent(monkeypatch)
    assert orders.order("unix:/run/x.sock", "/api/v1/x", {"a": 1}, None) == {"did": {"a": 1}}
    assert agent.signed == [False]


def test_an_agent_elsewhere_takes_an_order_that_is_signed(monkeypatch: pytest.MonkeyPatch, key_file: Path) -> None:
    agent = Agent(monkeypatch)
    assert orders.order(ELSEWHERE, "/api/v1/x", {"a": 1}, key_file) == {"did": {"a": 1}}
    assert agent.signed == [True]
    with pytest.raises(ConfigError, match="--key-file"):
        orders.order(ELSEWHERE, "/api/v1/x", {}, None)


def test_who_has_not_the_key_is_no_agent(monkeypatch: pytest.MonkeyPatch, key_file: Path) -> None:
    Agent(monkeypatch, has_key=False)
    with pytest.raises(NoAgent, match="another program"):
        orders.order(ELSEWHERE, "/api/v1/x", {}, key_file)


def test_a_password_is_printed_alone(key_file: Path) -> None:
    shown = CliRunner().invoke(main, ["token", "--key-file", str(key_file), "--for", "30m"])
    PeerAuth([CLUSTER]).check_password(shown.output.removesuffix("\n"))
    wrong = CliRunner().invoke(main, ["token", "--key-file", str(key_file), "--for", "soon"])
    assert wrong.exit_code == 2
    assert "30m" in wrong.output
