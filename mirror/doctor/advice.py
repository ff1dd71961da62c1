"""Commands that mend, as they are on this machine."""

import json
from dataclasses import dataclass
from typing import Final, Literal

Firewall = Literal["ufw", "firewalld", "nft"]

_SERVICE: Final = "skvaller"


@dataclass(frozen=True, slots=True)
class Advice:
    """What this machine has that commands depend on.

    Args:
        firewall: the program that rules its firewall. Other members are taken to have the same.
        has_unit: whether the agent is a unit of systemd here.
        config: the agent's file of settings, as far as it is known.
    """

    firewall: Firewall = "nft"
    has_unit: bool = True
    config: str = "/etc/skvaller/agent.toml"

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
        return f"systemctl restart {_SERVICE}" if self.has_unit else "start the agent again"

    @property
    def start(self) -> str:
        """Start the agent."""
        return f"systemctl enable --now {_SERVICE}" if self.has_unit else f"skvaller agent --config {self.config}"

    @property
    def log(self) -> str:
        """Read what the agent last wrote."""
        return f"journalctl -u {_SERVICE} -n 50" if self.has_unit else "read the last lines that the agent wrote"

    @property
    def start_and_look(self) -> str:
        """Start the agent, and see what it says."""
        return f"{self.start}; {self.log}" if self.has_unit else self.start

    def set(self, setting: str, value: str | list[str]) -> str:
        """Change a setting of the agent, and have it read that."""
        return f"set {setting} = {json.dumps(value)} in {self.config}, then {self.restart}"
