"""A call by gRPC, whose other end is in memory: what is asked, what counts as an answer, and what fails."""

from collections.abc import Callable, Sequence

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived
from hyperframe.frame import PushPromiseFrame
from hypothesis import given
from hypothesis import strategies as st

from mirror.grpc_call import Call, CallFailed, Status

MOST = 100_000
ANSWERED = [(":status", "200"), ("content-type", "application/grpc+proto")]
WELL = [("grpc-status", "0")]
STREAM = 1


def framed(message: bytes, *, compressed: int = 0, length: int | None = None) -> bytes:
    return bytes([compressed]) + (len(message) if length is None else length).to_bytes(4, "big") + message


class Server:
    """The other end of one call."""

    def __init__(self) -> None:
        self.connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.connection.initiate_connection()
        self.headers: dict[str, str] = {}
        self.request = b""

    def take(self, call: Call) -> None:
        for event in self.connection.receive_data(call.to_send()):
            if isinstance(event, RequestReceived):
                self.headers = {str(name): str(value) for name, value in event.headers}
            elif isinstance(event, DataReceived):
                self.request += event.data

    def answer(self, body: bytes, trailers: Sequence[tuple[str, str]] = WELL) -> None:
        self.connection.send_headers(STREAM, ANSWERED)
        self.connection.send_data(STREAM, body)
        self.connection.send_headers(STREAM, trailers, end_stream=True)

    def sent(self) -> bytes:
        return self.connection.data_to_send()


def made(message_bytes_max: int = MOST) -> tuple[Call, Server]:
    call = Call("a.B/C", b"asked", metadata=[("name", "k8s.io")], timeout_s=2.5, message_bytes_max=message_bytes_max)
    server = Server()
    server.take(call)
    return call, server


def test_a_request_says_what_is_asked_and_for_how_long() -> None:
    _, server = made()
    assert server.request == framed(b"asked")
    expected = {":method": "POST", ":path": "/a.B/C", "te": "trailers", "content-type": "application/grpc"}
    assert expected.items() <= server.headers.items()
    assert (server.headers["name"], server.headers["grpc-timeout"]) == ("k8s.io", "2500m")


@given(st.lists(st.binary(max_size=300), max_size=4), st.integers(1, 50))
def test_messages_come_whole_however_the_bytes_are_cut(messages: list[bytes], piece: int) -> None:
    call, server = made()
    server.answer(b"".join(map(framed, messages)))
    sent, found = server.sent(), list[bytes]()
    for start in range(0, len(sent), piece):
        assert not call.is_over
        found += call.receive(sent[start : start + piece])
    assert (found, call.is_over) == (messages, True)


def test_an_answer_that_is_larger_than_what_may_be_sent_at_once_goes_on() -> None:
    call, server = made(message_bytes_max=1_000_000)
    server.connection.send_headers(STREAM, ANSWERED)
    body, found = framed(b"x" * 900_000), list[bytes]()
    while body:
        room = min(server.connection.local_flow_control_window(STREAM), 16_384)
        server.connection.send_data(STREAM, body[:room])
        body = body[room:]
        found += call.receive(server.sent())
        server.take(call)
    assert [len(message) for message in found] == [900_000]


def test_a_server_that_pings_is_answered() -> None:
    call, server = made()
    server.sent()
    server.connection.ping(b"12345678")
    assert call.receive(server.sent()) == []
    assert b"12345678" in call.to_send()


def refuse(server: Server) -> None:
    server.connection.send_headers(
        STREAM, [*ANSWERED, ("grpc-status", "12"), ("grpc-message", "unknown service a.B%0Aand more")], end_stream=True
    )


def fail_at_the_end(server: Server) -> None:
    server.answer(framed(b"one"), [("grpc-status", "7"), ("grpc-message", "no, %C3%A9 is not for you")])


def speak_http(server: Server) -> None:
    server.connection.send_headers(STREAM, [(":status", "404"), ("content-type", "text/plain")])


def go_without_status(server: Server) -> None:
    server.connection.send_headers(STREAM, ANSWERED)
    server.connection.send_data(STREAM, framed(b"one"), end_stream=True)


def end_early(server: Server) -> None:
    server.answer(framed(b"one", length=9))


def compress(server: Server) -> None:
    server.answer(framed(b"one", compressed=1))


def claim_too_much(server: Server) -> None:
    server.answer(framed(b"one", length=MOST + 1))


@pytest.mark.parametrize(
    ("deed", "status", "reason"),
    [
        (refuse, Status.UNIMPLEMENTED, "^unimplemented: unknown service a.B$"),
        (fail_at_the_end, Status.PERMISSION_DENIED, "no, é is not for you"),
        (lambda server: server.answer(b"", [("grpc-status", "99")]), Status.UNKNOWN, "no details"),
        (speak_http, Status.UNKNOWN, "HTTP status 404"),
        (go_without_status, Status.INTERNAL, "has no status"),
        (end_early, Status.INTERNAL, "ends within a message"),
        (compress, Status.INTERNAL, "compressed"),
        (claim_too_much, Status.RESOURCE_EXHAUSTED, f"{MOST + 1} bytes; allowed are {MOST}"),
        (lambda server: server.connection.reset_stream(STREAM, ErrorCodes.CANCEL), Status.UNAVAILABLE, "cancel"),
        (lambda server: server.connection.close_connection(), Status.UNAVAILABLE, "no_error"),
    ],
)
def test_what_is_no_answer_fails_the_call_and_says_why(
    deed: Callable[[Server], None], status: Status, reason: str
) -> None:
    call, server = made()
    deed(server)
    with pytest.raises(CallFailed, match=reason) as failed:
        call.receive(server.sent())
    assert failed.value.status is status


@pytest.mark.parametrize(
    "junk", [b"", b"HTTP/1.0 400 Bad Request\r\n\r\n", b"\xff" * 9, b"\0\0\5\1\4\0\0\0\1\xff\xff\xff\xff\xff"]
)
def test_other_bytes_fail_the_call(junk: bytes) -> None:
    call, _ = made()
    with pytest.raises(CallFailed):
        assert [call.receive(came) for came in (junk, b"")]


def test_a_server_pushes_nothing_that_nobody_asked_for() -> None:
    call, server = made()
    pushed = PushPromiseFrame(STREAM, promised_stream_id=2, data=b"\x82", flags=["END_HEADERS"])
    with pytest.raises(CallFailed, match="no HTTP/2"):
        call.receive(server.sent() + pushed.serialize())
