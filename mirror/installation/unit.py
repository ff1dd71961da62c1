"""The systemd unit, as a text that follows from what the agent has to reach.

Source: systemd.unit(5), systemd.service(5), systemd.exec(5), systemd.resource-control(5).
"""

from dataclasses import dataclass
from typing import Final

from .places import DATA, FOLDER, SETTINGS_FILE, USER

HEAD: Final = "# Written by `skvaller install`, which writes it anew. Changes of your own: `systemctl edit skvaller`."

_RUNTIMES: Final = (
    "crio.service", "docker.service", "k3s.service", "k3s-agent.service", "kubelet.service", "rke2-agent.service",
    "rke2-server.service",
)  # fmt: skip
"""Units that may pull when they start: they find the agent ready. They wait for the network themselves; containerd does
not, and pulls nothing until somebody asks it: a node whose network is down must not wait for its containers."""

_OF_CONTAINERD: Final = ("CAP_DAC_READ_SEARCH", "CAP_DAC_OVERRIDE")
"""The socket and the content of containerd are root's, and so are the files of runtimes."""
_OF_REPAIR: Final = ("CAP_CHOWN", "CAP_FOWNER")
"""A file that is written again keeps its owner and its mode."""
_FILES_OF_RUNTIMES: Final = (
    *("/etc/buildkit", "/etc/containerd", "/etc/containers", "/etc/docker", "/etc/k0s", "/etc/rancher"),
    "/var/snap/microk8s/current/args",
)
"""Folders that the agent may write to where it repairs."""

_TEMPLATE: Final = """\
{head}
[Unit]
Description=Skvaller, a container image mirror for small clusters
After=network-online.target
Wants=network-online.target
# What pulls when it starts finds the agent ready; it starts all the same if the agent does not.
Before={runtimes}

[Service]
Type=notify
ExecStart={command} agent --config {settings}
Restart=always
RestartSec=2
# Settings that are wrong, and a name that another node has, are so the next time as well.
RestartPreventExitStatus=2
# The agent gives running transfers 20 seconds to finish before it stops.
TimeoutStopSec=30
# The agent raises its soft limit to this. It uses fewer connections where it has fewer than 8,192.
LimitNOFILE=65536
# The agent takes about 70 MiB, and 120 under load; the rest is the kernel's cache of what it sends. If it grew without
# end, it would be killed and started again before the machine lacks memory.
MemoryMax=50%

User={user}
Group={user}
{folder}RuntimeDirectory=skvaller
Environment=PYTHONSAFEPATH=1
{capabilities}NoNewPrivileges=yes
ProtectSystem=strict
# When `skvaller keys` changes the keys of the cluster, the agent replaces its key file in this folder.
ReadWritePaths={writable}
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True, slots=True)
class Service:
    """What the unit depends upon.

    Args:
        command: the `skvaller` that it runs, an absolute path.
        data_dir: the agent's folder, an absolute path.
        shares_containerd: whether the agent reads a containerd's socket and content.
        repairs: whether the agent writes again what others take away from files of runtimes.
    """

    command: str
    data_dir: str = DATA
    shares_containerd: bool = True
    repairs: bool = False

    @property
    def capabilities(self) -> tuple[str, ...]:
        """The rights of root that it has."""
        shares, repairs = self.shares_containerd or self.repairs, self.repairs
        return (*(_OF_CONTAINERD if shares else ()), *(_OF_REPAIR if repairs else ()))


def unit_text(service: Service) -> str:
    """The text of the unit."""
    state, below = service.data_dir.removeprefix("/var/lib/"), service.data_dir.startswith("/var/lib/")
    own = f"StateDirectory={state}\nStateDirectoryMode=0700\n" if below else f"ReadWritePaths={service.data_dir}\n"
    rights = " ".join(service.capabilities)
    ambient = f"AmbientCapabilities={rights}\n" if rights else ""
    writable = (FOLDER, *(_FILES_OF_RUNTIMES if service.repairs else ()))
    return _TEMPLATE.format(
        head=HEAD,
        runtimes=" ".join(_RUNTIMES),
        command=service.command,
        settings=SETTINGS_FILE,
        user=USER,
        folder=f"{own}WorkingDirectory={service.data_dir}\n",
        capabilities=f"{ambient}CapabilityBoundingSet={rights}\n",
        writable=" ".join(f"-{path}" for path in writable),
    )
