"""A cluster of real processes in a network namespace: started, watched by the lines that they print, and stopped."""

import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Self

from testbed.processes import Usage, kill, spawn, usage

from ..report import BenchError
from .kinds import Kind


@dataclass(frozen=True, slots=True)
class Seen:
    """What a process saw: at what monotonic time, s, and of which member or key."""

    at: float
    word: str
    what: str


@dataclass(eq=False, slots=True)
class Agent:
    """One process of a cluster.

    Args:
        name: of the member.
        process: its own.
        parse: turns a line into a word and what it is about, or into nothing.
    """

    name: str
    process: "subprocess.Popen[bytes]"
    parse: Callable[[str], tuple[str, str] | None]
    started_at: float
    seen: list[Seen] = field(default_factory=list)
    view: dict[str, str] = field(default_factory=dict)

    def take(self, line: str, at: float) -> None:
        """Note a line of its output."""
        parsed = self.parse(line)
        if parsed is None:
            return
        word, what = parsed
        self.seen.append(Seen(at, word, what))
        if word in ("joined", "recovered", "failed", "left"):
            self.view[what] = "alive" if word in ("joined", "recovered") else word

    def order(self, line: str) -> None:
        """Send it a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def since(self, at: float, word: str, what: str) -> float | None:
        """When it first saw something after a time, s."""
        return next((seen.at for seen in self.seen if seen.at >= at and (seen.word, seen.what) == (word, what)), None)

    def usage(self) -> Usage:
        """What it has used so far.

        Raises:
            BenchError: it has ended.
        """
        used = usage(self.process.pid)
        if used is None:
            raise BenchError(f"{self.name} has ended")
        return used


class Cluster:
    """Agents of one kind in a namespace. As a context manager it stops them on exit.

    Args:
        kind: how to start them.
        netns: the network namespace that they run in.
    """

    def __init__(self, kind: Kind, netns: str) -> None:
        self.kind = kind
        self.agents: dict[str, Agent] = {}
        self._netns = netns
        self._selector = selectors.DefaultSelector()
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._open = True
        self._started = 0

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open = False
        for agent in self.agents.values():
            kill(agent.process)
        self._reader.join()
        self._selector.close()

    def start(self, name: str | None = None) -> Agent:
        """One more agent, or one that was there before."""
        if name is None:
            self._started += 1
            name = f"n{self._started}"
        host = f"127.0.1.{name[1:]}"
        command = self.kind.command(name, host, "127.0.1.1" if name != "n1" else None)
        at = time.monotonic()
        process = spawn(command, netns=self._netns, stdin=subprocess.PIPE)
        agent = self.agents[name] = Agent(name, process, self.kind.parse, at)
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        self._selector.register(process.stdout, selectors.EVENT_READ, (agent, bytearray()))
        return agent

    def kill(self, name: str) -> float:
        """Kill an agent. Returns when, as monotonic time in seconds."""
        at = time.monotonic()
        kill(self.agents[name].process)
        return at

    def signal(self, name: str, number: signal.Signals) -> float:
        """Send an agent a signal. Returns when, as monotonic time in seconds."""
        at = time.monotonic()
        self.agents[name].process.send_signal(number)
        return at

    def others(self, name: str) -> list[Agent]:
        """All agents but one."""
        return [agent for agent in self.agents.values() if agent.name != name]

    def whole(self) -> bool:
        """Whether all see all others alive."""
        names = set(self.agents)
        return all(
            all(agent.view.get(name) == "alive" for name in names - {agent.name}) for agent in self.agents.values()
        )

    def until(self, condition: Callable[[], bool], within_s: float, what: str) -> float:
        """Wait until a condition holds; return the time, monotonic, s.

        Raises:
            BenchError: it does not hold in time.
        """
        with self._changed:
            if not self._changed.wait_for(condition, within_s):
                raise BenchError(f"{self.kind.name}: after {within_s:g} s it is still not so that {what}")
        return time.monotonic()

    def _read(self) -> None:
        while self._open:
            for key, _ in self._selector.select(0.1):
                agent, rest = key.data
                self._take(key.fileobj, agent, rest)  # type: ignore[arg-type]

    def _take(self, pipe: IO[bytes], agent: Agent, rest: bytearray) -> None:
        at = time.monotonic()
        received = pipe.read(65536)
        if not received:
            if received == b"":
                self._selector.unregister(pipe)
            return
        rest += received
        *lines, tail = bytes(rest).split(b"\n")
        rest[:] = tail
        with self._changed:
            for line in lines:
                agent.take(line.decode(errors="replace"), at)
            self._changed.notify_all()
