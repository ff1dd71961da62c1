"""The chart, rendered by real helm, and held against Kubernetes' own schemas.

helm is taken from PATH; `artifact-programs` builds it. Without helm these tests are left out, and tests/unit holds
values, schema and templates against each other.
"""

import base64
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import kubernetes_validate
import pytest
import yaml

from mirror.config import load, refuse_misspelt
from mirror.kubernetes.distributions import DISTRIBUTIONS, Distribution

CHART = Path(__file__).parents[2] / "deploy" / "chart" / "skvaller"
NEWEST, OLDEST = "1.37", "1.27"
CUSTOM = ("monitoring.coreos.com/v1", "grafana.integreatly.org/v1beta1", "autoscaling.k8s.io/v1")
"""Groups that Kubernetes itself does not have."""

pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(
        shutil.which("helm") is None, reason="not installed: helm; tests/clients/artifact-programs FOLDER builds it"
    ),
]

Objects = dict[str, Any]


def helm(*arguments: str, values: Mapping[str, Any] | None = None, fails: bool = False) -> str:
    """Run helm with values; returns what it prints, or the error."""
    command = ["helm", *arguments]
    text = json.dumps(values or {})
    if values is not None:
        command += ["--values", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode != 0) is fails, done.stderr
    return done.stderr if fails else done.stdout


def render(values: Mapping[str, Any] | None = None, *more: str, version: str = NEWEST) -> Objects:
    """All objects of a release, by kind and name; names without that of the release."""
    text = helm(
        "template", "mirror", str(CHART), "--namespace", "images", "--kube-version", version, *more, values=values or {}
    )
    found = [each for each in yaml.safe_load_all(text) if each]
    named = {f"{it['kind']}/{it['metadata']['name'].removeprefix('mirror-skvaller').lstrip('-')}": it for it in found}
    assert len(named) == len(found)
    return named


def at(objects: Objects, path: str) -> Any:
    """What stands at a path: `DaemonSet/ spec.template.spec.containers[agent].image`; None if nothing does."""
    name, _, rest = path.partition(" ")
    found: Any = objects.get(name)
    for part in rest.split("."):
        for key in part.replace("]", "").split("["):
            if isinstance(found, list) and not key.isdigit():
                found = next((it for it in found if it.get("name") == key), None)
            elif isinstance(found, list):
                found = found[int(key)] if int(key) < len(found) else None
            elif isinstance(found, dict):
                found = found.get(key)
            else:
                return None
    return found


def agent_toml(objects: Objects, group: str = "") -> str:
    return str(objects[f"ConfigMap/{group}"]["data"]["agent.toml"])


POD = "DaemonSet/ spec.template.spec"
AGENT = f"{POD}.containers[agent]"
CLEANUP = "DaemonSet/cleanup spec.template.spec"
AWAIT = "Job/cleanup spec.template.spec.containers[await]"
DIGEST = "sha256:" + "a" * 64

