"""Distributions of Kubernetes: what each lets its containerd be told, and who tells it. A table, a row for each.

Most let a pod write containerd's configuration, so the chart does all. Where the machine's files are read-only or made
anew at each start, the machine's own configuration names the agent, and the chart leaves them alone.
"""

import enum
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from ..errors import ConfigError

USUAL_PORT: Final = 5000
"""Of an agent's client endpoint, in the chart's values as well."""
_HOSTS_MAX: Final = 25
"""Registries that GKE lets a runtime configuration name. Source: its reference, ContainerdConfig.registryHosts."""

Write = Callable[[str, Sequence[str]], str]
"""Makes a machine's configuration from the agent's URL and the registries that are known."""


class Basis(enum.StrEnum):
    """What a row rests on."""

    RUN = "run"
    """The same containerd, with the same settings, has run in the project's tests."""
    DERIVED = "documents"
    """Nobody has run it: it follows from the distribution's documents and sources."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A configuration of machines.

    Args:
        where: what it is to the distribution, and how it gets there.
        write: makes its text.
        is_needed: whether no node asks the agent without it; else it only saves something.
    """

    where: str
    write: Write
    is_needed: bool


@dataclass(frozen=True, slots=True)
class Distribution:
    """One distribution.

    Args:
        name: on the command line.
        title: as people write it.
        allows: what its containerd has and lets be changed.
        basis: whether that was run.
        source: where its documents say so.
        values: of the chart, beside the usual ones.
        keeps_layers: whether its containerd keeps layers that it has unpacked. If not, it shares what is in the agent's
            cache, which is all that was pulled through the agent.
        machine: what machines have to be told, if something.
        first: a command to run before the chart is installed.
    """

    name: str
    title: str
    allows: str
    basis: Basis
    source: str
    values: Mapping[str, Any] = field(default_factory=dict)
    keeps_layers: bool = True
    machine: Machine | None = None
    first: str = ""

    def shown_values(self, port: int = USUAL_PORT) -> str:
        """The values file, which says what it is for.

        Args:
            port: of the client endpoint.
        """
        values: dict[str, Any] = {key: dict(value) for key, value in self.values.items()}
        if port != USUAL_PORT:
            values["network"] = {**values.get("network", {}), "ports": {"client": port}}
        lines = [f"# Skvaller's chart on {self.title}.", *_comment(self.allows)]
        if not self.keeps_layers:
            lines += _comment("It discards layers once they are unpacked: a node shares what is in its agent's cache.")
        if self.machine is not None and self.machine.is_needed:
            lines += _comment("Its machines have to name the agent; this prints what they need:")
            lines.append(f"#   skvaller configure kubernetes --distribution {self.name} --machine")
        body = yaml.safe_dump(values, sort_keys=False) if values else "{}\n"
        return "\n".join([*lines, body])

    def shown_machine(self, registries: Sequence[str], port: int = USUAL_PORT) -> str:
        """The machines' configuration.

        Args:
            registries: that the agent serves; for formats that have no word for all of them.
            port: of the client endpoint.

        Raises:
            ConfigError: this distribution needs none.
        """
        if self.machine is None:
            raise ConfigError(f"--machine: {self.title} needs none; the chart writes what is to be written")
        return "\n".join([*_comment(self.machine.where), self.machine.write(f"http://127.0.0.1:{port}", registries)])


def distribution(name: str) -> Distribution:
    """The row of a name; raise ConfigError if there is none."""
    found = next((it for it in DISTRIBUTIONS if it.name == name), None)
    if found is None:
        raise ConfigError(f"--distribution: there is no {name}; there are {', '.join(it.name for it in DISTRIBUTIONS)}")
    return found


def _comment(text: str) -> list[str]:
    """Text as lines of comment, in YAML and TOML alike."""
    lines, line = [], "#"
    for word in text.split():
        if len(line) + len(word) > 118:
            lines.append(line)
            line = "#"
        line += f" {word}"
    return [*lines, line]


