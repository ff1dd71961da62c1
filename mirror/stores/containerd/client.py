"""The calls that a reader of containerd's store makes, over gRPC on containerd's unix socket.

They read, but for those about leases: these are the only ones that write. Every call names the namespace in its
metadata. Every call but the stream of events has a deadline. An error of the transport, of containerd or of an answer
is a ContainerdError: the caller drops the connection and makes a new one, unless it is Refused. This is the only module
that imports gRPC.

Source: containerd, api/services/*/v1; docs/namespaces.md for the metadata header.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import grpc
import grpc.aio

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

_SERVICES = "/containerd.services"
_OPTIONS: Final = (
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    # Subchannels that the whole process shares would add their own back-off to ours.
    ("grpc.use_local_subchannel_pool", 1),
)


class ContainerdError(Exception):
    """containerd cannot be reached, refused a call, or gave an answer that cannot be read; one line for the log."""


class Refused(ContainerdError):
    """containerd answers, but does not do what it was asked: it does not know the call, or may not, or cannot."""


_LOST: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
"""What a call ends with if containerd does not answer it."""


class Client:
    """A connection to containerd, which is made at the first call; use it with `async with`.

    Args:
        socket: absolute path of containerd's gRPC socket.
        namespace: the one whose images and content are asked for.
        settings: bounds on calls and messages.
    """

    def __init__(self, socket: Path, namespace: str, settings: ContainerdSettings) -> None:
        options = (*_OPTIONS, ("grpc.max_receive_message_length", settings.answer_bytes_max))
        self._channel = grpc.aio.insecure_channel(f"unix:{quote(str(socket))}", options=options)
        self._timeout_s = settings.call_timeout_s
        self._metadata = (("containerd-namespace", namespace),)
        self._namespace = namespace

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._channel.close()

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
        call = self._channel.unary_stream(f"{_SERVICES}.content.v1.Content/List")
        with _translated():
            async for answer in call(encode_request(()), metadata=self._metadata, timeout=self._timeout_s):
                yield decode_blobs(answer)

    async def events(self) -> AsyncIterator[Event]:
        """Follow what happens to the namespace's images and content, until the connection breaks.

        containerd does not tell when the subscription begins, so the first events may be missed.
        """
        topics = f'namespace=={self._namespace},topic~="^/(images|content)/"'
        call = self._channel.unary_stream(f"{_SERVICES}.events.v1.Events/Subscribe")
        with _translated():
            async for answer in call(encode_request((topics,)), metadata=self._metadata):
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
        call = self._channel.unary_unary(f"{_SERVICES}.{method}")
        answer: bytes = await call(request, metadata=self._metadata, timeout=self._timeout_s)
        return answer


@contextmanager
def _translated() -> Iterator[None]:
    """Turn gRPC's and the decoder's errors into ours."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        kind = ContainerdError if error.code() in _LOST else Refused
        raise kind(f"{error.code().name.lower()}: {_first_line(error.details())}") from None
    except ValueError as error:
        raise ContainerdError(str(error)) from None


def _first_line(details: Any) -> str:
    return str(details or "no details").partition("\n")[0][:300]
