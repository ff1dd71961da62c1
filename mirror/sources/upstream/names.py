"""Names of hosts, looked up by the C library in threads of their own, so that no lookup waits for another one.

Only the C library does all that a machine's resolver is set to do: /etc/hosts, nsswitch.conf, search domains, and the
split DNS of VPNs and systemd-resolved. But nobody can stop it, and where no name server answers, it takes 10 s and
more. A pool of threads that all lookups share is full then after a few of them. Here each name has a thread while it
is looked up, and whoever wants the same name waits for the same lookup, for a bounded time; then the thread goes on
alone, and what it finds is kept. Registries are never refused a thread, so the operator's list of them is their bound;
the other names, which registries choose, have a bound of their own.

An answer is used for a while without a question. After that it is still used while the name server does not give
another one: addresses of registries seldom change, and a dead name server is no reason to stop a pull.

Sources: getaddrinfo(3); RFC 8767 (answers that are kept beyond their time).
"""

import asyncio
import contextlib
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...settings import NameSettings

LookUp = Callable[..., Sequence[Any]]
"""`socket.getaddrinfo`, or what a test has instead of it: `(host, port, *, type, flags)`."""


class Address(NamedTuple):
    """An address of a host: AF_INET or AF_INET6, and its text."""

    family: socket.AddressFamily
    text: str


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a name last meant, and when that was found out, monotonic seconds."""

    addresses: tuple[Address, ...]
    at: float


@dataclass(frozen=True, slots=True)
class _Lookup:
    """A lookup under way, since when, and what it will have found."""

    found: asyncio.Future[tuple[Address, ...]]
    began_at: float


class Names:
    """Looks names up. Make it inside the event loop that uses it.

    Args:
        registries: hosts of registries, which may be looked up however many other lookups are under way.
        settings: times and bounds.
        look_up: what blocks until it has the addresses of a host.
    """

    def __init__(
        self, registries: Collection[str], settings: NameSettings, look_up: LookUp = socket.getaddrinfo
    ) -> None:
        self._registries = frozenset(registries)
        self._settings = settings
        self._look_up = look_up
        self._loop = asyncio.get_running_loop()
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self._failures: OrderedDict[str, tuple[Exception, float]] = OrderedDict()
        """The last error of a name, and until when nobody asks again."""
        self._lookups: dict[str, _Lookup] = {}

    async def addresses(self, host: str) -> Sequence[Address]:
        """The addresses of a host, at least one.

        Raises:
            OSError: there is no such name, or no answer in time.
            UnicodeError: no host can have that name.
        """
        now, settings = self._loop.time(), self._settings
        answer = self._answers.get(host)
        if answer is not None and now - answer.at < settings.fresh_s:
            return answer.addresses
        if answer is not None and now - answer.at >= settings.kept_s:
            answer = None
        try:
            return await self._ask(host, now, settings.wait_s if answer is None else settings.renewal_s)
        except OSError:
            if answer is None:
                raise
            return answer.addresses

    async def _ask(self, host: str, now: float, patience_s: float) -> Sequence[Address]:
        """What a lookup finds that has been under way for no longer than `patience_s`."""
        error, until = self._failures.get(host, (None, now))
        if error is not None and now < until:
            raise error.with_traceback(None)  # else it would grow with everybody who is told
        lookup = self._lookups.get(host) or self._begin(host, now)
        left_s = lookup.began_at + patience_s - now
        if left_s > 0:
            await asyncio.wait([lookup.found], timeout=left_s)
        if not lookup.found.done():
            raise socket.gaierror(socket.EAI_AGAIN, f"no name server answered within {patience_s:g} s")
        return lookup.found.result()

    def _begin(self, host: str, now: float) -> _Lookup:
        others = sum(name not in self._registries for name in self._lookups)
        if host not in self._registries and others >= self._settings.lookups_max:
            raise socket.gaierror(socket.EAI_AGAIN, f"{others} other names are being looked up")
        lookup = _Lookup(self._loop.create_future(), now)
        # It is no thread of a pool, and dies with the process: nobody can end it, and a pool would wait for it.
        try:
            threading.Thread(target=self._run, args=(host, lookup), name="look up", daemon=True).start()
        except RuntimeError:
            raise socket.gaierror(socket.EAI_AGAIN, "no thread can be started for the lookup") from None
        self._lookups[host] = lookup
        return lookup

    def _run(self, host: str, lookup: _Lookup) -> None:
        """In a thread: look up, and report, whatever happens: else nobody would look this name up again."""
        outcome: tuple[Address, ...] | Exception = socket.gaierror(socket.EAI_FAIL, "the lookup failed")
        try:
            outcome = _addresses(self._look_up(host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG))
        except (OSError, UnicodeError) as error:
            outcome = error
        finally:
            with contextlib.suppress(RuntimeError):  # the event loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._ended, host, lookup, outcome)

    def _ended(self, host: str, lookup: _Lookup, outcome: tuple[Address, ...] | Exception) -> None:
        """Keep what a lookup found, and wake up who waits for it."""
        del self._lookups[host]
        now, most = self._loop.time(), self._settings.names_max
        if isinstance(outcome, Exception):
            _keep(self._failures, host, (outcome, now + self._settings.failed_s), most)
            lookup.found.set_exception(outcome)
            lookup.found.exception()  # marks it as seen: perhaps nobody waits
        else:
            self._failures.pop(host, None)
            _keep(self._answers, host, _Answer(outcome, now), most)
            lookup.found.set_result(outcome)


def _addresses(found: Sequence[Any]) -> tuple[Address, ...]:
    """What `getaddrinfo` found, without the ports; the zone of a link-local address stays with it."""
    addresses = []
    for family, _, _, _, address in found:
        zone = f"%{address[3]}" if family == socket.AF_INET6 and address[3] else ""
        addresses.append(Address(family, f"{address[0]}{zone}"))
    return tuple(dict.fromkeys(addresses))


def _keep(table: OrderedDict[str, Any], host: str, value: Any, most: int) -> None:
    """Put a value into a table; the oldest one leaves where there are too many."""
    table[host] = value
    table.move_to_end(host)
    while len(table) > most:
        table.popitem(last=False)