def _talos(url: str, registries: Sequence[str]) -> str:
    return f"""\
apiVersion: v1alpha1
kind: RegistryMirrorConfig
name: "*"
endpoints:
  - url: {url}
"""


def _bottlerocket(url: str, registries: Sequence[str]) -> str:
    return f"""\
[[settings.container-registry.mirrors]]
registry = "*"
endpoint = [{json.dumps(url)}]
"""


def _gke(url: str, registries: Sequence[str]) -> str:
    blocks = [
        f"""\
  - server: {registry}
    hosts:
      - host: {url}
        capabilities: [HOST_CAPABILITY_PULL, HOST_CAPABILITY_RESOLVE]
"""
        for registry in registries[:_HOSTS_MAX]
    ]
    return "registryHosts:\n" + "".join(blocks)


def _nodeadm(url: str, registries: Sequence[str]) -> str:
    return """\
apiVersion: node.eks.aws/v1alpha1
kind: NodeConfig
spec:
  containerd:
    config: |
      [plugins."io.containerd.cri.v1.images"]
      discard_unpacked_layers = false
"""


def _kind(url: str, registries: Sequence[str]) -> str:
    return """\
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
containerdConfigPatches:
  - |-
    [plugins."io.containerd.cri.v1.images"]
      discard_unpacked_layers = false
"""


_PRIVILEGED: Final = (
    "kubectl create namespace skvaller && "
    "kubectl label namespace skvaller pod-security.kubernetes.io/enforce=privileged"
)
_LEFT_ALONE: Final = {"containerd": {"configure": False}}
_WRITES: Final = "The chart writes hosts.toml, and containerd reads it at the next pull."
_SAVES: Final = (
    "Not needed. With it containerd keeps its layers, and the agent shares these instead of a copy in its cache:"
)

