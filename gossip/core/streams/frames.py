"""The bytes of a stream as a greeting and frames, within bounds.

frame = length of the rest (4 bytes, big-endian, at most 1.1 MiB), sealed or plain packet
refusal = 0xffffff, why (1 byte): the acceptor's last word to an opener whose packets it cannot take

A refusal bears no seal, so it is for people only: nothing rests on it. It tells what an overhearer sees anyway, and
only to who has opened a stream, so that it cannot be aimed at others.
"""

from typing import Final

from ..errors import Rejection, WireError
from ..packets.codec import USER_MAX_BYTES
from ..packets.seal import GREETING_BYTES

FRAME_MAX_BYTES: Final = USER_MAX_BYTES + 128 * 1024
"""Bytes of a frame behind its length: the longest message, and what is gathered before it. What is inflated is bounded
by the same."""
LENGTH_BYTES: Final = 4
_REFUSAL: Final = b"\xff\xff\xff"
"""What a refusal begins with: as a length it would be longer than any frame."""
_TOLD: Final = (Rejection.KEY, Rejection.SEAL, Rejection.CLUSTER, Rejection.VERSION, Rejection.KIND)
"""The reasons that are told, by their place: append only."""
_RECEIVED_MAX_BYTES: Final = 128 * 1024 * 1024
"""Bytes that one half takes in a conversation: 1,000 filters for 30,000 keys each."""


class FrameReader:
    """Cuts what the other half sends into its parts."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._received_bytes = 0

    def feed(self, received: bytes) -> None:
        """Take bytes.

        Raises:
            WireError: the conversation is longer than allowed.
        """
        self._received_bytes += len(received)
        if self._received_bytes > _RECEIVED_MAX_BYTES:
            raise WireError(Rejection.SIZE, "the conversation is longer than any cluster needs")
        self._buffer += received

    def greeting(self) -> bytes | None:
        """The other half's greeting, once it is complete; ask for it once."""
        return self._take(GREETING_BYTES) if len(self._buffer) >= GREETING_BYTES else None

    def payload(self) -> bytes | None:
        """The next frame without its length, if it is complete.

        Raises:
            WireError: it is longer than allowed.
        """
        if len(self._buffer) < LENGTH_BYTES:
            return None
        size = int.from_bytes(self._buffer[:LENGTH_BYTES], "big")
        if size > FRAME_MAX_BYTES:
            raise WireError(Rejection.SIZE, "the frame is longer than allowed")
        if len(self._buffer) < LENGTH_BYTES + size:
            return None
        del self._buffer[:LENGTH_BYTES]
        return self._take(size)

    def refusal(self) -> Rejection | None:
        """Why the other half takes nothing of this one, if it says so."""
        if len(self._buffer) < LENGTH_BYTES or not self._buffer.startswith(_REFUSAL):
            return None
        code = self._buffer[len(_REFUSAL)]
        return _TOLD[code] if code < len(_TOLD) else None

    def discard(self) -> None:
        """Drop what has arrived and was not taken yet."""
        self._buffer.clear()

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken


def frame(payload: bytes) -> bytes:
    """A frame around a sealed or plain packet."""
    return len(payload).to_bytes(LENGTH_BYTES, "big") + payload


def refusal(reason: Rejection) -> bytes:
    """What is said to an opener whose packets cannot be taken; nothing if the reason is not told."""
    return _REFUSAL + bytes((_TOLD.index(reason),)) if reason in _TOLD else b""
