"""The headers of content: what clients and caches conclude from them."""

import pytest

from mirror.app.blob import blob_headers
from mirror.oci.digest import Digest

DIGEST = Digest.of(b"content")


def test_the_whole_is_200_and_named_by_its_digest() -> None:
    status, headers = blob_headers(DIGEST, "application/octet-stream", 1234)
    assert status == 200
    assert dict(headers) == {
        b"content-type": b"application/octet-stream",
        b"content-length": b"1234",
        b"docker-content-digest": str(DIGEST).encode(),
        b"etag": f'"{DIGEST}"'.encode(),
        b"accept-ranges": b"bytes",
    }


@pytest.mark.parametrize(
    ("wanted", "length", "content_range"),
    [
        ((0, 1), b"1", b"bytes 0-0/1234"),
        ((1233, 1234), b"1", b"bytes 1233-1233/1234"),
        ((100, 1234), b"1134", b"bytes 100-1233/1234"),
        ((0, 1234), b"1234", b"bytes 0-1233/1234"),
    ],
)
def test_a_range_is_206_even_where_it_is_the_whole(
    wanted: tuple[int, int], length: bytes, content_range: bytes
) -> None:
    status, headers = blob_headers(DIGEST, "application/octet-stream", 1234, wanted)
    assert status == 206
    assert dict(headers)[b"content-length"] == length
    assert dict(headers)[b"content-range"] == content_range


def test_nothing_at_all_is_content_too() -> None:
    status, headers = blob_headers(DIGEST, "application/octet-stream", 0)
    assert (status, dict(headers)[b"content-length"]) == (200, b"0")