ROWS: list[tuple[dict[str, Any], str, Any]] = [
    ({"image": {"repository": "reg.example/skvaller", "tag": "2"}}, f"{AGENT}.image", "reg.example/skvaller:2"),
    ({"image": {"pullPolicy": "Always"}}, f"{AGENT}.imagePullPolicy", "Always"),
    ({"imagePullSecrets": [{"name": "pull"}]}, f"{POD}.imagePullSecrets[0].name", "pull"),
    ({"commonLabels": {"team": "edge"}}, "DaemonSet/ metadata.labels.team", "edge"),
    ({"commonLabels": {"team": "edge"}}, "DaemonSet/ spec.template.metadata.labels.team", "edge"),
    ({"commonAnnotations": {"note": "a"}}, "ConfigMap/ metadata.annotations.note", "a"),
    ({"serviceAccount": {"name": "images"}}, f"{POD}.serviceAccountName", "images"),
    ({"serviceAccount": {"annotations": {"role": "r"}}}, "ServiceAccount/images metadata.annotations.role", "r"),
    ({"serviceAccount": {"labels": {"l": "1"}}}, "ServiceAccount/images metadata.labels.l", "1"),
    ({"daemonset": {"annotations": {"d": "1"}}}, "DaemonSet/ metadata.annotations.d", "1"),
    ({"daemonset": {"labels": {"dl": "1"}}}, "DaemonSet/ metadata.labels.dl", "1"),
    ({"pod": {"annotations": {"p": "1"}}}, "DaemonSet/ spec.template.metadata.annotations.p", "1"),
    ({"pod": {"labels": {"pl": "1"}}}, "DaemonSet/ spec.template.metadata.labels.pl", "1"),
    ({"podSecurityContext": {"fsGroup": 5}}, f"{POD}.securityContext.fsGroup", 5),
    ({"securityContext": {"runAsGroup": 7}}, f"{AGENT}.securityContext.runAsGroup", 7),
    ({"resources": {"limits": {"memory": "256Mi"}}}, f"{AGENT}.resources.limits.memory", "256Mi"),
    ({"nodeSelector": {"zone": "a"}}, f"{POD}.nodeSelector.zone", "a"),
    ({"tolerations": [{"key": "k", "operator": "Exists"}]}, f"{POD}.tolerations[0].key", "k"),
    ({"priorityClassName": "own"}, f"{POD}.priorityClassName", "own"),
    ({"resourceQuota": {"enabled": True, "pods": 9}}, "ResourceQuota/ spec.hard.pods", "9"),
    ({"updateStrategy": {"rollingUpdate": {"maxUnavailable": "20%"}}},
     "DaemonSet/ spec.updateStrategy.rollingUpdate.maxUnavailable", "20%"),
    ({"revisionHistoryLimit": 2}, "DaemonSet/ spec.revisionHistoryLimit", 2),
    ({"terminationGracePeriodSeconds": 60}, f"{POD}.terminationGracePeriodSeconds", 60),
    ({"extraEnv": [{"name": "HTTPS_PROXY", "value": "http://p"}]}, f"{AGENT}.env[HTTPS_PROXY].value", "http://p"),
    ({"extraVolumes": [{"name": "ca", "emptyDir": {}}]}, f"{POD}.volumes[ca].emptyDir", {}),
    ({"extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}]}, f"{AGENT}.volumeMounts[ca].mountPath", "/ca"),
    ({"extraInitContainers": [{"name": "first", "image": "i"}]}, f"{POD}.initContainers[first].image", "i"),
    ({"network": {"ports": {"client": 6000}}}, f"{AGENT}.ports[client].containerPort", 6000),
    ({"network": {"ports": {"gossip": 6001}}}, f"{AGENT}.env[SKVALLER_GOSSIP].value", "[$(POD_ADDRESS)]:6001"),
    ({"network": {"ports": {"metrics": 6002}}}, f"{AGENT}.env[SKVALLER_METRICS].value", "[$(POD_ADDRESS)]:6002"),
    ({"network": {"ports": {"peer": 6003}}}, f"{AGENT}.env[SKVALLER_PEER].value", "[$(POD_ADDRESS)]:6003"),
    ({"network": {"ipFamilies": ["IPv6"]}}, "Service/gossip spec.ipFamilies", ["IPv6"]),
    ({"network": {"ipFamilyPolicy": "SingleStack"}}, "Service/gossip spec.ipFamilyPolicy", "SingleStack"),
    ({"persistence": {"hostPath": "/data/skvaller"}}, f"{POD}.volumes[data].hostPath.path", "/data/skvaller"),
    ({"containerd": {"socket": "/run/c/c.sock"}}, f"{POD}.volumes[socket].hostPath.path", "/run/c"),
    ({"containerd": {"contentPath": "/data/content"}}, f"{POD}.volumes[content].hostPath.path", "/data/content"),
    ({"livenessProbe": {"periodSeconds": 33}}, f"{AGENT}.livenessProbe.periodSeconds", 33),
    ({"readinessProbe": {"failureThreshold": 9}}, f"{AGENT}.readinessProbe.failureThreshold", 9),
    ({"startupProbe": {"failureThreshold": 90}}, f"{AGENT}.startupProbe.failureThreshold", 90),
    ({"service": {"gossip": {"annotations": {"s": "1"}}}}, "Service/gossip metadata.annotations.s", "1"),
    ({"service": {"metrics": {"annotations": {"m": "1"}}}}, "Service/metrics metadata.annotations.m", "1"),
    ({"networkPolicy": {"enabled": True}}, "NetworkPolicy/ spec.policyTypes", ["Ingress"]),
    ({"networkPolicy": {"metricsFrom": [{"podSelector": {}}]}},
     "NetworkPolicy/ spec.ingress[2].from[0].podSelector", {}),
    ({"serviceMonitor": {"enabled": True, "interval": "15s"}}, "ServiceMonitor/ spec.endpoints[0].interval", "15s"),
    ({"serviceMonitor": {"scrapeTimeout": "5s"}}, "ServiceMonitor/ spec.endpoints[0].scrapeTimeout", "5s"),
    ({"serviceMonitor": {"labels": {"release": "prom"}}}, "ServiceMonitor/ metadata.labels.release", "prom"),
    ({"serviceMonitor": {"relabelings": [{"action": "drop"}]}},
     "ServiceMonitor/ spec.endpoints[0].relabelings[0].action", "drop"),
    ({"serviceMonitor": {"metricRelabelings": [{"action": "keep"}]}},
     "ServiceMonitor/ spec.endpoints[0].metricRelabelings[0].action", "keep"),
    ({"prometheusRule": {"enabled": True}}, "PrometheusRule/ spec.groups[0].name", "skvaller"),
    ({"prometheusRule": {"labels": {"release": "prom"}}}, "PrometheusRule/ metadata.labels.release", "prom"),
    ({"prometheusRule": {"additionalGroups": [{"name": "more", "rules": []}]}},
     "PrometheusRule/ spec.groups[more].rules", []),
    ({"grafanaDashboard": {"enabled": True}}, "ConfigMap/dashboard metadata.labels.grafana_dashboard", "1"),
    ({"verticalPodAutoscaler": {"enabled": True, "updateMode": "Auto"}},
     "VerticalPodAutoscaler/ spec.updatePolicy.updateMode", "Auto"),
    ({"verticalPodAutoscaler": {"minAllowed": {"memory": "64Mi"}}},
     "VerticalPodAutoscaler/ spec.resourcePolicy.containerPolicies[0].minAllowed.memory", "64Mi"),
    ({"verticalPodAutoscaler": {"maxAllowed": {"memory": "1Gi"}}},
     "VerticalPodAutoscaler/ spec.resourcePolicy.containerPolicies[0].maxAllowed.memory", "1Gi"),
    ({"configureResources": {"limits": {"memory": "99Mi"}}}, f"{AWAIT}.resources.limits.memory", "99Mi"),
    ({"containerd": {"cleanup": {"timeoutSeconds": 77}}}, f"{AWAIT}.args[2]", "--timeout=77"),
    ({"containerd": {"cleanup": {"deleteData": True}}}, f"{CLEANUP}.initContainers[delete-data].args[2]",
     "/var/lib/skvaller"),
]  # fmt: skip
"""Values, where they show, and what stands there. All are set in one release, so they must not exclude each other."""

SETTINGS: list[tuple[dict[str, Any], str]] = [
    ({"agent": {"gossipProfile": "wan"}}, 'gossip-profile = "wan"'),
    ({"agent": {"cluster": "edge"}}, 'cluster = "edge"'),
    ({"agent": {"logLevel": "debug"}}, 'log-level = "debug"'),
    ({"agent": {"logFormat": "logfmt"}}, 'log-format = "logfmt"'),
    ({"agent": {"cacheSize": "5GiB"}}, 'cache-size = "5GiB"'),
    ({"agent": {"home": "always"}}, 'home = "always"'),
    ({"agent": {"push": "local"}}, 'push = "local"'),
    ({"agent": {"tags": "verify"}}, 'tags = "verify"'),
    ({"agent": {"offline": ["quay.io"]}}, 'offline = ["quay.io"]'),
    ({"agent": {"pins": ["docker.io/library/nginx:1.27=3"]}}, 'pin = ["docker.io/library/nginx:1.27=3"]'),
    ({"agent": {"registryFilters": ["*/*:latest"]}}, 'leave-out = ["*/*:latest"'),
    ({"agent": {"settings": {"denied-tags": "serve", "resolve-timeout": "1s"}}}, 'denied-tags = "serve"'),
    ({"agent": {"registries": [{"name": "docker.io", "url": ["http://10.0.0.5:5000"], "offline": False}]}},
     '[[registry]]\nname = "docker.io"\noffline = false\nurl = ["http://10.0.0.5:5000"]'),
    ({"agent": {"tagPolicies": [{"pattern": ["ghcr.io/*:latest"], "fresh-for": "5m", "upstream-wins": True}]}},
     '[[tag]]\nfresh-for = "5m"\npattern = ["ghcr.io/*:latest"]\nupstream-wins = true'),
    ({"agent": {"private": [{"pattern": ["ghcr.io/secret/*"], "policy": "checked"}]}},
     '[[private]]\npattern = ["ghcr.io/secret/*"]\npolicy = "checked"'),
    ({"gossipAllow": ["10.0.0.0/8"]}, 'gossip-allow = ["10.0.0.0/8"]'),
    ({"join": ["10.9.9.9:7946"]}, '.svc.cluster.local.:6001", "10.9.9.9:7946"]'),
    ({"containerd": {"namespace": "other"}}, 'containerd-namespace = "other"'),
    ({"containerd": {"resolveTags": False}}, 'leave-out = ["*/*:latest", "*/*:*"]'),
]  # fmt: skip


def merged(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """All values together."""

    def merge(into: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
        for key, value in more.items():
            both = isinstance(value, dict) and isinstance(into.get(key), dict)
            into[key] = merge(dict(into[key]), value) if both else value
        return into

    whole: dict[str, Any] = {}
    for part in parts:
        whole = merge(whole, part)
    return whole


@pytest.fixture(scope="module")
def usual() -> Objects:
    return render()


@pytest.fixture(scope="module")
def changed() -> Objects:
    """With every value of the tables."""
    return render(
        merged([{"containerd": {"configure": True}}, *(row[0] for row in ROWS), *(row[0] for row in SETTINGS)])
    )


@pytest.mark.parametrize(("values", "path", "expected"), ROWS, ids=[json.dumps(row[0])[:60] for row in ROWS])
def test_a_value_changes_what_it_should(
    usual: Objects, changed: Objects, values: dict[str, Any], path: str, expected: Any
) -> None:
    assert at(usual, path) != expected, f"{path} is so without {values}"
    assert at(changed, path) == expected


@pytest.mark.parametrize(("values", "line"), SETTINGS, ids=[row[1][:40] for row in SETTINGS])
def test_a_value_is_a_setting_of_the_agent(usual: Objects, changed: Objects, values: dict[str, Any], line: str) -> None:
    assert line not in agent_toml(usual), f"{line} is so without {values}"
    assert line in agent_toml(changed)


@pytest.mark.parametrize("objects", ["usual", "changed"])
def test_an_agent_takes_its_settings(objects: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """It reads them as it does in a pod, whose address may be of IPv6."""
    file = tmp_path / "agent.toml"
    file.write_text(agent_toml(request.getfixturevalue(objects)))
    container = at(request.getfixturevalue(objects), AGENT)
    assert container["args"] == ["agent"]
    for address in ("10.0.0.7", "fd00::7"):
        environment = {it["name"]: it.get("value", "").replace("$(POD_ADDRESS)", address) for it in container["env"]}
        environment["SKVALLER_NAME"] = "ip-10-0-0-7.eu-central-1.compute.internal"
        refuse_misspelt(environment)
        config = load({}, environment, file)
        assert (config.peer.host, config.gossip.host, config.metrics and config.metrics.host) == (address,) * 3
        assert config.key_file == Path("/etc/skvaller/key/cluster.key")


def validated(objects: Objects, version: str) -> int:
    """Hold objects against the schemas of a Kubernetes; returns how many were."""
    count = 0
    for each in objects.values():
        if each["apiVersion"] not in CUSTOM:
            kubernetes_validate.validate(each, version, strict=True)
            count += 1
    return count


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_takes_all_objects(usual: Objects, changed: Objects, version: str) -> None:
    assert validated(usual, version) >= 12
    assert validated(changed, version) >= 14


def test_the_chart_passes_helms_own_look() -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART), "--kube-version", NEWEST)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"imagee": {}}, "imagee"),
        ({"agent": {"cachesize": "1GiB"}}, "cachesize"),
        ({"agent": {"cacheSize": "much"}}, "/agent/cacheSize"),
        ({"agent": {"home": "sometimes"}}, "/agent/home"),
        ({"agent": {"settings": {"Denied_Tags": "serve"}}}, "Denied_Tags"),
        ({"network": {"mode": "nodePort"}}, "/network/mode"),
        ({"network": {"ports": {"client": 0}}}, "/network/ports/client"),
        ({"image": {"digest": "sha256:abc"}}, "/image/digest"),
        ({"key": {"rotation": "now"}}, "/key/rotation"),
        ({"containerd": {"runtime": "crio"}}, "/containerd/runtime"),
        ({"nodeGroups": {"edge": {"settings": {"home": "never"}}}}, "/nodeGroups/edge"),
        ({"nodeGroups": {"key": {"label": {"key": "a", "value": "b"}}}}, "invalid propertyName 'key'"),
        ({"upstreamCredentials": {"registries": {"ghcr.io": {"username": "bot"}}}}, "ghcr.io"),
        ({"terminationGracePeriodSeconds": 5}, "/terminationGracePeriodSeconds"),
        ({"agent": {"registries": [{"name": "docker.io", "url": ["https://u:p@a"]}]}}, "/agent/registries/0/url/0"),
        ({"agent": {"settings": {"upstream": ["a=https://u:p@b"]}}}, "/agent/settings/upstream/0"),
        ({"containerd": {"additionalMirrorTargets": ["http://u:p@10.0.0.5"]}}, "/containerd/additionalMirrorTargets/0"),
        ({"persistence": {"hostPath": "/etc"}}, "/persistence/hostPath"),
        ({"persistence": {"hostPath": "/var/lib/../../etc"}}, "/persistence/hostPath"),
    ],
    ids=lambda row: row if isinstance(row, str) else None,
)  # fmt: skip
def test_wrong_values_are_refused_by_name(values: dict[str, Any], named: str) -> None:
    said = helm("template", "mirror", str(CHART), "--kube-version", NEWEST, values=values, fails=True)
    assert named in said


