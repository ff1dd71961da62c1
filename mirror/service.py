"""What starts the agent of a node, and so the commands with which an operator looks at it, and starts it again."""

import enum
from collections.abc import Mapping
from typing import Final

_POD: Final = "pod -A -l app.kubernetes.io/name=skvaller --field-selector spec.nodeName="
"""The pod of an agent, as the chart labels it; its name in the cluster is that of the node."""


class Service(enum.Enum):
    """What starts an agent. The agents of one cluster are taken to be started alike."""

    SYSTEMD = enum.auto()
    KUBERNETES = enum.auto()
    BY_HAND = enum.auto()
    """Nobody knows what; only doctor, which looks for a unit, can tell that."""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Service":
        """What started a process with this environment. Source: Kubernetes, "Service", "Environment variables"."""
        return cls.KUBERNETES if "KUBERNETES_SERVICE_HOST" in environment else cls.SYSTEMD

    @property
    def is_asked_anywhere(self) -> bool:
        """Whether its commands are given on any machine; else on that of the node."""
        return self is Service.KUBERNETES

    def log(self, node: str) -> str:
        """Read what the agent of a node last wrote."""
        match self:
            case Service.SYSTEMD:
                return "journalctl -u skvaller -n 50"
            case Service.KUBERNETES:
                return f"kubectl describe {_POD}{node}"
            case Service.BY_HAND:
                return "read the last lines that the agent wrote"

    def restart(self, node: str) -> str:
        """Start the agent of a node again; it reads its settings again."""
        match self:
            case Service.SYSTEMD:
                return "systemctl restart skvaller"
            case Service.KUBERNETES:
                return f"kubectl delete {_POD}{node}"
            case Service.BY_HAND:
                return "start the agent again"

    def start(self, node: str, config: str) -> str:
        """Start the agent of a node that does not run.

        Args:
            node: its name.
            config: the agent's file of settings.
        """
        match self:
            case Service.SYSTEMD:
                return "systemctl enable --now skvaller"
            case Service.KUBERNETES:
                return self.restart(node)
            case Service.BY_HAND:
                return f"skvaller agent --config {config}"
