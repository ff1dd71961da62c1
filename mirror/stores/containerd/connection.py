"""Whether containerd answers, as the log is told: once when that changes.

connecting ──listed──> connected ──error──> disconnected ──listed──> connected
     └──────error──────────────────────────────^
"""

import asyncio
import contextlib
import logging
from enum import Enum, auto
from pathlib import Path

log = logging.getLogger(__name__)


class _State(Enum):
    CONNECTING = auto()
    CONNECTED = auto()
    DISCONNECTED = auto()


class Connection:
    """The state of the connection to one containerd.

    Args:
        socket: of containerd.
        namespace: whose content is followed.
    """

    def __init__(self, socket: Path, namespace: str) -> None:
        self._socket = socket
        self._namespace = namespace
        self._state = _State.CONNECTING
        self._tried = asyncio.Event()

    @property
    def is_up(self) -> bool:
        """Whether containerd answers."""
        return self._state is _State.CONNECTED

    async def tried(self, within_s: float) -> None:
        """Wait until it has answered or failed for the first time, no longer than some seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._tried.wait()

    def note_listed(self, counts: tuple[int, int]) -> None:
        """Note that containerd has listed what it holds: how many blobs, and how many tags."""
        if self._state is not _State.CONNECTED:
            log.info(
                "containerd connected address=%s namespace=%s blobs=%d tags=%d", self._socket, self._namespace, *counts
            )
        self._state = _State.CONNECTED
        self._tried.set()

    def note_lost(self, error: Exception, counts: tuple[int, int]) -> None:
        """Note that containerd does not answer, and how much is known of it still."""
        if self._state is not _State.DISCONNECTED:
            log.warning(
                "containerd not connected, trying on address=%s error=%s blobs=%d tags=%d",
                self._socket,
                error,
                *counts,
            )
        self._state = _State.DISCONNECTED
        self._tried.set()

    def closed(self) -> None:
        """Note that nobody follows containerd any more."""
        self._state = _State.CONNECTING
