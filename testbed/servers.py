"""A process that listens on an address."""

from collections.abc import Sequence
from pathlib import Path

from .network import Address, accepts
from .processes import Process


class Server(Process):
    """A server, ready when it accepts connections.

    Args:
        name: for messages and tables.
        command: runs it in the foreground.
        address: where it listens.
        log: file to which its output is appended.
        netns: network namespace that it runs in; None for the machine's own.
        orphan_signal: what it gets when its owner is killed.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        address: Address,
        log: Path,
        *,
        netns: str | None = None,
        orphan_signal: str = "KILL",
    ) -> None:
        super().__init__(name, command, log, netns=netns, orphan_signal=orphan_signal)
        self.address = address

    def is_ready(self) -> bool:
        """Whether it accepts connections."""
        return accepts(self.address, self.netns)
