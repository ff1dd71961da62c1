"""One agent as a process of its own: start it, wait until it shows something, stop it. Addresses are on loopback."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

_WAIT_S = 30.0
"""Bounds the wait for an agent to show something, s. A start takes one second, on a busy machine several."""
_STOP_S = 10.0
"""Bounds the time that an agent has to stop by itself, s; then it is killed."""
_POLL_S = 0.02
"""Time between two questions to an agent that is waited for, s."""
_PORT_TRIES = 100


class ProcessError(Exception):
    """An agent ended, or did not show what was waited for; the message says which, and what its log says."""


@dataclass(frozen=True, slots=True)
class AgentProcess:
    """A running agent.

    Args:
        name: its name in the cluster.
        url: its client endpoint, without a trailing slash.
        gossip: its gossip address, for others to join through.
        process: the operating system's process.
        log: the file that it logs to.
    """

    name: str
    url: str
    gossip: str
    process: asyncio.subprocess.Process
    log: Path

    @classmethod
    async def start(cls, name: str, folder: Path, flags: Sequence[str] = (), host: str = "127.0.0.1") -> "AgentProcess":
        """Start an agent of this Python and this Skvaller, on free ports; it is not waited for.

        Args:
            name: its name in the cluster.
            folder: for its data and its log; made if missing.
            flags: of `skvaller agent`, beside its name, data folder and addresses. SKVALLER_… variables of the
                environment are not passed on.
            host: the loopback address that it listens on.
        """
        listen, peer, gossip = (f"{host}:{_free_port(host)}" for _ in range(3))
        log = _log_in(folder)
        command = [
            sys.executable, "-m", "mirror", "agent", "--name", name, "--data-dir", str(folder),
            "--listen", listen, "--peer", peer, "--gossip", gossip, *flags,
        ]  # fmt: skip
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SKVALLER_")}
        environment["PYTHONPATH"] = str(Path(__file__).parents[2])  # this Skvaller, wherever it was started from
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out, env=environment,
                start_new_session=True,  # so that Ctrl-C does not reach it before it is stopped in order
            )  # fmt: skip
        return cls(name, f"http://{listen}", gossip, process, log)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.process.returncode is None

    async def poll(self, http: aiohttp.ClientSession, path: str) -> AsyncIterator[bytes]:
        """Ask for the same path until the caller stops, and give each good answer's body.

        Raises:
            ProcessError: the agent ended, or the time is over.
        """
        deadline = asyncio.get_running_loop().time() + _WAIT_S
        while asyncio.get_running_loop().time() < deadline:
            if not self.is_running:
                raise ProcessError(f"{self.name} ended with status {self.process.returncode}: {self._last_line()}")
            with contextlib.suppress(aiohttp.ClientError):
                yield await self._get(http, path)
            await asyncio.sleep(_POLL_S)
        raise ProcessError(f"{self.name} did not show at {path} what it should in {_WAIT_S:g} s: {self._last_line()}")

    def _last_line(self) -> str:
        return "".join(self.log.read_text(errors="replace").strip().splitlines()[-1:])

    async def get_json(self, http: aiohttp.ClientSession, path: str) -> Any:
        """Ask it once; raises aiohttp.ClientError."""
        async with http.get(self.url + path) as answer:
            answer.raise_for_status()
            return await answer.json()

    async def _get(self, http: aiohttp.ClientSession, path: str) -> bytes:
        async with http.get(self.url + path) as answer:
            answer.raise_for_status()
            return await answer.read()

    def kill(self) -> None:
        """End it at once and without warning, as a power failure would."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    async def stop(self) -> int:
        """Ask it to stop, as an operator would, and kill it if it does not; return its exit status."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self.process.wait(), _STOP_S)
        except TimeoutError:
            self.kill()
            return await self.process.wait()


def _log_in(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "agent.log"


def _free_port(host: str) -> int:
    """A port that is free now for TCP and UDP."""
    for _ in range(_PORT_TRIES):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind((host, 0))
            port = int(tcp.getsockname()[1])
            with contextlib.suppress(OSError):
                udp.bind((host, port))
                return port
    raise ProcessError(f"no free port on {host}")
