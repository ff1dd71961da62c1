"""The head of a request, cut out of what a connection sends, within bounds. Pure."""

_END = b"\r\n\r\n"

_BLANK_MAX_BYTES = 4
"""Bounds what is skipped before a head, in bytes: old clients send an empty line after a body; two do no harm."""


class HeadError(Exception):
    """What a connection sends is no head of a request that can be answered.

    Args:
        status: the status code to answer with.
        message: what is wrong, and what is allowed.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Heads:
    """Holds what a connection has sent and nobody has taken yet, and gives out a head at a time.

    Args:
        bytes_max: bounds a head, in bytes, with the empty line after it.
        lines_max: bounds its lines, with that of the request.
    """

    def __init__(self, bytes_max: int, lines_max: int) -> None:
        self._bytes_max = bytes_max
        self._lines_max = lines_max
        self._held = bytearray()
        self._searched = 0
        """Up to here there is no end of a head."""
        self._blank = 0
        """Bytes that were skipped since the last head."""

    def __len__(self) -> int:
        return len(self._held)

    def add(self, part: bytes) -> None:
        """Take what has come."""
        self._held += part

    def clear(self) -> None:
        """Forget what has come."""
        self._held = bytearray()
        self._searched = 0

    def take(self, count: int) -> bytes:
        """Give out the first bytes that have come, at most `count`."""
        part = bytes(self._held[:count])
        del self._held[:count]
        self._searched = 0
        return part

    def next(self) -> bytes | None:
        """Give out the next head with the empty line after it; None until all of it has come.

        Empty lines before it are skipped (RFC 9112 section 2.2).

        Raises:
            HeadError: it is too large, or what has come cannot be the beginning of one.
        """
        if self._held.startswith((b"\r", b"\n")):
            blank = len(self._held)
            self._held, self._searched = self._held.lstrip(b"\r\n"), 0
            self._blank += blank - len(self._held)
            if self._blank > _BLANK_MAX_BYTES:
                raise HeadError(400, "a request begins with its method, not with empty lines")
        if not self._held:
            return None
        if not self._held[:1].isalpha():
            raise HeadError(400, "this is no HTTP request")
        end = self._held.find(_END, max(0, self._searched - len(_END) + 1), self._bytes_max)
        if end < 0:
            if len(self._held) >= self._bytes_max:
                raise HeadError(431, f"the head of a request has more than {self._bytes_max} bytes")
            self._searched = len(self._held)
            return None
        head = self.take(end + len(_END))
        self._blank = 0
        ends = head.count(b"\n")
        if ends - 1 > self._lines_max:
            raise HeadError(431, f"the head of a request has more than {self._lines_max} lines")
        if ends != head.count(b"\r\n"):
            raise HeadError(400, "a line of the request's head does not end with CR LF")
        return head
