"""Where something listens, or is reached: plain values."""

import ipaddress
from dataclasses import dataclass
from typing import Final, TypeAlias

_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Hosts that stand for all addresses of this machine, each with its loopback address."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a TCP or UDP port to listen on or to reach."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def everywhere(self) -> bool:
        """Whether it stands for all addresses of this machine."""
        return self.host in _EVERYWHERE

    @property
    def reached_here(self) -> "Address":
        """Where this machine reaches who listens at this address."""
        return Address(_EVERYWHERE.get(self.host, self.host), self.port)


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A Unix socket to listen on.

    Args:
        path: absolute.
        mode: of its file; who may write to the file may connect.
    """

    path: str
    mode: int = 0o600

    def __str__(self) -> str:
        return f"unix:{self.path}"

    @property
    def loopback(self) -> bool:
        """Only this machine can reach it."""
        return True


ListenAddress: TypeAlias = Address | UnixAddress
