"""`helm test`: whether each agent behind the service's name is ready, and all of them know each other.

It asks their metrics endpoints, as Prometheus does, so it needs no rights and no key.
"""

import http.client
import ipaddress
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from ..addresses import Address
from ..errors import StartFailed

_TIMEOUT_S: Final = 5
"""Bounds one question, s."""
_AT_ONCE: Final = 16
"""Agents that are asked at the same time."""
_ANSWER_MAX_BYTES: Final = 4 * 1024 * 1024
"""Bounds an answer, in bytes: the metrics of an agent have some 100 KiB."""
_ALIVE: Final = re.compile(r'^skvaller_members\{state="alive"\} ([0-9]+)', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one agent says.

    Args:
        address: of its pod.
        members: that it knows to be alive, itself included; None if it does not say.
        problem: why it is not ready; empty if it is.
    """

    address: str
    members: int | None
    problem: str


def addresses_of(name: str, port: int, here: str | None) -> list[str]:
    """The addresses behind a name, sorted.

    Args:
        name: of the service.
        port: of the metrics.
        here: an address of this pod: agents listen at addresses of its family. None: those of both families are asked.

    Raises:
        StartFailed: there are none.
    """
    try:
        found = {str(place[0]) for *_, place in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)}
    except OSError as error:
        raise StartFailed(f"{name} has no address: {error.strerror}; are there pods of the agent at all?") from None
    return sorted(found if here is None else (it for it in found if (":" in it) == (":" in here)), key=_order)


def ask(address: str, port: int) -> Answer:
    """Ask one agent."""
    base = f"http://{Address(address, port)}"
    try:
        ready = _get(f"{base}/readyz")
        alive = _ALIVE.search(_get(f"{base}/metrics"))
    except (OSError, http.client.HTTPException) as error:
        return Answer(address, None, _said(error))
    complaint = ready.partition("\n")[2].strip()
    return Answer(address, int(alive[1]) if alive else None, complaint.replace("\n", "; "))


def ask_all(addresses: Sequence[str], port: int, asked: Callable[[str, int], Answer] = ask) -> list[Answer]:
    """Ask all agents, some at a time; the answers are in the order of the addresses."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(lambda address: asked(address, port), addresses))


def is_well(answers: Sequence[Answer]) -> bool:
    """Whether all are ready, and each knows as many members as there are."""
    return all(not it.problem and it.members is not None and it.members >= len(answers) for it in answers)


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
        return str(answer.read(_ANSWER_MAX_BYTES).decode())


def _said(error: Exception) -> str:
    """Why an agent did not answer, or what it answered."""
    if isinstance(error, urllib.error.HTTPError):
        return error.read(400).decode(errors="replace").strip() or f"status {error.code}"
    reason = getattr(error, "reason", error)
    return str(getattr(reason, "strerror", None) or reason)


def _order(address: str) -> tuple[int, int]:
    ip = ipaddress.ip_address(address)
    return ip.version, int(ip)
