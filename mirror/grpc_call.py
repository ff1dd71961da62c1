"""One call by gRPC, without input and output: bytes of a connection in, messages out. HTTP/2 is the library's.

A call has a connection of its own, for it goes to a socket of this machine: there to connect costs nothing, and a call
that is given up ends with its connection. The C library of gRPC does the same with 10 MiB and several threads. Messages
come uncompressed, for nothing else is asked for.

Source: gRPC, doc/PROTOCOL-HTTP2.md and doc/statuscodes.md; h2, "Writing your own HTTP/2 client".
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Final
from urllib.parse import unquote

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings

READ_BYTES: Final = 64 * 1024
"""How much of a connection is read at once, bytes: what a server may send before it hears from us, four frames."""

_PREFIX_BYTES: Final = 5
"""Before each message: a byte that says whether it is compressed, and its length."""
_DETAILS_MAX: Final = 300
"""Bounds what is shown of a server's reasons, characters: they become one line of the log."""


class Status(IntEnum):
    """How a call ended."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class CallFailed(Exception):
    """The server refused the call, or sent what is no answer to it.

    Args:
        status: what it says, or what gRPC's own clients would say.
        details: one line.
    """

    def __init__(self, status: Status, details: str) -> None:
        shown = (details or "no details").partition("\n")[0][:_DETAILS_MAX]
        super().__init__(f"{status.name.lower()}: {shown}")
        self.status = status


class Call:
    """One request, and the messages that answer it.

    Args:
        method: `package.Service/Method`.
        request: its message.
        metadata: further headers.
        timeout_s: after which the server gives up; None: never. The caller has to watch the time itself as well.
        message_bytes_max: bounds one message of the answer.
    """

    def __init__(
        self,
        method: str,
        request: bytes,
        *,
        metadata: Sequence[tuple[str, str]] = (),
        timeout_s: float | None = None,
        message_bytes_max: int,
    ) -> None:
        self._message_bytes_max = message_bytes_max
        self._buffer = bytearray()
        self._is_answered = False
        self._status: Status | None = None
        self._connection = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._connection.local_settings = Settings(client=True, initial_values={SettingCodes.ENABLE_PUSH: 0})
        self._connection.initiate_connection()
        self._stream = self._connection.get_next_available_stream_id()
        timeout = [] if timeout_s is None else [("grpc-timeout", f"{round(1000 * timeout_s)}m")]
        fixed = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", f"/{method}"),
            (":authority", "localhost"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
        ]
        self._connection.send_headers(self._stream, [*fixed, *timeout, *metadata])
        prefix = b"\0" + len(request).to_bytes(_PREFIX_BYTES - 1, "big")
        self._connection.send_data(self._stream, prefix + request, end_stream=True)

    @property
    def is_over(self) -> bool:
        """Whether the server has said that all went well. Nothing comes any more then."""
        return self._status is Status.OK

    def to_send(self) -> bytes:
        """What is to be sent now: the request at first, later what HTTP/2 wants to be answered."""
        return self._connection.data_to_send()

    def receive(self, received: bytes) -> list[bytes]:
        """Take what came, and return the messages that are complete by that; nothing came: the connection was closed.

        Raises:
            CallFailed: the call has failed. Messages that came before in the same bytes are lost.
        """
        if not received:
            raise CallFailed(Status.UNAVAILABLE, "the connection was closed")
        try:
            for event in self._connection.receive_data(received):
                self._take(event)
        except H2Error as error:
            raise CallFailed(Status.UNAVAILABLE, f"this is no HTTP/2: {error or type(error).__name__}") from error
        messages = self._messages()
        if self.is_over and self._buffer:
            raise CallFailed(Status.INTERNAL, "the answer ends within a message")
        return messages

    def _take(self, event: Event) -> None:
        match event:
            case ResponseReceived(headers=headers):
                self._begin(_texts(headers))
            case DataReceived(data=data, flow_controlled_length=length):
                self._connection.acknowledge_received_data(length, self._stream)
                self._buffer += data
            case TrailersReceived(headers=headers):
                self._end(_texts(headers))
            case StreamEnded() if self._status is None:
                raise CallFailed(Status.INTERNAL, "the answer has no status")
            case StreamReset(error_code=code) | ConnectionTerminated(error_code=code) if not self.is_over:
                raise CallFailed(Status.UNAVAILABLE, f"the server ended the call: {_name(code)}")

    def _begin(self, headers: Mapping[str, str]) -> None:
        """The answer begins; one without messages ends here, too."""
        if headers.get(":status") != "200" or not headers.get("content-type", "").startswith("application/grpc"):
            raise CallFailed(Status.UNKNOWN, f"this is no answer by gRPC: HTTP status {headers.get(':status')}")
        if "grpc-status" in headers:
            self._end(headers)

    def _end(self, headers: Mapping[str, str]) -> None:
        number = headers.get("grpc-status", "")
        status = Status(int(number)) if number in _STATUSES else Status.UNKNOWN
        if status is not Status.OK:
            raise CallFailed(status, unquote(headers.get("grpc-message", "")))
        self._status = status

    def _messages(self) -> list[bytes]:
        """Cut what came into messages."""
        found, buffer = [], self._buffer
        while len(buffer) >= _PREFIX_BYTES:
            end = _PREFIX_BYTES + (length := int.from_bytes(buffer[1:_PREFIX_BYTES], "big"))
            if buffer[0]:
                raise CallFailed(Status.INTERNAL, "a message is compressed, which was not asked for")
            if length > self._message_bytes_max:
                reason = f"a message has {length} bytes; allowed are {self._message_bytes_max}"
                raise CallFailed(Status.RESOURCE_EXHAUSTED, reason)
            if len(buffer) < end:
                break
            found.append(bytes(buffer[_PREFIX_BYTES:end]))
            del buffer[:end]
        return found


_STATUSES: Final = frozenset(str(status.value) for status in Status)


def _texts(headers: Sequence[tuple[bytes | str, bytes | str]] | None) -> dict[str, str]:
    """Headers as text. One that is not UTF-8 is shown as well as it can be."""
    return {_text(name): _text(value) for name, value in headers or ()}


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode(errors="replace")


def _name(code: ErrorCodes | int | None) -> str:
    return code.name.lower() if isinstance(code, ErrorCodes) else f"code {code}"