# Names, images, networks


def test_image_by_digest_wins_over_its_tag() -> None:
    objects = render({"image": {"digest": DIGEST, "tag": "2"}})
    assert at(objects, f"{AGENT}.image") == f"skvaller@{DIGEST}"


def test_names_and_namespace_can_be_chosen() -> None:
    values = {"fullnameOverride": "imgs", "namespaceOverride": "elsewhere", "nameOverride": "mirror"}
    objects = render({**values, "network": {"clusterDomain": "edge.local"}})
    assert at(objects, "DaemonSet/imgs metadata.namespace") == "elsewhere"
    assert 'join = ["imgs-gossip.elsewhere.svc.edge.local.:7956"]' in agent_toml(objects, "imgs")
    assert at(objects, "DaemonSet/imgs spec.selector.matchLabels")["app.kubernetes.io/name"] == "mirror"


def test_names_fit_what_kubernetes_allows() -> None:
    objects = render({"nameOverride": "a" * 63, "nodeGroups": {"b" * 20: {"label": {"key": "k", "value": "v"}}}})
    assert all(len(it["metadata"]["name"]) <= 63 for it in objects.values())


def test_pods_in_the_hosts_network_ask_the_clusters_name_server_and_listen_to_their_node_alone(usual: Objects) -> None:
    pod = at(usual, POD)
    assert (pod["hostNetwork"], pod["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")
    assert 'listen = ["127.0.0.1:5000"]' in agent_toml(usual)


@pytest.mark.parametrize(
    ("ip", "asked"),
    [
        ("127.0.0.1", "http://127.0.0.1:5000"),
        ("", "http://[$(HOST_ADDRESS)]:5000"),
        ("fd00::1", "http://[fd00::1]:5000"),
    ],
)
def test_pods_with_an_address_of_their_own_are_reached_by_a_port_of_the_node(ip: str, asked: str) -> None:
    values = {"network": {"mode": "hostPort", "hostIP": ip}}
    objects = render(values)
    assert "hostNetwork" not in at(objects, POD)
    client = at(objects, f"{AGENT}.ports[client]")
    assert (client["hostPort"], client.get("hostIP", "")) == (5000, ip)
    assert "listen =" not in agent_toml(objects)
    listens = {each["name"]: each.get("value") for each in at(objects, f"{AGENT}.env")}["SKVALLER_LISTEN"]
    assert listens == "127.0.0.1:5000,[$(POD_ADDRESS)]:5000"
    assert all("hostPort" not in port for port in at(objects, f"{AGENT}.ports") if port["name"] != "client")
    assert any(asked in argument for argument in at(objects, f"{POD}.initContainers[configure].args"))
    assert validated(objects, NEWEST)


def test_headless_service_names_all_pods_ready_or_not(usual: Objects) -> None:
    service = at(usual, "Service/gossip spec")
    assert (service["clusterIP"], service["publishNotReadyAddresses"]) == ("None", True)
    labels = at(usual, "DaemonSet/ spec.template.metadata.labels")
    assert service["selector"].items() <= labels.items()


def test_agents_have_no_rights_and_no_token(usual: Objects) -> None:
    assert at(usual, f"{POD}.automountServiceAccountToken") is False
    for name, each in usual.items():
        if each["kind"] in ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"):
            assert each["metadata"]["annotations"]["helm.sh/hook"] == "post-delete", name
    assert at(usual, "RoleBinding/cleanup subjects[0].name") == "mirror-skvaller-cleanup"


def test_what_is_on_a_node_is_not_kept_where_nobody_wants_it() -> None:
    objects = render({"persistence": {"enabled": False}, "containerd": {"share": False}})
    assert at(objects, f"{POD}.volumes[data]") == {"name": "data", "emptyDir": {}}
    assert at(objects, f"{POD}.volumes[socket]") is None
    assert "containerd" not in agent_toml(objects)


def test_containerd_is_told_before_the_agent_starts_and_looked_after_while_it_runs(usual: Objects) -> None:
    configure = at(usual, f"{POD}.initContainers[configure]")
    assert configure["args"] == [
        "configure", "containerd", "--root=/host", "--agent=http://127.0.0.1:5000", "--restart",
    ]  # fmt: skip
    assert 'repair = "/host"' in agent_toml(usual)
    for container in (configure, at(usual, AGENT)):
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        assert mounts["/host"]["readOnly"] is True
        assert not mounts["/host/etc/containerd"].get("readOnly")
    assert at(usual, f"{AGENT}.securityContext.capabilities") == {"drop": ["ALL"]}


def test_containerd_is_written_no_more_than_values_say() -> None:
    told = {"mirroredRegistries": ["docker.io", "ghcr.io"], "additionalMirrorTargets": ["http://10.0.0.5:5000"]}
    objects = render({"containerd": {**told, "registryConfigPath": "/srv/certs.d", "restart": False, "watch": False}})
    configure = at(objects, f"{POD}.initContainers[configure]")
    assert configure["args"][-3:] == ["--registry=docker.io", "--registry=ghcr.io", "--then=http://10.0.0.5:5000"]
    assert configure["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert [it["mountPath"] for it in configure["volumeMounts"] if it["name"] == "registries"] == ["/host/srv/certs.d"]
    assert at(objects, f"{AGENT}.volumeMounts[host]") is None
    assert "repair" not in agent_toml(objects)
    silent = render({"containerd": {"configure": False}})
    assert "initContainers" not in at(silent, POD)
    assert at(silent, f"{POD}.volumes[host]") is None


def test_what_was_written_on_a_node_is_remembered_there_even_if_nothing_else_is() -> None:
    objects = render({"persistence": {"enabled": False, "hostPath": "/data/s"}})
    cleanup = at(objects, f"{CLEANUP}.initContainers[unconfigure]")
    for container in (at(objects, AGENT), at(objects, f"{POD}.initContainers[configure]"), cleanup):
        assert at({"x": container}, "x volumeMounts[configured].mountPath") == "/var/lib/skvaller/configured"
    for pod in (POD, CLEANUP):
        assert at(objects, f"{pod}.volumes[configured].hostPath.path") == "/data/s/configured"
    validated(objects, NEWEST)


@pytest.mark.parametrize(
    ("runtime", "socket", "content"),
    [
        ("k3s", "/run/k3s/containerd", "/var/lib/rancher/k3s/agent/containerd/io.containerd.content.v1.content"),
        ("rke2", "/run/k3s/containerd", "/var/lib/rancher/rke2/agent/containerd/io.containerd.content.v1.content"),
        (
            "microk8s",
            "/var/snap/microk8s/common/run",
            "/var/snap/microk8s/common/var/lib/containerd/io.containerd.content.v1.content",
        ),
        ("k0s", "/run/k0s", "/var/lib/k0s/containerd/io.containerd.content.v1.content"),
    ],
)
def test_other_runtimes_have_their_own_places(runtime: str, socket: str, content: str) -> None:
    objects = render({"containerd": {"runtime": runtime}})
    assert at(objects, f"{POD}.volumes[socket].hostPath.path") == socket
    assert at(objects, f"{POD}.volumes[content].hostPath.path") == content


@pytest.mark.parametrize("row", DISTRIBUTIONS, ids=lambda row: row.name)
def test_values_for_a_distribution_make_objects_that_kubernetes_takes(row: Distribution) -> None:
    objects = render(yaml.safe_load(row.shown_values(6000)))
    assert validated(objects, NEWEST)
    assert 'listen = ["127.0.0.1:6000"]' in agent_toml(objects)
    is_told_by_chart = row.machine is None or not row.machine.is_needed
    assert (at(objects, f"{POD}.initContainers[configure]") is not None) is is_told_by_chart


# Groups of nodes


def test_a_label_of_nodes_gives_their_agents_other_settings() -> None:
    groups = {
        "never-home": {"label": {"key": "skvaller/home", "value": "never"}, "settings": {"home": "never"}},
        "small": {"label": {"key": "disk", "value": "small"}, "settings": {"cache-size": "0"}},
    }
    own = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {"matchFields": []},
    ]}}}  # fmt: skip
    objects = render({"nodeGroups": groups, "affinity": own, "verticalPodAutoscaler": {"enabled": True}})
    assert 'home = "never"' in agent_toml(objects, "never-home")
    assert 'home = "auto"' in agent_toml(objects)
    assert 'cache-size = "0"' in agent_toml(objects, "small")
    others = [
        {"key": "skvaller/home", "operator": "NotIn", "values": ["never"]},
        {"key": "disk", "operator": "NotIn", "values": ["small"]},
    ]

    def terms(group: str) -> Any:
        affinity = at(objects, f"DaemonSet/{group} spec.template.spec.affinity.nodeAffinity")
        return affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]

    first = {"key": "a", "operator": "Exists"}
    assert terms("")[0]["matchExpressions"] == [first, *others]
    assert terms("")[1] == {"matchFields": [], "matchExpressions": others}
    assert terms("never-home")[0]["matchExpressions"] == [first]
    assert terms("small")[0]["matchExpressions"] == [first, others[0]]
    assert at(objects, "DaemonSet/never-home spec.template.spec.nodeSelector")["skvaller/home"] == "never"
    selectors = [json.dumps(at(objects, f"DaemonSet/{name} spec.selector")) for name in ("", "never-home", "small")]
    assert len(set(selectors)) == 3
    assert at(objects, "VerticalPodAutoscaler/small spec.targetRef.name") == "mirror-skvaller-small"
    assert at(objects, "DaemonSet/never-home spec.template.spec.volumes[settings].configMap.name").endswith(
        "-never-home"
    )
    validated(objects, NEWEST)


