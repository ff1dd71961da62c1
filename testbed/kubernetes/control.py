"""The control plane: etcd, the API server, the controllers, the scheduler, and the cluster's DNS, on one host."""

import json
import ssl
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

from ..network import Address, Host, inside
from ..processes import Process, run
from ..servers import Server
from .certificates import Certificates
from .families import Family
from .programs import Programs

_PORT: Final = 6443
_ROOT: Final = Path(__file__).parents[2]


class Control:
    """A control plane that runs.

    Args:
        folder: for its files.
        host: where it runs.
        programs: what is run.
        stack: stops it.
        families: of the addresses of services.
    """

    def __init__(
        self, folder: Path, host: Host, programs: Programs, stack: ExitStack, families: Sequence[Family]
    ) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._programs = programs
        self._stack = stack
        self.host = host
        self._families = families
        self._place = Address(host.address, _PORT)
        self.server = f"https://{self._place}"
        self.certificates = Certificates(folder / "certificates", self.server)
        self.admin = self.certificates.kubeconfig("admin", "system:masters")
        admin = self.certificates.issue("admin", group="system:masters")
        self._tls = ssl.create_default_context(cafile=str(self.certificates.authority))
        self._tls.load_cert_chain(admin.certificate, admin.key)
        self._start()

    def kubectl(self, *arguments: str, timeout_s: float = 120) -> str:
        """Run kubectl as the administrator; return what it printed."""
        command = [self._programs.path("kubectl"), f"--kubeconfig={self.admin}", *arguments]
        return run(command, netns=self.host.netns, timeout_s=timeout_s)

    def ask(self, path: str) -> Any:
        """What the API server answers on a path, as the administrator.

        Raises:
            OSError: it does not answer, or not with 200.
        """

        def ask() -> Any:
            with urllib.request.urlopen(self.server + path, context=self._tls, timeout=30) as answer:
                return json.load(answer)

        return inside(self.host.netns, ask)

    def apply(self, *objects: dict[str, Any]) -> None:
        """Have these objects from now on."""
        with tempfile.NamedTemporaryFile("w", dir=self._folder, suffix=".json") as file:
            json.dump({"apiVersion": "v1", "kind": "List", "items": objects}, file)
            file.flush()
            self.kubectl("apply", "--filename", file.name)

    def serve(self, host: Host) -> None:
        """Lead what a host and its pods send to the API server's service there, as kube-proxy would."""
        family = self._families[0]
        rule = f"{family.nft} daddr {family.service} tcp dport 443 dnat to {self._place}"
        table = f"{family.nft} services"
        commands = [f"add table {table}"]
        for chain in ("prerouting", "output"):
            commands.append(f"add chain {table} {chain} {{ type nat hook {chain} priority -100; }}")
            commands.append(f"add rule {table} {chain} {rule}")
        host.run("nft", "; ".join(commands))
        # Without a route, nothing is sent whose destination could be changed.
        host.run("ip", "route", "add", family.services, "dev", "eth0")

    def helm(self, *arguments: str, timeout_s: float = 300) -> str:
        """Run helm as the administrator; return what it printed."""
        homes = [
            f"{name}={self._folder / 'helm'}" for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")
        ]
        command = ["env", *homes, self._programs.path("helm"), f"--kubeconfig={self.admin}", *arguments]
        return run(command, netns=self.host.netns, timeout_s=timeout_s)

    def _start(self) -> None:
        issue, kubeconfig = self.certificates.issue, self.certificates.kubeconfig
        etcd = Address("127.0.0.1", 2379)
        urls = f"--listen-client-urls=http://{etcd}", f"--advertise-client-urls=http://{etcd}"
        self._run(
            ["etcd", f"--data-dir={self._folder / 'etcd'}", *urls, "--listen-peer-urls=http://127.0.0.1:2380"], etcd
        )
        host, authority, accounts = self.host.address, self.certificates.authority, self.certificates.accounts
        serving = issue("kube-apiserver", host, self._families[0].service, "kubernetes.default.svc")
        services = ",".join(family.services for family in self._families)
        kubelets = issue("apiserver-of-kubelets", group="system:masters")
        self._run(
            [
                *(self._programs.path("kube-apiserver"), f"--etcd-servers=http://{etcd}"),
                *(f"--advertise-address={host}", f"--secure-port={_PORT}", f"--service-cluster-ip-range={services}"),
                *(f"--tls-cert-file={serving.certificate}", f"--tls-private-key-file={serving.key}"),
                *(f"--client-ca-file={authority}", "--authorization-mode=Node,RBAC", "--allow-privileged"),
                *(f"--kubelet-client-certificate={kubelets.certificate}", f"--kubelet-client-key={kubelets.key}"),
                *("--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={accounts}"),
                *(f"--service-account-signing-key-file={accounts}", "--enable-admission-plugins=NodeRestriction"),
                "--kubelet-preferred-address-types=InternalIP",
            ],
            self._place,
            self._is_live,
        )
        name = "system:kube-controller-manager"
        self._run(
            [
                *(self._programs.path("kube-controller-manager"), f"--kubeconfig={kubeconfig(name)}"),
                *(
                    "--leader-elect=false",
                    "--use-service-account-credentials",
                    f"--service-account-private-key-file={accounts}",
                    f"--root-ca-file={authority}",
                ),
                # A node that is off is known as such after so long; usually it is 40 s.
                "--node-monitor-grace-period=12s",
            ],
            Address("127.0.0.1", 10257),
        )
        command = [self._programs.path("kube-scheduler"), f"--kubeconfig={kubeconfig('system:kube-scheduler')}"]
        self._run([*command, "--leader-elect=false"], Address("127.0.0.1", 10259))
        admin = issue("admin", group="system:masters")
        files = ["--ca", str(authority), "--cert", str(admin.certificate), "--key", str(admin.key)]
        command = ["env", f"PYTHONPATH={_ROOT}", sys.executable, "-m", "testbed.kubernetes.names", "--address", host]
        names = Process(
            "names", [*command, "--server", self.server, *files], self._folder / "names.log", netns=self.host.netns
        )
        self._stack.enter_context(names)

    def _run(self, command: Sequence[str], address: Address, is_ready: Callable[[], bool] | None = None) -> None:
        name = Path(command[0]).name
        server = self._stack.enter_context(
            Server(name, command, address, self._folder / f"{name}.log", netns=self.host.netns)
        )
        if is_ready is not None:
            server.until(is_ready, "ready", 60)

    def _is_live(self) -> bool:
        with suppress(OSError):
            return bool(self.ask("/api/v1/namespaces/default"))
        return False
