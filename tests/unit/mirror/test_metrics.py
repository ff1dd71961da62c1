"""What Prometheus is told: names and labels as its linter wants them, series from the start, true documents."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from mirror import __version__
from mirror.errors import Reason
from mirror.metrics import Metrics
from mirror.routers.dht.router import Figures as DhtFigures
from mirror.routers.swim import Figures

ROOT = Path(__file__).parents[3]
FIGURES = Figures(
    datagrams={"sent": 1, "received": 2},
    bytes={"sent": 3, "received": 4},
    rejected={"key": 0},
    events={"MemberJoined": 5, "Refuted": 6},
    errors={"key_file": 0},
    streams=7,
    stalls=8,
    health=0,
    waiting=1,
    candidates=2,
    blanks=3,
    is_alone=True,
    lag_s={0.5: 0.001, 0.99: 0.01, 1.0: 0.1},
)
DHT_FIGURES = DhtFigures(
    lookups={"local": 1, "found": 2, "missing": 0, "late": 0, "refused": 0},
    lookup_seconds={0.01: 2, 1.0: 1, float("inf"): 0},
    lookup_seconds_sum=0.5,
    queries={"get_providers": 4, "add_provider": 5},
    told={"taken": 6, "failed": 0, "over_bound": 0},
    peers=7,
    records=8,
    waiting=9,
)
UNITS = ("seconds", "bytes", "info")
BAD_UNITS = re.compile(r"_(ms|milliseconds?|minutes?|hours?|kilobytes?|megabytes?|mib|kib|percent)(_|$)")


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics({"docker.io", "ghcr.io", "lab:5000"}, ["docker.io", "lab:5000"])
    metrics.watch_gossip(lambda: FIGURES)
    metrics.watch_dht(lambda: DHT_FIGURES)
    metrics.show_budgets({"docker.io": (90, 100, 0.0)})
    return metrics


def exposed(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_names_and_labels_follow_the_conventions(metrics: Metrics) -> None:
    families = list(text_string_to_metric_families(exposed(metrics)))
    assert len(families) > 30
    for family in families:
        assert family.documentation.strip()
        assert family.name.startswith(("skvaller_", "process_"))
        assert re.fullmatch("[a-z][a-z0-9_]*", family.name)
        assert not BAD_UNITS.search(family.name)
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter"), sample.name
            assert not sample.name.endswith("_created")
            for label, text in sample.labels.items():
                assert re.fullmatch("[a-z_]+", label)
                assert label != "quantile" or family.type == "summary"
                assert label != "le" or family.type == "histogram"
                if label not in ("le", "registry", "version", "python"):
                    assert re.fullmatch("[a-z0-9_]+", text), text


@pytest.mark.skipif(shutil.which("promtool") is None, reason="not installed: promtool")
def test_prometheus_own_linter_finds_nothing(metrics: Metrics, tmp_path: Path) -> None:
    found = subprocess.run(
        ["promtool", "check", "metrics"], input=exposed(metrics), capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    whole = tmp_path / "prometheus.yml"
    job = (ROOT / "deploy/prometheus/scrape.yml").read_text()
    whole.write_text(f"rule_files: [{ROOT}/deploy/prometheus/alerts.yml]\nscrape_configs:\n{job}")
    for command in (["check", "config"], ["check", "rules", f"{ROOT}/deploy/prometheus/alerts.yml"]):
        target = [str(whole)] if command == ["check", "config"] else []
        checked = subprocess.run(["promtool", *command, *target], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_counters_are_there_before_anything_happens(metrics: Metrics) -> None:
    text = exposed(metrics)
    for line in (
        'skvaller_requests_total{endpoint="client",kind="manifests",outcome="missing"} 0.0',
        'skvaller_requests_total{endpoint="peer",kind="blobs",outcome="relayed"} 0.0',
        'skvaller_served_bytes_total{endpoint="client"} 0.0',
        'skvaller_received_bytes_total{source="upstream"} 0.0',
        'skvaller_fetches_total{outcome="failed"} 0.0',
        'skvaller_source_failures_total{reason="rate_limited",source="upstream"} 0.0',
        'skvaller_upstream_answers_total{code="429",registry="docker.io"} 0.0',
        'skvaller_upstream_failures_total{reason="auth",registry="lab:5000"} 0.0',
        'skvaller_damaged_blobs_total{store="containerd"} 0.0',
        'skvaller_connections_refused_total{kind="stranger"} 0.0',
        "skvaller_cache_evictions_total 0.0",
    ):
        assert line in text
    assert f'version="{__version__}"' in text


def test_a_registry_is_a_label_only_if_the_agent_may_contact_it(metrics: Metrics) -> None:
    metrics.upstream_answered("ghcr.io", 429)
    for number in range(50):
        metrics.upstream_answered(f"{number}.example", 200 + number)
        metrics.upstream_failed(f"{number}.example", Reason.FORBIDDEN)
    metrics.upstream_answered("docker.io", 9999)
    assert value(metrics, "skvaller_upstream_answers_total", registry="ghcr.io", code="429") == 1
    assert value(metrics, "skvaller_upstream_answers_total", registry="docker.io", code="other") == 1
    assert value(metrics, "skvaller_upstream_failures_total", registry="other", reason="forbidden") == 50
    assert "example" not in exposed(metrics)


def test_waits_for_lookups_are_cumulated(metrics: Metrics) -> None:
    buckets = {le: value(metrics, "skvaller_dht_lookup_seconds_bucket", le=le) for le in ("0.01", "1.0", "+Inf")}
    assert buckets == {"0.01": 2, "1.0": 3, "+Inf": 3}
    assert value(metrics, "skvaller_dht_lookup_seconds_sum") == 0.5


def test_documents_name_the_metrics_that_there_are(metrics: Metrics) -> None:
    families = {
        family.name + ("_total" if family.type == "counter" else ""): family.type
        for family in text_string_to_metric_families(exposed(metrics))
        if family.name.startswith("skvaller_")
    }
    rows = (ROOT / "docs/metrics.md").read_text().splitlines()
    told = {
        name: row.split("|")[2].strip()
        for row in rows
        if row.startswith("| `skvaller_")
        for name in re.findall(r"`(skvaller_\w+)`", row.split("|")[1])
    }
    assert told == families
    text = exposed(metrics)
    alerts = (ROOT / "deploy/prometheus/alerts.yml").read_text()
    for name, selected in re.findall(r"(skvaller_\w+)(?:\{([^}]*)\})?", alerts):
        assert f"\n{name}{{" in text or f"\n{name} " in text, name
        for label, alternatives in re.findall(r'(\w+)=~?"([^"]*)"', selected):
            for text_of_label in alternatives.split("|"):
                pattern = rf'^{name}{{[^}}]*{label}="{text_of_label}"'
                assert re.search(pattern, text, re.MULTILINE) or label in ("reason",), (name, label, text_of_label)
