"""The body of a request, in parts: as they come, or all of them, within a bound."""

from collections.abc import AsyncGenerator

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from ...errors import ManifestTooLarge


async def parts(receive: Receive, part_bytes: int) -> AsyncGenerator[list[bytes], None]:
    """What comes of a body, some at a time.

    Args:
        receive: of the request.
        part_bytes: about how many bytes are given at a time.

    Raises:
        ClientDisconnect: the client left before the end; what had come was given.
    """
    batch: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        has_left = message["type"] == "http.disconnect"
        if not has_left and (part := message.get("body", b"")):
            batch.append(part)
            size += len(part)
        is_last = has_left or not message.get("more_body")
        if batch and (is_last or size >= part_bytes):
            yield batch
            batch, size = [], 0
        if has_left:
            raise ClientDisconnect
        if is_last:
            return


async def whole(receive: Receive, max_bytes: int, length: int | None) -> bytes:
    """A body that is held in memory.

    Args:
        receive: of the request.
        max_bytes: bounds it.
        length: that the client says it has.

    Raises:
        ManifestTooLarge: it is longer.
        ClientDisconnect: the client left before the end.
    """
    body = bytearray()
    if length is None or length <= max_bytes:
        async for batch in parts(receive, max_bytes + 1):
            body += b"".join(batch)
            if len(body) > max_bytes:
                break
        else:
            return bytes(body)
    raise ManifestTooLarge(f"a manifest has at most {max_bytes} bytes")
