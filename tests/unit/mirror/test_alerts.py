"""The alert rules, as Prometheus itself evaluates them: each fires for what it is about, and not for what is usual."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
RULES = ROOT / "deploy/prometheus/alerts.yml"
NODE = 'job="skvaller",instance="n1"'
OTHER = 'job="skvaller",instance="n2"'


class Case(NamedTuple):
    """What makes an alert fire on `n1`, and only there.

    Args:
        series: what the agents say, in promtool's notation: one value a minute.
        at: when it fires, minutes.
        before: when it does not yet.
        labels: that it has beside `instance`, `job` and `severity`.
    """

    series: dict[str, str]
    at: int
    before: int = 0
    labels: dict[str, str] | None = None


def grows(name: str, labels: str = "") -> dict[str, str]:
    """A counter that stands still on both nodes, and grows on one of them from the 20th minute on."""
    labels = f",{labels}" if labels else ""
    return {f"{name}{{{NODE}{labels}}}": "0x20 5+5x100", f"{name}{{{OTHER}{labels}}}": "7x120"}


def stays(name: str, bad: float, good: float, labels: str = "") -> dict[str, str]:
    """A gauge that is bad on one node from the 20th minute on."""
    labels = f",{labels}" if labels else ""
    return {f"{name}{{{NODE}{labels}}}": f"{good}x19 {bad}x100", f"{name}{{{OTHER}{labels}}}": f"{good}x120"}


CASES = {
    "SkvallerDown": Case(stays("up", 0, 1), 26, 23),
    "SkvallerNotReady": Case(stays("skvaller_ready", 0, 1), 26, 23),
    "SkvallerMembersDisagree": Case(
        stays("skvaller_members", 2, 3, 'state="alive"'), 26, 23, labels={"state": "alive"}
    ),
    "SkvallerWrongKey": Case(grows("skvaller_gossip_rejected_total", 'reason="key"'), 30, 19, {"reason": "key"}),
    "SkvallerUpstreamRateLimited": Case(
        grows("skvaller_upstream_answers_total", 'code="429",registry="docker.io"'), 30, 19,
        {"code": "429", "registry": "docker.io"},
    ),
    "SkvallerUpstreamOutOfReach": Case(
        stays("skvaller_upstream_out", 1, 0, 'registry="docker.io"'), 21, 19, {"registry": "docker.io"}
    ),
    "SkvallerUpstreamPassword": Case(
        grows("skvaller_upstream_failures_total", 'reason="auth",registry="docker.io"'), 30, 19,
        {"reason": "auth", "registry": "docker.io"},
    ),
    "SkvallerCorruptPeer": Case(grows("skvaller_corrupt_peers_total"), 30, 19),
    "SkvallerTagContradiction": Case(grows("skvaller_tag_contradictions_total"), 30, 19),
    "SkvallerDamagedBlobs": Case(grows("skvaller_damaged_blobs_total", 'store="cache"'), 30, 19, {"store": "cache"}),
    "SkvallerConnectionsRefused": Case(
        grows("skvaller_connections_refused_total", 'kind="member"'), 30, 19, {"kind": "member"}
    ),
    "SkvallerEventLoopLate": Case(
        stays("skvaller_event_loop_lag_seconds", 0.5, 0.01, 'percentile="99"'), 31, 28, {"percentile": "99"}
    ),
    "SkvallerAlone": Case(stays("skvaller_gossip_alone", 1, 0), 26, 23),
    "SkvallerCacheKeepsNothing": Case(
        stays("skvaller_cache_keeping", 0, 1) | stays("skvaller_cache_limit_bytes", 20e9, 20e9), 31, 28
    ),
    "SkvallerCacheUnreadable": Case(
        stays("skvaller_cache_withheld", 3, 0, 'reason="unreadable"'), 26, 23, {"reason": "unreadable"}
    ),
    "SkvallerPinsNotWhole": Case(
        stays("skvaller_pinned_images", 2, 0, 'state="incomplete"'), 81, 78, {"state": "incomplete"}
    ),
    "SkvallerFewPullsLeft": Case(
        stays("skvaller_upstream_pulls_left", 5, 90, 'registry="docker.io"')
        | stays("skvaller_upstream_pulls_limit", 100, 100, 'registry="docker.io"'), 26, 23, {"registry": "docker.io"}
    ),
    "SkvallerClientsFail": Case(
        grows("skvaller_requests_total", 'endpoint="client",kind="blobs",outcome="failed"'), 30, 19,
        {"endpoint": "client", "kind": "blobs", "outcome": "failed"},
    ),
}  # fmt: skip


def rules() -> dict[str, dict[str, Any]]:
    """The rules, by name."""
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def test_every_alert_has_a_case_a_severity_and_says_where_it_is() -> None:
    assert rules().keys() == CASES.keys()
    for name, rule in rules().items():
        assert rule["labels"]["severity"] in ("critical", "warning"), name
        assert "$labels.instance" in rule["annotations"]["summary"], name


@pytest.mark.skipif(shutil.which("promtool") is None, reason="not installed: promtool")
def test_each_alert_fires_for_its_case_alone_and_not_before(tmp_path: Path) -> None:
    tests = []
    for name, case in CASES.items():
        rule = rules()[name]
        labels = {"severity": rule["labels"]["severity"], "instance": "n1", "job": "skvaller"} | (case.labels or {})
        checks = [{"alertname": name, "eval_time": f"{case.before}m", "exp_alerts": []}]
        checks += [
            {"alertname": other, "eval_time": f"{case.at}m", "exp_alerts": []} for other in CASES if other != name
        ]
        fired = {"alertname": name, "eval_time": f"{case.at}m", "exp_alerts": [{"exp_labels": labels}]}
        tests.append(
            {
                "interval": "1m",
                "input_series": [{"series": key, "values": values} for key, values in case.series.items()],
                "alert_rule_test": [*checks, fired],
            }
        )
    file = tmp_path / "alerts.test.yml"
    plain = tmp_path / "alerts.yml"
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    plain.write_text(json.dumps({"groups": [group | {"rules": [_without_words(rule) for rule in group["rules"]]}]}))
    file.write_text(json.dumps({"rule_files": [str(plain)], "evaluation_interval": "1m", "tests": tests}))
    done = subprocess.run(
        ["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _without_words(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule whose alerts have no annotations: what they say is for people."""
    return {name: value for name, value in rule.items() if name != "annotations"}