def test_changed_settings_roll_the_pods_they_are_for() -> None:
    groups = {"edge": {"label": {"key": "k", "value": "v"}, "settings": {"home": "never"}}}
    other = merged([groups, {"edge": {"settings": {"cache-size": "0"}}}])
    before, after = render({"nodeGroups": groups}), render({"nodeGroups": other})

    def mark(objects: Objects, name: str) -> Any:
        return objects[name]["spec"]["template"]["metadata"]["annotations"]["skvaller/settings"]

    assert mark(before, "DaemonSet/") == mark(after, "DaemonSet/")
    assert mark(before, "DaemonSet/edge") != mark(after, "DaemonSet/edge")


# Secrets


def test_passwords_become_a_secret_that_the_agent_alone_reads() -> None:
    logins = {"docker.io": {"username": "bot", "password": "s3cret"}, "ghcr.io": {"username": "b", "password": "p:w"}}
    objects = render({"upstreamCredentials": {"registries": logins}})
    secret = objects["Secret/upstream"]
    auths = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))["auths"]
    assert base64.b64decode(auths["https://index.docker.io/v1/"]["auth"]) == b"bot:s3cret"
    assert base64.b64decode(auths["ghcr.io"]["auth"]) == b"b:p:w"
    volume = at(objects, f"{POD}.volumes[upstream].secret")
    assert (volume["secretName"], volume["defaultMode"]) == ("mirror-skvaller-upstream", 0o400)
    assert 'upstream-auth = "/etc/skvaller/upstream/config.json"' in agent_toml(objects)
    assert "s3cret" not in json.dumps([each for each in objects.values() if each["kind"] != "Secret"])
    theirs = render({"upstreamCredentials": {"existingSecret": "logins"}})
    assert "Secret/upstream" not in theirs
    assert at(theirs, f"{POD}.volumes[upstream].secret.secretName") == "logins"