DISTRIBUTIONS: Final[tuple[Distribution, ...]] = (
    Distribution(
        "aks", "AKS", f"Its containerd has config_path = /etc/containerd/certs.d, and keeps layers. {_WRITES}",
        Basis.DERIVED, "github.com/Azure/AgentBaker, containerd.toml.gtpl",
    ),
    Distribution(
        "minikube", "Minikube",
        "Start it with --container-runtime=containerd: with Docker, which is the default, the kubelet's pulls ask no "
        f"mirror but for Docker Hub. Its containerd has config_path = /etc/containerd/certs.d. {_WRITES}",
        Basis.DERIVED, "minikube.sigs.k8s.io/docs/runtimes/containerd",
    ),
    Distribution(
        "eks", "EKS with Amazon Linux 2023",
        "Its containerd has config_path = /etc/containerd/certs.d:/etc/docker/certs.d, and discards layers. "
        f"{_WRITES}",
        Basis.DERIVED, "awslabs.github.io/amazon-eks-ami/nodeadm", keeps_layers=False,
        machine=Machine(f"{_SAVES} user data, a part of the type application/node.eks.aws", _nodeadm, False),
    ),
    Distribution(
        "bottlerocket", "EKS with Bottlerocket",
        "Its /etc cannot be written, and containerd's settings come from the machine's API alone.",
        Basis.DERIVED, "bottlerocket.dev/en/os/latest/api/settings/container-registry", values={
            **_LEFT_ALONE,
            "podSecurityContext": {"seLinuxOptions": {
                "user": "system_u", "role": "system_r", "type": "super_t", "level": "s0",
            }},
        }, keeps_layers=False,
        machine=Machine("Goes into the machines' user data, in TOML.", _bottlerocket, True),
    ),
    Distribution(
        "k3s", "K3s",
        "K3s makes containerd's configuration from /etc/rancher/k3s/registries.yaml when it starts. The chart writes "
        "that file and has systemd restart K3s on all nodes at once; pods go on, but the API server is away meanwhile. "
        "With several servers set containerd.restart to false, and restart one after the other. docs/k3s.md.",
        Basis.DERIVED, "docs.k3s.io/installation/private-registry", values={"containerd": {"runtime": "k3s"}},
    ),
    Distribution(
        "rke2", "RKE2",
        "RKE2 makes containerd's configuration from /etc/rancher/rke2/registries.yaml when it starts. The chart writes "
        "that file and has systemd restart RKE2 on all nodes at once; pods go on, but the API server is away "
        "meanwhile. With several servers set containerd.restart to false, and restart one after the other.",
        Basis.DERIVED, "docs.rke2.io/install/containerd_registry_configuration",
        values={"containerd": {"runtime": "rke2"}}, first=_PRIVILEGED,
    ),
    Distribution(
        "kind", "Kind",
        "Its containerd discards layers, and from v0.27 on has config_path = /etc/containerd/certs.d; in older ones "
        "the chart names that folder, and has systemd restart containerd in the node's container, once.",
        Basis.DERIVED, "kind.sigs.k8s.io/docs/user/configuration", keeps_layers=False,
        machine=Machine(f"{_SAVES} kind create cluster --config FILE", _kind, False),
    ),
    Distribution(
        "talos", "Talos Linux",
        "Its files cannot be written, and its containerd discards layers. The machine's configuration has mirrors.",
        Basis.DERIVED, "docs.siderolabs.com/talos/v1.12/reference/configuration/cri/registrymirrorconfig",
        values=_LEFT_ALONE, keeps_layers=False, first=_PRIVILEGED,
        machine=Machine(
            "talosctl patch machineconfig --patch @FILE, on each node; from Talos 1.12 on. Before: machine.registries."
            "mirrors, with the same name and URL.", _talos, True,
        ),
    ),
    Distribution(
        "vke", "VKE (Volcengine)",
        "Its network plugin gives pods no port of the node that is in net.ipv4.ip_local_port_range; those of the chart "
        f"are below. {_WRITES}",
        Basis.DERIVED, "www.volcengine.com/docs/6460",
    ),
    Distribution(
        "gke", "GKE, Standard",
        "Its runtime configuration names registries with their hosts (registryHosts); containerd discards layers. "
        "Autopilot lets no pod into the host's network, nor at containerd's socket: there the agent cannot run.",
        Basis.DERIVED, "docs.cloud.google.com/kubernetes-engine/docs/how-to/customize-containerd-configuration",
        values={**_LEFT_ALONE, "resourceQuota": {"enabled": True}}, keeps_layers=False,
        machine=Machine("gcloud container node-pools update POOL --containerd-config-from-file=FILE", _gke, True),
    ),
    Distribution(
        "digitalocean", "DigitalOcean",
        "Its containerd has no config_path. The chart names /etc/containerd/certs.d, and has systemd restart "
        "containerd on the node, once; running containers go on.",
        Basis.DERIVED, "docs.digitalocean.com/products/kubernetes",
    ),
    Distribution(
        "microk8s", "MicroK8s",
        "Its containerd has its own paths below /var/snap/microk8s, and config_path = certs.d there. The chart writes "
        "hosts.toml, and containerd reads it at the next pull.",
        Basis.DERIVED, "canonical.com/microk8s/docs/registry-private", values={"containerd": {"runtime": "microk8s"}},
    ),
    Distribution(
        "k0s", "k0s",
        "k0s writes containerd's configuration, and adds what is in /etc/k0s/containerd.d. The chart puts a file there "
        "that names a folder for registries, and k0s has containerd read it; running containers go on.",
        Basis.DERIVED, "docs.k0sproject.io/stable/runtime", values={"containerd": {"runtime": "k0s"}},
    ),
    Distribution(
        "kubeadm", "kubeadm and others with the distribution's containerd",
        "Where containerd has no config_path, the chart names /etc/containerd/certs.d, and has systemd restart "
        "containerd on the node, once; running containers go on.",
        Basis.RUN, "github.com/containerd/containerd, docs/hosts.md",
    ),
)  # fmt: skip
"""In the order in which they are shown."""
