"""Clusters of real processes in a network namespace of their own: started, watched by their lines, gone at the end."""

import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from ..report import BenchError

_PORT: Final = 7946
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_SERF_LINE: Final = re.compile(
    r"EventMember(?P<event>Join|Failed|Leave): (?P<name>\S+)|Suspect (?P<suspect>\S+) has failed"
)
_SERF_WORDS: Final = {"Join": "joined", "Failed": "failed", "Leave": "left"}


class Namespace:
    """A network namespace with nothing but loopback, from `with` on until its end. Needs root."""

    def __init__(self) -> None:
        self.name = f"skvaller-{os.getpid()}"

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            raise BenchError("this bench makes network namespaces and needs root: sudo python -m bench gossip")
        if shutil.which("ip") is None:
            raise BenchError("this bench needs iproute2: apt-get install iproute2")
        self._ip("netns", "add", self.name)
        self.run("ip", "link", "set", "lo", "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(BenchError):
            self._ip("netns", "delete", self.name)

    def command(self, *words: str) -> list[str]:
        """A command that runs in here and ends with this process."""
        return ["ip", "netns", "exec", self.name, "setpriv", "--pdeathsig", "KILL", *words]

    def run(self, *words: str, text: str | None = None) -> str:
        """Run a command to its end, and give what it prints."""
        done = subprocess.run(self.command(*words), input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"{' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def lose(self, share: float) -> None:
        """Let this share of all UDP datagrams vanish, 0 to 1."""
        if shutil.which("nft") is None:
            raise BenchError("this bench needs nftables: apt-get install nftables")
        self.run("nft", "flush", "ruleset")
        if share:
            rule = f"meta l4proto udp numgen random mod 1000 < {round(share * 1000)} drop"
            chain = f"type filter hook input priority 0\n{rule}\n"
            self.run("nft", "-f", "-", text=f"table inet bench {{\nchain loss {{\n{chain}}}\n}}\n")

    def sent(self) -> tuple[int, int]:
        """Bytes and packets that left IP in here so far."""
        octets = _counter(self.run("cat", "/proc/net/netstat"), "IpExt", "OutOctets")
        return octets, _counter(self.run("cat", "/proc/net/snmp"), "Ip", "OutRequests")

    def _ip(self, *words: str) -> None:
        done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"ip {' '.join(words)}: {done.stderr.strip()}")


@dataclass(frozen=True, slots=True)
class Seen:
    """Somebody saw something: at that monotonic time, s, of what member or key."""

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
        """Tell it something."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def since(self, at: float, word: str, what: str) -> float | None:
        """When it first saw something after a time, s."""
        return next((seen.at for seen in self.seen if seen.at >= at and (seen.word, seen.what) == (word, what)), None)

    def usage(self) -> tuple[float, int]:
        """CPU seconds used and bytes resident. Source: proc(5)."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / _TICKS_PER_S, int(stat[21]) * _PAGE_BYTES


class Cluster:
    """Agents of one kind in a namespace, from `with` on until their end.

    Args:
        kind: how to start them.
        namespace: where.
    """

    def __init__(self, kind: "Kind", namespace: Namespace) -> None:
        self.kind = kind
        self.agents: dict[str, Agent] = {}
        self._namespace = namespace
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
            with suppress(ProcessLookupError):
                agent.process.kill()
        for agent in self.agents.values():
            agent.process.wait()
        self._reader.join()
        self._selector.close()

    def start(self, name: str | None = None) -> Agent:
        """One more agent, or one that was there before."""
        if name is None:
            self._started += 1
            name = f"n{self._started}"
        host = f"127.0.1.{name[1:]}"
        command = self._namespace.command(*self.kind.command(name, host, "127.0.1.1" if name != "n1" else None))
        at = time.monotonic()
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        agent = self.agents[name] = Agent(name, process, self.kind.parse, at)
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        self._selector.register(process.stdout, selectors.EVENT_READ, (agent, bytearray()))
        return agent

    def kill(self, name: str) -> float:
        """End an agent without a word. Returns when."""
        at = time.monotonic()
        self.agents[name].process.kill()
        self.agents[name].process.wait()
        return at

    def signal(self, name: str, number: signal.Signals) -> float:
        """Send an agent a signal. Returns when."""
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
        """Wait until something is seen to be so. Returns when, s.

        Raises:
            BenchError: it was not so in time.
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


@dataclass(frozen=True, slots=True)
class Kind:
    """What a cluster is made of.

    Args:
        name: for tables.
        command: gives the command of an agent, by its name, address, and that of the first.
        parse: turns a line of output into a word and what it is about.
        leave: the line, or the signal, that makes an agent leave.
    """

    name: str
    command: Callable[[str, str, str | None], Sequence[str]]
    parse: Callable[[str], tuple[str, str] | None]
    leave: str | signal.Signals


def serf(key: bytes | None = None) -> Kind:
    """Serf's agents, with the settings of a LAN."""
    sealed = ["-encrypt", _base64(key)] if key else []

    def command(name: str, host: str, seed: str | None) -> list[str]:
        join = ["-retry-join", f"{seed}:{_PORT}", "-retry-interval", "200ms"] if seed else []
        bind = [f"-bind={host}:{_PORT}", f"-rpc-addr={host}:7373"]
        return ["serf", "agent", f"-node={name}", *bind, "-profile=lan", "-log-level=info", *sealed, *join]

    def parse(line: str) -> tuple[str, str] | None:
        if "Serf agent running" in line:
            return "up", ""
        found = _SERF_LINE.search(line)
        if found is None:
            return None
        if found["suspect"]:
            return "suspected", found["suspect"]
        return _SERF_WORDS[found["event"]], found["name"]

    return Kind("serf sealed" if key else "serf", command, parse, signal.SIGINT)


def ours(profile: str = "lan", key: bytes | None = None) -> Kind:
    """Our nodes, one a process."""
    sealed = ["--key", key.hex()] if key else []

    def command(name: str, host: str, seed: str | None) -> list[str]:
        join = ["--seed", f"{seed}:{_PORT}"] if seed else []
        words = [sys.executable, "-m", "bench.gossip.member", name, host, "--profile", profile]
        return [*words, *sealed, *join]

    def parse(line: str) -> tuple[str, str] | None:
        word, _, what = line.partition(" ")
        return (word, what) if word in _OUR_WORDS else None

    suffix = {"lan": "", "fast": " fast"}[profile]
    return Kind(f"skvaller{suffix}{' sealed' if key else ''}", command, parse, "leave")


_OUR_WORDS: Final = {"up", "joined", "suspected", "recovered", "failed", "left", "holds"}


def _base64(key: bytes) -> str:
    import base64

    return base64.b64encode(key).decode()


def _counter(text: str, protocol: str, name: str) -> int:
    """One of the kernel's counters, whose names stand in one line and values in the next."""
    lines = [line.split() for line in text.splitlines() if line.startswith(f"{protocol}:")]
    return int(lines[1][lines[0].index(name)])