def keys_of(objects: Objects) -> list[str]:
    return base64.b64decode(objects["Secret/key"]["data"]["cluster.key"]).decode().splitlines()


def test_key_is_random_and_has_32_bytes_unless_there_is_one(usual: Objects, changed: Objects) -> None:
    (one,), (other,) = keys_of(usual), keys_of(changed)
    assert len(base64.b64decode(one)) == len(base64.b64decode(other)) == 32
    assert one != other
    theirs = render({"key": {"existingSecret": "own"}})
    assert "Secret/key" not in theirs
    assert at(theirs, f"{POD}.volumes[key].secret.secretName") == "own"


class ApiServer(BaseHTTPRequestHandler):
    """As much of an API server as helm asks when it looks a secret up."""

    secret: ClassVar[Any] = None

    def do_GET(self) -> None:
        answers: dict[str, Any] = {
            "/version": {"major": "1", "minor": "34", "gitVersion": "v1.34.0"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
            "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": [
                {"name": "secrets", "singularName": "", "namespaced": True, "kind": "Secret", "verbs": ["get"]},
            ]},
        }  # fmt: skip
        found = answers.get(self.path.partition("?")[0])
        if self.path.startswith("/api/v1/namespaces/images/secrets/mirror-skvaller-key"):
            found = self.secret
        missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
        body = json.dumps(found or missing).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def api_server() -> Iterator[str]:
    """Where it is; it has no secret."""
    ApiServer.secret = None
    with ThreadingHTTPServer(("127.0.0.1", 0), ApiServer) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def upgraded(url: str, rotation: str = "") -> list[str]:
    """Install or upgrade: the keys that the secret has then."""
    text = helm(
        "template", "mirror", str(CHART), "--namespace", "images", "--dry-run=server", "--kube-apiserver", url,
        "--kube-version", NEWEST, values={"key": {"rotation": rotation}},
    )  # fmt: skip
    objects = {f"{it['kind']}/{it['metadata']['name']}": it for it in yaml.safe_load_all(text) if it}
    ApiServer.secret = objects["Secret/mirror-skvaller-key"]
    pod = objects["DaemonSet/mirror-skvaller"]["spec"]["template"]
    step = ApiServer.secret["metadata"]["annotations"]["skvaller/key-rotation"]
    assert pod["metadata"]["annotations"]["skvaller/key-rotation"] == step
    return base64.b64decode(ApiServer.secret["data"]["cluster.key"]).decode().splitlines()


