"""What an agent that answers is asked, and what its settings would do at the next start."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mirror.config import AgentConfig, load
from mirror.doctor import Finding, Verdict
from mirror.doctor.advice import Advice
from mirror.doctor.checks import examine
from mirror.doctor.patient import Machine, RunningAgent, checks_up, runtime_facts
from mirror.doctor.settings import FoundSettings
from mirror.errors import ConfigError

NODE: Mapping[str, Any] = {
    "name": "n1", "version": "1.0", "host": "127.0.0.1", "peer_port": 5001, "gossip_port": 7946, "addresses": [],
    "listen": ["127.0.0.1:5000"], "is_ready": True, "alone": "", "seeds": [], "received": 0, "candidates": 0,
    "namesake": "", "has_key": False, "key_file": "",
    "disk": {"folder": "/d", "free_bytes": 1 << 40, "total_bytes": 1 << 41, "free_inodes": None, "is_read_only": False,
             "problem": ""},
    "cache_limit_bytes": 1, "cache_bytes": 0, "keeps_nothing": "", "descriptors": {"allowed": 65536, "used": 9},
    "containerd": "", "containerd_way": None, "of_a_later_version": 1,
}  # fmt: skip
ANSWERS: Mapping[str, Any] = {
    "/api/v1/doctor/node": NODE,
    "/api/v1/doctor/members": {"members": []},
    "/api/v1/doctor/upstreams": {"upstreams": []},
    "/api/v1/members": {"members": [{"state": "alive", "itself": True}]},
}


def refuse(config: AgentConfig) -> None:
    raise ConfigError("key-file: key file /k can be read by others: run chmod 600 /k")


def permit(config: AgentConfig) -> None:
    """As an agent that takes these settings."""


def examined(root: Path, settings: FoundSettings, refuses: Any = permit, **answers: Any) -> dict[str, Finding]:
    def ask(path: str) -> Any:
        return {**ANSWERS, **answers}[path]

    machine = Machine("http://127.0.0.1:5000", settings, Advice(), root, refuses)
    checks, sources = checks_up(machine, RunningAgent(ask, ask))
    return {check.name: findings[0] for check, findings in examine(checks, sources) if findings}


def found() -> FoundSettings:
    return FoundSettings("/etc/skvaller/agent.toml", load({"name": "n1"}, {}, None))


def test_a_lone_agent_is_well(tmp_path: Path) -> None:
    findings = examined(tmp_path, found())
    assert {it.verdict for it in findings.values()} == {Verdict.OK, Verdict.SKIPPED}
    assert findings["settings"].verdict is Verdict.OK


@pytest.mark.parametrize(
    ("settings", "refuses", "verdict"),
    [
        (found(), refuse, Verdict.ERROR),
        (FoundSettings("x", None, "nme in /x: no such setting"), permit, Verdict.ERROR),
        (FoundSettings("x", None, "config: cannot read /x: Permission denied"), permit, Verdict.SKIPPED),
        (FoundSettings("x", load({}, {}, None), is_found=False), refuse, Verdict.SKIPPED),
    ],
)
def test_settings_are_judged_as_the_next_start_finds_them(
    settings: FoundSettings, refuses: Any, verdict: Verdict, tmp_path: Path
) -> None:
    assert examined(tmp_path, settings, refuses)["settings"].verdict is verdict


def test_an_agent_of_another_version_that_says_something_else_is_told(tmp_path: Path) -> None:
    findings = examined(tmp_path, found(), **{"/api/v1/doctor/members": {"members": [{"name": 7}]}})
    assert {findings[name].verdict for name in ("tcp", "udp", "mtu", "clock")} == {Verdict.WARNING}
    assert findings["agent"].verdict is Verdict.OK


def test_a_runtime_asks_at_loopback_an_agent_that_listens_everywhere(tmp_path: Path) -> None:
    file = tmp_path / "etc/docker/daemon.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"registry-mirrors": ["http://127.0.0.1:5000"]}')
    settings = FoundSettings("x", load({"listen": ["0.0.0.0:5000"]}, {}, None))
    machine = Machine("http://127.0.0.1:5000", settings, Advice(), tmp_path, permit)
    assert [(it.name, it.asks) for it in runtime_facts(machine, None)] == [("docker", True)]
