"""One HTTP connection to an agent: one request at a time, and an error in the agent's own words."""

import contextlib
import http.client
import json
import socket
import ssl
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from ..errors import AgentError
from ..settings import ArchiveSettings

_BROKEN: Final = (ConnectionError, http.client.RemoteDisconnected, TimeoutError, ssl.SSLError)

Send = Callable[[socket.socket], None]
"""Sends a body."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A short answer.

    Args:
        status: of HTTP.
        headers: by lower-case name.
        body: bytes, within the bound that was given.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection:
    """Asks an agent. It is opened with the first request, and again if it was closed meanwhile.

    Args:
        url: `http://HOST:PORT`, `https://…`, or `unix:/PATH`.
        headers: of each request.
        settings: bounds.
    """

    def __init__(self, url: str, headers: Mapping[str, str], settings: ArchiveSettings) -> None:
        self.url = url
        self._headers = headers
        self._settings = settings
        self._connection = _connection(url, settings.silent_s)

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None, most: int = 0) -> Answer:
        """Send a request without a body; get its answer, of whose body at most `most` bytes are read."""
        return self.read(self.open(method, path, headers or {}), most)

    def open(self, method: str, path: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        """Send a request without a body, over a new connection if the old one was closed meanwhile."""
        for is_last in (self._connection.sock is None, True):
            try:
                self._connection.request(method, path, headers={**self._headers, **headers})
                return self._connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                if is_last or not isinstance(error, _BROKEN):
                    raise self._nobody(error) from None
        raise AssertionError("the loop returns or raises")

    def send(
        self,
        method: str,
        path: str,
        size: int,
        body: Send,
        media_type: str = "application/octet-stream",
    ) -> Answer:
        """Send a request with a body. If the registry answers before it has read it all, that is the answer."""
        try:
            self._connection.putrequest(method, path)
            for name, value in {**self._headers, "Content-Type": media_type, "Content-Length": str(size)}.items():
                self._connection.putheader(name, value)
            self._connection.endheaders()
            with contextlib.suppress(ConnectionError):
                body(self._connection.sock)
            return self.read(self._connection.getresponse())
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise self._nobody(error) from None

    def read(self, response: http.client.HTTPResponse, most: int = 0) -> Answer:
        """The whole of a short answer."""
        try:
            body = response.read(most or self._settings.answer_max_bytes)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise self._nobody(error) from None
        if not response.isclosed():
            self._connection.close()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)

    def _nobody(self, error: Exception) -> AgentError:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return AgentError(f"{self.url} ({reason})")

    def serves_no_images(self) -> AgentError:
        """What answers here is no registry: the address of `--listen-api`, for one."""
        return AgentError(f"{self.url} serves no images: name the agent's client endpoint (--listen) with --agent", 404)

    def error(self, answer: Answer, what: str) -> AgentError:
        """An answer that is an error, in the registry's own words."""
        try:
            text = str(json.loads(answer.body)["errors"][0]["message"])
        except (ValueError, KeyError, IndexError, TypeError):
            if answer.status == http.HTTPStatus.NOT_FOUND:
                return self.serves_no_images()
            text = http.client.responses.get(answer.status, "")
        return AgentError(f"{what}: {self.url} answers {answer.status}: {text}", answer.status)


def _connection(url: str, timeout_s: float) -> http.client.HTTPConnection:
    """A connection that is opened with the first request."""
    if url.startswith("unix:"):
        return _UnixConnection(url.removeprefix("unix:"), timeout_s)
    parts = urllib.parse.urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=timeout_s)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
