"""A node: a containerd and a kubelet, with files, processes and a network of their own."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ..errors import RunError
from ..network import Host
from ..processes import Process, remove_folder, run, wait_until
from .control import Control
from .families import IPV4, IPV6
from .programs import CNI, Programs

PAUSE: Final = "localhost/pause:1"
"""The image that holds a pod's namespaces."""

SOCKET: Final = Path("/run/containerd/containerd.sock")
_INIT: Final = Path(__file__).with_name("node_init")

_CONTAINERD: Final = """\
# As a distribution writes it.
version = 3

[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = '{pause}'

[plugins.'io.containerd.cri.v1.runtime']
  # Nobody can lower a process' score here.
  restrict_oom_score_adj = true

[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ['{cni}']
"""


class KubernetesNode(Process):
    """A node, which registers itself at the API server.

    Args:
        folder: for its files; made if it is not there.
        host: its network.
        control: the control plane.
        programs: what is run.
        pods: the networks of its pods, such as `10.79.1.0/24`: one for each of the host's addresses.
    """

    def __init__(
        self,
        folder: Path,
        host: Host,
        control: Control,
        programs: Programs,
        pods: Sequence[str],
    ) -> None:
        self.host = host
        self.pods = pods
        self.folder = folder
        self._launched = datetime.now(UTC)
        self._control = control
        self._programs = programs
        (folder / "etc" / "containerd").mkdir(parents=True)
        self.containerd_settings = folder / "etc" / "containerd" / "config.toml"
        self.containerd_settings.write_text(_CONTAINERD.format(pause=PAUSE, cni=CNI))
        network = folder / "etc" / "cni" / "net.d" / "10-pods.conflist"
        network.parent.mkdir(parents=True)
        network.write_text(json.dumps(_pod_network(pods)))
        self._kubelet = folder / "kubelet.json"
        self.set_kubelet({})
        name, addresses = host.name, ",".join((host.address, *host.others))
        options = [
            *(f"--config={self._kubelet}", f"--hostname-override={name}", f"--node-ip={addresses}"),
            f"--kubeconfig={control.certificates.kubeconfig(f'system:node:{name}', 'system:nodes')}",
        ]
        # `ip netns exec` would hide the cgroups.
        inside = ["nsenter", f"--net=/run/netns/{host.netns}", "unshare", "--mount", "--pid", "--uts", "--fork"]
        command = [
            *inside,
            "--kill-child",
            "--mount-proc",
            str(_INIT),
            str(folder),
            name,
            str(programs.folder),
            *options,
        ]
        super().__init__(name, command, folder / "node.log")

    def ask_registry(self, url: str) -> None:
        """Have its containerd ask a registry for everything of docker.io, from its next start on."""
        hosts = self.folder / "etc" / "containerd" / "certs.d" / "docker.io" / "hosts.toml"
        hosts.parent.mkdir(parents=True)
        hosts.write_text(f'server = "{url}"\n')
        folder = "\n[plugins.'io.containerd.cri.v1.images'.registry]\n  config_path = '/etc/containerd/certs.d'\n"
        with self.containerd_settings.open("a") as settings:
            settings.write(folder)

    def set_kubelet(self, changes: Mapping[str, Any]) -> None:
        """Settings of the kubelet, from its next start on: the usual ones for this place, and changes."""
        authority = str(self._control.certificates.authority)
        settings = {
            "kind": "KubeletConfiguration",
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "authentication": {"x509": {"clientCAFile": authority}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "cgroupDriver": "cgroupfs",
            "cgroupsPerQOS": False,
            "enforceNodeAllocatable": [],
            "failSwapOn": False,
            "failCgroupV1": False,
            "featureGates": {"KubeletInUserNamespace": True},
            "clusterDomain": "cluster.local",
            "clusterDNS": [self._control.host.address],
            "containerRuntimeEndpoint": f"unix://{SOCKET}",
            "maxPods": 120,
            "nodeStatusUpdateFrequency": "2s",
            # Other things on this machine's disk are not the node's.
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {"memory.available": "1Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "volumePluginDir": "/var/lib/kubelet/volumeplugins",
            **changes,
        }
        self._kubelet.write_text(json.dumps(settings))

    def launch(self) -> None:
        """Switch it on, or on again, and return at once."""
        self._launched = datetime.now(UTC)
        super().launch()

    def is_ready(self) -> bool:
        """Whether its containerd answers, and the API server has heard since its launch that it is ready."""
        with suppress(OSError):
            lease = self._control.ask(f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{self.name}")
            if datetime.fromisoformat(lease["spec"]["renewTime"]) < self._launched or not self._answers():
                return False
            conditions = self._control.ask(f"/api/v1/nodes/{self.name}")["status"].get("conditions", ())
            return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
        return False

    # On the node

    @property
    def first_pid(self) -> int:
        """The id, on this machine, of its first process."""
        return int(Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()[0])

    def pid_of(self, program: str) -> int:
        """The id, on this machine, of the first process whose command line contains a text."""
        for process in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
            with suppress(OSError):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if program in command and self.first_pid in _ancestors(int(process.name)):
                    return int(process.name)
        raise RunError(f"{self.name} has no process {program}")

    def run(self, *command: str, timeout_s: float = 120) -> str:
        """Run a tool on it; return what it printed."""
        inside = ["nsenter", f"--target={self.first_pid}", "--mount", "--pid", "--net", "--uts"]
        return run([*inside, *command], timeout_s=timeout_s)

    def ctr(self, *arguments: str, timeout_s: float = 120) -> str:
        """Run `ctr` in Kubernetes' namespace of its containerd; return what it printed."""
        return self.run(self._programs.path("ctr"), "--namespace=k8s.io", *arguments, timeout_s=timeout_s)

    def load(self, *archives: Path) -> None:
        """Put images into its containerd, as a person would who has them as files."""
        for archive in archives:
            self.ctr("images", "import", str(archive))

    def images(self) -> set[str]:
        """The names of images in its containerd."""
        return set(self.ctr("images", "list", "--quiet").split())

    def contents(self) -> set[str]:
        """The digests of what its containerd has."""
        return set(self.ctr("content", "list", "--quiet").split())

    def path(self, path: str) -> Path:
        """Where a file of the node below /etc, /var/lib or /var/log is on this machine."""
        for own, folder in (("/etc/", "etc"), ("/var/lib/", "var-lib"), ("/var/log/", "var-log")):
            if path.startswith(own):
                return self.folder / folder / path.removeprefix(own)
        raise ValueError(path)

    def restart(self, service: str) -> None:
        """Restart `containerd` or `kubelet`, as an operator would, and return when the node is ready again."""
        old = self.run("cat", f"/run/{service}.pid").strip()
        self.run("systemctl", "restart", service)
        wait_until(lambda: self.run("cat", f"/run/{service}.pid").strip() != old, f"{service} to start on {self.name}")
        wait_until(self._answers, f"containerd of {self.name}")

    def _answers(self) -> bool:
        with suppress(RunError):
            return bool(self.ctr("version"))
        return False

    def power_off(self) -> None:
        """End all its processes at once. What it has written stays."""
        self.kill()

    def remove(self) -> None:
        """Power it off, and remove its files."""
        self.kill()
        remove_folder(self.folder)


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        yield pid


def _pod_network(pods: Sequence[str]) -> Mapping[str, object]:
    """The settings of the network plugins: a bridge, and ports of the host that lead to pods."""
    routes = [{"dst": (IPV6 if ":" in network else IPV4).all} for network in pods]
    addresses = {"type": "host-local", "ranges": [[{"subnet": network}] for network in pods], "routes": routes}
    bridge = {"type": "bridge", "bridge": "pods", "isGateway": True, "ipam": addresses}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, ports]}


def remove_cgroups(names: Sequence[str] = ("k8s.io",)) -> None:
    """Remove the groups of containers that have ended with their node."""
    for name in names:
        for top in Path("/sys/fs/cgroup").glob(f"*/{name}"):
            for each in sorted(top.glob("**/"), reverse=True):
                with suppress(OSError):
                    each.rmdir()
