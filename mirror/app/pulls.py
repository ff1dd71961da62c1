"""One line of the log for each pull: all that a client asks for under one name, until it asks no more for a while."""

import asyncio
import logging
import time
from contextlib import nullcontext
from dataclasses import dataclass
from operator import itemgetter

from starlette.types import Message, Scope, Send

from ..oci.reference import Reference, Repository
from ..settings import AppSettings
from .progress import ClientPull
from .request import RegistryRequest
from .zerocopy import EXTENSION

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Pull:
    """What one client asked for under one name.

    Args:
        image: with the first tag that was asked for, else the repository alone.
        client: its IP address; `unix` for one at a Unix socket.
        began_at: monotonic seconds.
        ended_at: when the last answer ended, monotonic seconds.
        under_way: requests that are being answered.
        requests: all.
        failed: those that were answered with an error.
        bytes: of bodies, as far as they were sent.
    """

    image: str
    client: str
    began_at: float
    ended_at: float
    under_way: int = 0
    requests: int = 0
    failed: int = 0
    bytes: int = 0

    def write(self) -> None:
        """Write its line."""
        log.info(
            "a client pulled image=%s client=%s requests=%d failed=%d bytes=%d seconds=%.3f",
            self.image,
            self.client,
            self.requests,
            self.failed,
            self.bytes,
            self.ended_at - self.began_at,
        )


class Following:
    """A request that is answered as a part of a pull. Its context gives what sends the answer.

    It is in the way of each manifest, so it is no generator: one takes 1.5 µs more.

    Args:
        pull: of the client.
        send: sends a message.
        is_head: whether no body leaves.
    """

    __slots__ = ("_is_head", "_pull", "_send")

    def __init__(self, pull: Pull, send: Send, *, is_head: bool) -> None:
        self._pull = pull
        self._send = send
        self._is_head = is_head

    def __enter__(self) -> Send:
        self._pull.under_way += 1
        self._pull.requests += 1
        return self.send

    def __exit__(self, *_: object) -> None:
        self._pull.under_way -= 1
        self._pull.ended_at = time.monotonic()

    async def send(self, message: Message) -> None:
        """Send a message, and count what it carries."""
        await self._send(message)
        kind = message["type"]
        if kind == "http.response.body":
            self._pull.bytes += 0 if self._is_head else len(message.get("body", b""))
        elif kind == EXTENSION:
            self._pull.bytes += message["count"]
        elif message["status"] >= 400:
            self._pull.failed += 1


class Pulls:
    """Follows the pulls of all clients.

    Args:
        settings: when a pull has ended, and how many are followed.
    """

    def __init__(self, settings: AppSettings) -> None:
        self._settings = settings
        self._pulls: dict[tuple[str, Repository], Pull] = {}
        self._look: asyncio.TimerHandle | None = None

    def following(self, scope: Scope, request: RegistryRequest, send: Send) -> "Following | nullcontext[Send]":
        """Follow a request while it is answered: a context that gives what sends the answer."""
        pull = self._pull(scope, request)
        return nullcontext(send) if pull is None else Following(pull, send, is_head=request.is_head)

    def now(self) -> list[ClientPull]:
        """What is followed, at this moment."""
        now = time.monotonic()
        return [
            ClientPull(
                repository=str(repository),
                image=pull.image,
                client=pull.client,
                seconds=now - pull.began_at,
                sent=pull.bytes,
                is_waiting=pull.under_way > 0,
            )
            for (_, repository), pull in self._pulls.items()
        ]

    def close(self) -> None:
        """Write the lines of all pulls."""
        if self._look is not None:
            self._look.cancel()
        while self._pulls:
            self._pulls.popitem()[1].write()

    def _pull(self, scope: Scope, request: RegistryRequest) -> Pull | None:
        """The pull that a request belongs to; None if too many others are under way."""
        client = scope["client"][0] if scope.get("client") else "unix"
        key, now = (client, request.repository), time.monotonic()
        pull = self._pulls.get(key)
        if pull is None:
            if len(self._pulls) >= self._settings.pulls_max and not self._make_room():
                return None
            pull = self._pulls[key] = Pull(str(request.repository), client, now, now)
        if isinstance(request.what, Reference) and pull.image == str(request.repository):
            pull.image = str(request.what)
        if self._look is None:
            self._look = asyncio.get_running_loop().call_later(self._settings.pull_quiet_s, self._end_quiet)
        return pull

    def _make_room(self) -> bool:
        """End the pull that is quiet for longest; return whether there was one."""
        quiet = [(pull.ended_at, key) for key, pull in self._pulls.items() if not pull.under_way]
        if quiet:
            self._pulls.pop(min(quiet, key=itemgetter(0))[1]).write()
        return bool(quiet)

    def _end_quiet(self) -> None:
        """End those of which nothing was asked for a while."""
        self._look = None
        before = time.monotonic() - self._settings.pull_quiet_s
        for key, pull in list(self._pulls.items()):
            if not pull.under_way and pull.ended_at <= before:
                self._pulls.pop(key).write()
        if self._pulls:
            self._look = asyncio.get_running_loop().call_later(self._settings.pull_quiet_s, self._end_quiet)
