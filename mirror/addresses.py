"""Where something listens, or is reached: plain values."""

import ipaddress
from dataclasses import dataclass
from typing import TypeAlias


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
        return self.host in ("0.0.0.0", "::")


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
