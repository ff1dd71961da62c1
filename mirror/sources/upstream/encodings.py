"""Bodies that come compressed though nobody asked for that: some proxies compress all JSON that they pass on.

Source: RFC 9110 section 8.4.1 (content codings).
"""

import zlib

from ...errors import Reason, UpstreamError
from .transport import Answer

_EITHER = zlib.MAX_WBITS | 32
"""Tells zlib to read the header of either gzip or zlib."""
_KNOWN = frozenset({"gzip", "x-gzip", "deflate"})


def decoded(answer: Answer, body: bytes, max_bytes: int) -> bytes:
    """A body as it was before it was compressed; the body itself if the answer does not say that it is.

    Raises:
        UpstreamError: broken, or length: it would have more than `max_bytes`.
    """
    if not answer.is_encoded:
        return body
    coding = answer.headers.get("Content-Encoding", "").strip().lower()
    server = answer.url.origin()
    if coding not in _KNOWN:
        raise UpstreamError(Reason.BROKEN, f"{server} sends a body in an encoding that this agent does not know")
    inflater = zlib.decompressobj(_EITHER)
    try:
        plain = inflater.decompress(body, max_bytes + 1)
    except zlib.error:
        raise UpstreamError(Reason.BROKEN, f"{server} sends what is not compressed as it says") from None
    if len(plain) > max_bytes:
        raise UpstreamError(Reason.LENGTH, f"{server} sends more than {max_bytes} bytes")
    if not inflater.eof:
        raise UpstreamError(Reason.BROKEN, f"{server} sends a compressed body without its end")
    return plain
