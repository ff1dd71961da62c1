"""Questions to a server on a host, one after the other on one connection, with the times of the answers."""

import http.client
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from testbed.network import Address, Host, inside

TIMEOUT_S: Final = 30.0
"""How long an answer, or a part of it, may take by default, seconds: more than any mode waits for a lost host."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Args:
        status: of HTTP; 0 if there was no whole answer.
        body: all of it.
        asked_at: monotonic time before the question, seconds.
        answered_at: monotonic time when the answer had come, or the question had failed, seconds.
    """

    status: int
    body: bytes
    asked_at: float
    answered_at: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.answered_at - self.asked_at


class Asker:
    """Asks one server from one host; for one thread at a time.

    Args:
        host: from which it asks.
        address: HOST:PORT of the server.
        timeout_s: how long an answer, or a part of it, may take, seconds.
    """

    def __init__(self, host: Host, address: str, timeout_s: float = TIMEOUT_S) -> None:
        name, _, port = address.rpartition(":")
        self._host = host
        self._timeout_s = timeout_s
        self._address = Address(name, int(port))
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str) -> Answer:
        """Ask, on a new connection if the last question failed or the server closed it."""
        asked_at = time.monotonic()
        status, body = 0, b""
        try:
            connection = self._connected()
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
            status = answer.status
        except (OSError, http.client.HTTPException):
            self.close()
        return Answer(status, body, asked_at, time.monotonic())

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(OSError):
                connection.close()

    def _connected(self) -> http.client.HTTPConnection:
        """A socket stays in the namespace in which it was made, so only connecting needs to be there."""
        if self._connection is None or self._connection.sock is None:
            connection = http.client.HTTPConnection(*self._address, timeout=self._timeout_s)
            inside(self._host.netns, connection.connect)
            self._connection = connection
        return self._connection
