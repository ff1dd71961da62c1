"""Bytes as containerd's own protobuf code writes and reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.stores.containerd.messages import (
    Blob,
    Event,
    Image,
    Plugin,
    decode_blobs,
    decode_event,
    decode_images,
    decode_plugins,
    encode_request,
)

DIGEST = "sha256:" + "ab" * 32


def field(number: int, content: bytes | str) -> bytes:
    """A length-delimited field, written by hand; contents here are shorter than 16 KiB."""
    body = content.encode() if isinstance(content, str) else content
    length = bytes([len(body)]) if len(body) < 128 else bytes([len(body) & 127 | 128, len(body) >> 7])
    return bytes([number << 3 | 2]) + length + body


def test_a_request_carries_its_filters_in_field_1() -> None:
    assert encode_request(()) == b""
    assert encode_request(("id==a", "b")) == b"\x0a\x05id==a\x0a\x01b"


def test_images_are_read_and_fields_of_no_interest_skipped() -> None:
    target = field(1, "application/vnd.oci.image.index.v1+json") + field(2, DIGEST) + b"\x18\x83\x02" + field(5, "x")
    updated_at = b"\x08\x80\xa8\xd6\xb9\x06" + b"\x10\x80\xca\xb5\xee\x01"  # 1731564544 s, 500000000 ns
    labels = field(2, field(1, "key") + field(2, "value"))
    image = field(1, "docker.io/library/a:1") + labels + field(3, target) + field(7, b"\x08\x01") + field(8, updated_at)
    assert decode_images(field(1, image) + field(1, field(1, "b"))) == [
        Image("docker.io/library/a:1", DIGEST, 1731564544.5),
        Image("b", "", 0.0),
    ]


def test_content_is_read_with_sizes_beyond_32_bits() -> None:
    info = field(1, DIGEST) + b"\x10\x80\x80\x80\x80\x20" + field(3, b"\x08\x01") + field(5, field(1, "label"))
    assert decode_blobs(field(1, info)) == [Blob(DIGEST, 2**33)]


def test_the_content_plugins_root_is_among_its_exports() -> None:
    exports = field(5, field(1, "root") + field(2, "/var/lib/containerd/content"))
    plugin = field(1, "io.containerd.content.v1") + field(2, "content") + exports + field(6, "capability")
    assert decode_plugins(field(1, plugin)) == [
        Plugin("io.containerd.content.v1", "content", {"root": "/var/lib/containerd/content"})
    ]


def test_an_event_names_its_namespace_and_topic() -> None:
    envelope = field(1, b"\x08\x01") + field(2, "k8s.io") + field(3, "/images/create") + field(4, field(1, "any"))
    assert decode_event(envelope) == Event("k8s.io", "/images/create")


@pytest.mark.parametrize("decode", [decode_images, decode_blobs, decode_plugins, decode_event])
@pytest.mark.parametrize("payload", [b"\x0a\x05ab", b"\x07", b"\xff" * 20])
def test_what_is_no_message_is_a_value_error_of_one_line(decode: object, payload: bytes) -> None:
    assert callable(decode)
    with pytest.raises(ValueError, match=r"^containerd's answer is no [^\n]*$"):
        decode(payload)


@given(st.binary(max_size=200))
def test_junk_never_raises_anything_else(payload: bytes) -> None:
    for decode in (decode_images, decode_blobs, decode_plugins, decode_event):
        try:
            decode(payload)
        except ValueError:
            continue