def test_key_is_kept_at_upgrade_and_changed_in_three_steps(api_server: str) -> None:
    (old,) = upgraded(api_server)
    assert upgraded(api_server) == [old]
    first, new = upgraded(api_server, "install")
    assert first == old
    assert upgraded(api_server, "install") == upgraded(api_server) == [old, new]
    assert upgraded(api_server, "use") == upgraded(api_server) == [new, old]
    assert upgraded(api_server, "remove") == upgraded(api_server) == [new]
    kept, newer = upgraded(api_server, "install")
    assert (kept, newer in (old, new)) == (new, False)


@pytest.mark.parametrize(("done", "step"), [([], "install"), ([""], "use"), (["", "install"], "remove")])
def test_steps_of_a_new_key_are_taken_in_order(api_server: str, done: list[str], step: str) -> None:
    for each in done:
        upgraded(api_server, each)
    said = helm(
        "template", "mirror", str(CHART), "--namespace", "images", "--dry-run=server", "--kube-apiserver", api_server,
        "--kube-version", NEWEST, values={"key": {"rotation": step}}, fails=True,
    )  # fmt: skip
    assert "key.rotation:" in said


# Uninstall


def test_uninstall_undoes_each_node_after_its_agent_has_ended(usual: Objects) -> None:
    pod = at(usual, "DaemonSet/cleanup spec.template.spec")
    agent = at(usual, POD)
    for where in ("nodeSelector", "tolerations"):
        assert pod[where] == agent[where]
    taken = {(port["hostPort"], port["protocol"]) for port in at(usual, f"{AGENT}.ports") if "hostPort" in port}
    assert {(port["hostPort"], "TCP") for port in pod["containers"][0]["ports"]} & taken
    weights = {
        each["kind"]: int(each["metadata"]["annotations"].get("helm.sh/hook-weight", 0))
        for each in usual.values()
        if (each["metadata"].get("annotations") or {}).get("helm.sh/hook") == "post-delete"
    }
    assert weights["Role"] == weights["ServiceAccount"] < weights["DaemonSet"] < weights["Job"]
    job = at(usual, "Job/cleanup spec.template.spec")
    assert job["containers"][0]["args"][:2] == ["kubernetes", "await-cleanup"]
    assert job["containers"][0]["args"][-1] == at(usual, "DaemonSet/cleanup metadata.name")
    label = at(usual, "DaemonSet/cleanup spec.template.metadata.labels")
    assert label["skvaller/cleanup"] == at(usual, "DaemonSet/cleanup metadata.name")


