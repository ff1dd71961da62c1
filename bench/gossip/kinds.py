"""What a cluster of real processes is made of: serf's agents, or nodes of ours."""

import base64
import re
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

_PORT: Final = 7946
_SERF_LINE: Final = re.compile(
    r"EventMember(?P<event>Join|Failed|Leave): (?P<name>\S+)|Suspect (?P<suspect>\S+) has failed"
)
_SERF_WORDS: Final = {"Join": "joined", "Failed": "failed", "Leave": "left"}
_OUR_WORDS: Final = {"up", "joined", "suspected", "recovered", "failed", "left", "holds"}


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
    sealed = ["-encrypt", base64.b64encode(key).decode()] if key else []

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
