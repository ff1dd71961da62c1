"""Commands that mend, as they are on this machine."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from ..service import Service

Firewall = Literal["ufw", "firewalld", "nft"]

SET_CLOCK: Final = "timedatectl set-ntp true; timedatectl timesync-status    # chronyc makestep, where chrony runs"

_ADDRESS_OF_POD: Final = 'extraEnv = [{{"name": "%s", "valueFrom": {{"fieldRef": {{"fieldPath": "status.podIP"}}}}}}]'
"""What is another on each node: the chart's values are the same for all of them, so the pod's address has to do."""

_CHART: Final[Mapping[str, str]] = {
    "advertise": _ADDRESS_OF_POD % "SKVALLER_ADVERTISE",
    "cache-size": "agent.cacheSize = {value}",
    "containerd": "containerd.socket = {value}",
    "data-dir": "persistence.hostPath = {value}",
    "gossip": "network.ports.gossip = {port}",
    "join": "join = {value}",
    "listen": "network.ports.client = {port}",
    "metrics": "network.ports.metrics = {port}",
    "name": _ADDRESS_OF_POD % "SKVALLER_NAME",
    "offline": "agent.offline = {value}",
    "peer": "network.ports.peer = {port}",
    "upstream-auth": 'upstreamCredentials.existingSecret = "SECRET"',
}
"""Settings that are values of the chart by another name; it has all others in `agent.settings`."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What this machine has that commands depend on.

    Args:
        firewall: the program that rules its firewall. Other members are taken to have the same.
        service: what starts the agent here. Other members are taken to have the same.
        config: the agent's file of settings, as far as it is known.
        name: the agent's; empty if it is not known.
    """

    firewall: Firewall = "nft"
    service: Service = Service.SYSTEMD
    config: str = "/etc/skvaller/agent.toml"
    name: str = ""

    def open_port(self, port: int, protocol: Literal["tcp", "udp"], on: str = "") -> str:
        """Let packets for a port in.

        Args:
            port: which.
            protocol: which.
            on: the member on which the command is to be run; empty: this machine.
        """
        match self.firewall:
            case "ufw":
                command = f"ufw allow {port}/{protocol}"
            case "firewalld":
                command = f"firewall-cmd --permanent --add-port={port}/{protocol} && firewall-cmd --reload"
            case "nft":
                command = (
                    f"nft insert rule inet filter input {protocol} dport {port} accept"
                    "    # or in the table and chain that `nft list ruleset` shows"
                )
        return self.there(command, on)

    @staticmethod
    def there(command: str, on: str) -> str:
        """A command that is to be run on a member; empty: here."""
        return f"on {on}: {command}" if on else command

    @property
    def restart(self) -> str:
        """Have the agent read its settings again."""
        return self.service.restart(self.name)

    @property
    def start(self) -> str:
        """Start the agent."""
        return self.service.start(self.name, self.config)

    @property
    def log(self) -> str:
        """Read what the agent last wrote."""
        return self.service.log(self.name)

    @property
    def start_and_look(self) -> str:
        """Start the agent, and see what it says."""
        return self.start if self.service is Service.BY_HAND else f"{self.start}; {self.log}"

    @staticmethod
    def in_chart(value: str) -> str:
        """Change a value of the chart, `NAME = VALUE`, and have the agents read that."""
        return f"in the chart's values, set {value}, then helm upgrade"

    def set(self, setting: str, value: str | list[str]) -> str:
        """Change a setting of the agent, and have it read that."""
        if self.service is Service.KUBERNETES:
            port = value.rpartition(":")[2] if isinstance(value, str) else ""
            named = _CHART.get(setting, f"agent.settings.{setting} = {{value}}")
            return self.in_chart(named.format(value=json.dumps(value), port=port))
        return f"set {setting} = {json.dumps(value)} in {self.config}, then {self.restart}"
