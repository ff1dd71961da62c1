"""The calls that a reader of containerd's store makes, over gRPC on containerd's unix socket.

They read, but for those about leases: these are the only ones that write. Every call names the namespace in its
metadata. Every call but the stream of events has a deadline. An error of the transport, of containerd or of an answer
is a ContainerdError: the caller waits a while, and begins anew, unless it is Refused.

Source: containerd, api/services/*/v1; docs/namespaces.md for the metadata header.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Final

from ...grpc_call import READ_BYTES, Call, CallFailed, Status
from ...settings import ContainerdSettings
from .messages import (
    Blob,
    Event,
    Image,
    Lease,
    decode_blobs,
    decode_event,
    decode_images,
    decode_leases,
    decode_plugins,
    encode_lease,
    encode_request,
    encode_resource,
)

_SERVICES: Final = "containerd.services"


class ContainerdError(Exception):
    """containerd cannot be reached, refused a call, or gave an answer that cannot be read; one line for the log."""


class Refused(ContainerdError):
    """containerd answers, but does not do what it was asked: it does not know the call, or may not, or cannot."""


_LOST: Final = (Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED, Status.CANCELLED)
"""How a call ends that containerd did not answer."""


class Client:
    """Calls containerd, each time by a connection of its own.

    Args:
        socket: absolute path of containerd's gRPC socket.
        namespace: the one whose images and content are asked for.
        settings: bounds on calls and messages.
    """

    def __init__(self, socket: Path, namespace: str, settings: ContainerdSettings) -> None:
        self._socket = socket
        self._namespace = namespace
        self._settings = settings

    async def content_root(self) -> Path:
        """Ask in which folder the content store keeps its files."""
        with _translated():
            stores = encode_request(("type==io.containerd.content.v1",))
            answer = await self._unary("introspection.v1.Introspection/Plugins", stores)
            roots = [plugin.exports["root"] for plugin in decode_plugins(answer) if "root" in plugin.exports]
        if not roots:
            raise ContainerdError("its content store names no root folder")
        return Path(roots[0])

    async def images(self) -> list[Image]:
        """List the namespace's images."""
        with _translated():
            return decode_images(await self._unary("images.v1.Images/List"))

    async def blobs(self) -> AsyncIterator[list[Blob]]:
        """List the namespace's committed content, about a hundred at a time."""
        timeout_s = self._settings.call_timeout_s
        with _translated():
            async with aclosing(self._answers("content.v1.Content/List", b"", timeout_s)) as answers:
                async for answer in answers:
                    yield decode_blobs(answer)

    async def events(self) -> AsyncIterator[Event]:
        """Follow what happens to the namespace's images and content, until the connection breaks.

        containerd does not tell when the subscription begins, so the first events may be missed.
        """
        topics = encode_request((f'namespace=={self._namespace},topic~="^/(images|content)/"',))
        with _translated():
            async with aclosing(self._answers("events.v1.Events/Subscribe", topics, None)) as answers:
                async for answer in answers:
                    yield decode_event(answer)

    async def leases(self, label: str) -> list[Lease]:
        """List the leases of the namespace that have some label."""
        with _translated():
            return decode_leases(await self._unary("leases.v1.Leases/List", encode_request((f'labels."{label}"',))))

    async def create_lease(self, lease: Lease) -> None:
        """Create a lease; it keeps nothing yet."""
        with _translated():
            await self._unary("leases.v1.Leases/Create", encode_lease(lease))

    async def add_content(self, lease_id: str, digest: str) -> None:
        """Have a lease keep some content, whether that is here or not."""
        with _translated():
            await self._unary("leases.v1.Leases/AddResource", encode_resource(lease_id, digest))

    async def delete_lease(self, lease_id: str) -> None:
        """Delete a lease; containerd collects soon what only that kept."""
        with _translated():
            await self._unary("leases.v1.Leases/Delete", encode_lease(Lease(lease_id, {})))

    async def _unary(self, method: str, request: bytes = b"") -> bytes:
        """The one message that answers a call."""
        found: bytes | None = None
        timeout_s = self._settings.call_timeout_s
        async with aclosing(self._answers(method, request, timeout_s)) as answers:
            async for answer in answers:
                if found is not None:
                    raise ContainerdError(f"it answers {method} by several messages")
                found = answer
        if found is None:
            raise ContainerdError(f"it answers {method} by no message")
        return found

    async def _answers(self, method: str, request: bytes, timeout_s: float | None) -> AsyncGenerator[bytes, None]:
        """Make a call, and give the messages that answer it as they come."""
        call = Call(
            f"{_SERVICES}.{method}",
            request,
            metadata=[("containerd-namespace", self._namespace)],
            timeout_s=timeout_s,
            message_bytes_max=self._settings.answer_bytes_max,
        )
        ends_at = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
        async with asyncio.timeout_at(ends_at):
            reader, writer = await asyncio.open_unix_connection(self._socket)
        try:
            while not call.is_over:
                async with asyncio.timeout_at(ends_at):
                    writer.write(call.to_send())
                    await writer.drain()
                    received = await reader.read(READ_BYTES)
                for answer in call.receive(received):
                    yield answer
        finally:
            writer.transport.abort()


@contextmanager
def _translated() -> Iterator[None]:
    """Turn errors of the connection, of gRPC and of the decoder into ours."""
    try:
        yield
    except TimeoutError:
        raise ContainerdError("it does not answer in time") from None
    except OSError as error:
        raise ContainerdError(f"its socket: {error.strerror or error}") from None
    except CallFailed as failed:
        raise (ContainerdError if failed.status in _LOST else Refused)(str(failed)) from None
    except ValueError as error:
        raise ContainerdError(str(error)) from None
