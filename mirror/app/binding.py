"""Taking an address to listen on, and giving it back."""

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path

from ..addresses import Address, ListenAddress, UnixAddress
from ..errors import ConfigError, StartFailed

_PROBE_S = 1.0
"""Bounds the question whether somebody listens on a Unix socket, s. The kernel answers at once."""


class Bound:
    """A socket that is bound to an address, and listens.

    Args:
        address: which.
        setting: the operator's setting that names it, for messages.
        backlog: bounds the connections that wait to be accepted.

    Raises:
        StartFailed: the address is in use, or is none of this machine.
        ConfigError: its path is another file.
    """

    def __init__(self, address: ListenAddress, setting: str, backlog: int) -> None:
        self._path: Path | None = None
        self._file: tuple[int, int] | None = None
        family = _family(address)
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self.socket.setblocking(False)
            if isinstance(address, UnixAddress):
                self._bind_path(address, setting)
            else:
                self._bind_port(address)
            self.socket.listen(backlog)
        except OSError as error:
            self.close()
            raise StartFailed(
                f"{setting}: cannot listen on {address}: {error.strerror}; "
                f"stop what uses it, or choose another address with --{setting}"
            ) from None
        except ConfigError:
            self.close()
            raise

    def close(self) -> None:
        """Give the address back."""
        self.socket.close()
        if self._path is not None and self._file == _identity(self._path):
            self._path.unlink()

    def _bind_port(self, address: Address) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.socket.family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.bind((address.host, address.port))

    def _bind_path(self, address: UnixAddress, setting: str) -> None:
        """Make the socket's file. It never has a wider mode than the operator says, not even for a moment."""
        path = Path(address.path)
        if _identity(path) is not None:
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise ConfigError(f"{setting}: {path} is there, and is no socket; choose another path")
            if _is_served(address.path):
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            path.unlink()  # it was left by a process that was killed
        os.fchmod(self.socket.fileno(), address.mode)  # Linux takes the file's mode from it, less the umask
        self.socket.bind(address.path)
        self._path, self._file = path, _identity(path)
        path.chmod(address.mode)


def _family(address: ListenAddress) -> socket.AddressFamily:
    if isinstance(address, UnixAddress):
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in address.host else socket.AF_INET


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file a path is; None if there is none."""
    with contextlib.suppress(FileNotFoundError):
        status = path.lstat()
        return status.st_dev, status.st_ino
    return None


def _is_served(path: str) -> bool:
    """Whether a process listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_S)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        except BlockingIOError:  # more wait already than may
            return True
    return True