def test_nothing_is_undone_where_nothing_is_written() -> None:
    for values in ({"containerd": {"configure": False}}, {"containerd": {"cleanup": {"enabled": False}}}):
        assert not [name for name in render(values) if name.endswith("/cleanup")]


def test_what_agents_keep_is_deleted_also_where_nothing_is_written() -> None:
    objects = render({"containerd": {"configure": False, "cleanup": {"deleteData": True}}})
    pod = at(objects, CLEANUP)
    (container,) = pod["initContainers"]
    assert container["args"] == ["kubernetes", "empty", "/var/lib/skvaller"]
    assert {each["name"] for each in container["volumeMounts"]} == {"data"}
    assert {each["name"] for each in pod["volumes"]} == {"data", "tmp"}


# Dashboards


def test_alerts_are_those_of_who_has_no_operator() -> None:
    groups = yaml.safe_load((CHART.parents[1] / "prometheus" / "alerts.yml").read_text())["groups"]
    assert render({"prometheusRule": {"enabled": True}})["PrometheusRule/"]["spec"] == {"groups": groups}


@pytest.mark.parametrize("mode", ["ConfigMap", "Operator"])
def test_dashboard_is_what_grafana_reads(mode: str) -> None:
    values = {"enabled": True, "mode": mode, "operator": {"folder": "Edge", "matchLabels": {"dashboards": "grafana"}}}
    objects = render({"grafanaDashboard": values})
    if mode == "ConfigMap":
        text = objects["ConfigMap/dashboard"]["data"]["skvaller.json"]
    else:
        spec = objects["GrafanaDashboard/"]["spec"]
        assert (spec["folder"], spec["instanceSelector"]["matchLabels"]) == ("Edge", {"dashboards": "grafana"})
        text = spec["json"]
    assert json.loads(text) == json.loads((CHART.parents[1] / "grafana" / "skvaller.json").read_text())
