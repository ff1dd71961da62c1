"""Metrics as Prometheus has them: two agents that share an image, every query of the dashboard, and the alert rules."""

import json
import re
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.agents import Agent
from testbed.images import Image
from testbed.network import Address
from testbed.processes import WAIT_S, wait_until
from testbed.registry import Registry
from testbed.servers import Server
from tests.clients.conftest import need
from tests.clients.pulling import Client

pytestmark = pytest.mark.clients

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = ROOT / "deploy/grafana/skvaller.json"
EMPTY = (
    "Sources that did not deliver",
    "Requests to registries that failed",
    "Packets that were dropped",
    "Pulls that are left",
    "Nobody pulls for another",
)
"""Panels that show nothing while all is well, or where no registry says what it lets others pull; they say so."""
QUIET = ("Connections",)
"""Panels of which a part shows nothing while all is well."""


class Prometheus(Server):
    """Debian's, which asks some agents every half second.

    Args:
        folder: of its own.
        address: where it listens.
        agents: are asked.
    """

    def __init__(self, folder: Path, address: Address, agents: list[Agent]) -> None:
        folder.mkdir()
        job = {
            "job_name": "skvaller",
            "static_configs": [{"targets": [str(it.url).partition("://")[2] for it in agents]}],
        }
        everything = {
            "global": {"scrape_interval": "500ms", "scrape_timeout": "400ms", "evaluation_interval": "500ms"},
            "rule_files": [str(ROOT / "deploy/prometheus/alerts.yml")],
            "scrape_configs": [job],
        }
        config = folder / "prometheus.yml"
        config.write_text(yaml.safe_dump(everything))
        command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
                   f"--web.listen-address={address}", "--log.level=warn"]  # fmt: skip
        super().__init__("prometheus", command, address, folder / "prometheus.log")

    def is_ready(self) -> bool:
        """Whether it answers queries, which is some time after it takes connections."""
        if not super().is_ready():
            return False
        try:
            with urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=WAIT_S):
                return True
        except OSError:
            return False

    def ask(self, path: str, **query: str) -> Any:
        """What its API answers."""
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=WAIT_S) as answer:
            return json.load(answer)["data"]

    def value(self, query: str) -> float:
        """Of a query with one result, or 0."""
        result = self.ask("query", query=query)["result"]
        return float(result[0]["value"][1]) if result else 0.0


def queries() -> Iterator[tuple[str, str, str]]:
    """Title, description and query of every panel, with what Grafana would put into them."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], panel["description"], _filled(target["expr"])


def _filled(query: str) -> str:
    return query.replace("$__rate_interval", "10s").replace("$instance", ".*")


def test_prometheus_reads_two_agents_that_share_and_the_dashboard_shows_it(
    start_registry: Callable[..., Registry],
    make_image: Callable[..., Image],
    start_agent: Callable[..., Agent],
    loopback: Callable[[], str],
    tmp_path: Path,
) -> None:
    need("prometheus", "promtool", "docker-registry", "skopeo")
    registry, image = start_registry(), make_image("docker.io/team/app:1.0", [3_000_000, 2_000_000])
    registry.push(image, "team/app", "1.0")
    upstream = ("--upstream", f"docker.io=http://{registry.address}")
    first = start_agent("a", loopback(), *upstream)
    second = start_agent("b", loopback(), *upstream, "--join", first.host)
    wait_until(lambda: first.alive() == second.alive() == {"a", "b"}, "two agents that know each other")
    prometheus = Prometheus(tmp_path / "prometheus", Address(loopback(), 9090), [first, second])
    prometheus.start()
    try:
        wait_until(lambda: prometheus.value("count(skvaller_ready == 1)") == 2, "both agents are read")
        assert {Client(agent).pull("team/app:1.0") for agent in (first, second)} == {image.manifest}
        done = 'sum(skvaller_served_bytes_total{endpoint="client"})'
        wait_until(lambda: prometheus.value(done) >= 10_000_000, "the pulls are seen")
        wait_until(lambda: prometheus.value("sum(rate(skvaller_fetch_seconds_count[10s]))") > 0, "a rate is known")
        empty = {
            title
            for title, _, query in queries()
            if title not in QUIET and not prometheus.ask("query", query=query)["result"]
        }
        assert empty <= {*EMPTY}, "these panels show nothing"
        (group,) = prometheus.ask("rules")["groups"]
        assert {rule["health"] for rule in group["rules"]} == {"ok"}
        assert [alert["labels"]["alertname"] for alert in prometheus.ask("alerts")["alerts"]] == []
    finally:
        prometheus.stop()
    for agent in (first, second):
        checked = subprocess.run(
            ["promtool", "check", "metrics"], input=agent.get("/metrics"), capture_output=True, check=False
        )
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_the_dashboard_is_one_that_grafana_takes_as_it_is() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    assert (dashboard["id"], "__inputs" in dashboard) == (None, False)
    variables = {it["name"]: it["type"] for it in dashboard["templating"]["list"]}
    assert variables == {"datasource": "datasource", "instance": "query"}
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    assert {panel["datasource"]["uid"] for panel in panels} == {"${datasource}"}
    for title, description, query in queries():
        assert 'instance=~".*"' in query, title
        if title in EMPTY:
            assert re.search("[Ee]mpty", description), title
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard["panels"]]
    assert len(set(places)) == len(places)
