"""Something answers at containerd's address that does not behave like containerd."""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import grpc
import grpc.aio
import pytest

from mirror.stores.containerd import ContainerdStore

JUNK = b"\xff" * 20


class Impostor(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """A gRPC server with one answer to each method: bytes, or None to stay silent. Other methods it does not know."""

    def __init__(self, answers: dict[str, bytes | None]) -> None:
        self._answers = answers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        method = handler_call_details.method.partition("services.")[2]
        if method not in self._answers:
            return None
        answer = self._answers[method]

        async def once(request: bytes, context: object) -> bytes:
            if answer is None:
                await asyncio.Event().wait()
            return answer or b""

        async def stream(request: bytes, context: object) -> AsyncIterator[bytes]:
            yield await once(request, context)

        if method in ("content.v1.Content/List", "events.v1.Events/Subscribe"):
            return grpc.unary_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(once)


class Nobody:
    """A listener to which nothing may be reported."""

    def appeared(self, keys: Collection[bytes]) -> None:
        pytest.fail("reported content")

    def vanished(self, keys: Collection[bytes]) -> None:
        pytest.fail("reported content")


def field(number: int, body: bytes) -> bytes:
    return bytes([number << 3 | 2, len(body)]) + body


ROOTLESS = field(1, field(1, b"io.containerd.content.v1") + field(2, b"content"))
PLUGINS = field(1, field(5, field(1, b"root") + field(2, b"/nowhere")))
SILENT: dict[str, bytes | None] = {
    "introspection.v1.Introspection/Plugins": PLUGINS,
    "images.v1.Images/List": None,
    "content.v1.Content/List": None,
    "events.v1.Events/Subscribe": None,
}


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({}, "unimplemented"),
        ({"introspection.v1.Introspection/Plugins": ROOTLESS}, "names no root folder"),
        ({"introspection.v1.Introspection/Plugins": JUNK}, "no PluginsResponse"),
        (SILENT | {"images.v1.Images/List": JUNK}, "no ListImagesResponse"),
        (SILENT | {"images.v1.Images/List": b"", "content.v1.Content/List": JUNK}, "no ListContentResponse"),
        (SILENT | {"events.v1.Events/Subscribe": JUNK}, "no Envelope"),
        (SILENT | {"events.v1.Events/Subscribe": b""}, "closed the stream of events"),
    ],
)
def test_an_answer_that_makes_no_sense_is_a_lost_connection_and_a_line_in_the_log(
    answers: dict[str, bytes | None], reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="mirror.stores.containerd")
    socket = tmp_path / "s"

    async def check() -> None:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((Impostor(answers),))
        server.add_insecure_port(f"unix:{socket}")
        await server.start()
        store = ContainerdStore(socket)
        try:
            await store.start(Nobody())
        finally:
            await store.close()
            await server.stop(None)

    asyncio.run(check())
    (line,) = [record for record in caplog.records if record.name.startswith("mirror.stores.containerd")]
    assert (line.levelno, line.exc_info) == (logging.WARNING, None)
    assert reason in line.getMessage()


def test_a_listener_that_speaks_no_grpc_is_a_lost_connection_too(tmp_path: Path) -> None:
    socket = tmp_path / "s"

    async def check() -> None:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")
            writer.close()

        async with await asyncio.start_unix_server(talk, socket):
            store = ContainerdStore(socket)
            async with asyncio.timeout(10):
                await store.start(Nobody())
                assert not store.connected
                await store.close()

    asyncio.run(check())
