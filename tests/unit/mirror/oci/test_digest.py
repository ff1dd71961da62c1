"""Digests: what is one, and what is refused before a path could be made of it."""

import hashlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirror.errors import DigestInvalid
from mirror.oci.digest import Algorithm, Digest

HEX = "0123456789abcdef" * 4


def test_text_and_digest_are_the_same_thing() -> None:
    digest = Digest.parse(f"sha256:{HEX}")
    assert digest == Digest(HEX)
    assert str(digest) == f"sha256:{HEX}"
    assert digest.key == bytes.fromhex(HEX)


@given(st.binary(max_size=200))
def test_content_is_named_by_its_sha256(content: bytes) -> None:
    assert Digest.of(content).key == hashlib.sha256(content).digest()
    assert Digest.parse(str(Digest.of(content))) == Digest.of(content)


@given(st.binary(max_size=200))
def test_content_may_be_named_by_its_sha512_which_is_another_name(content: bytes) -> None:
    digest = Digest.of(content, Algorithm.SHA512)
    assert str(digest) == f"sha512:{hashlib.sha512(content).hexdigest()}"
    assert Digest.parse(str(digest)) == digest
    assert digest.key == hashlib.sha512(content).digest()[:32]
    assert digest.matches(content)
    assert not digest.matches(content + b"x")
    assert digest != Digest.of(content)
    assert digest.is_of_nothing is Digest.of(content).is_of_nothing is (content == b"")


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEX,
        "sha256:",
        f"sha256:{HEX[:-1]}",
        f"sha256:{HEX}0",
        f"sha256:{HEX.upper()}",
        f"SHA256:{HEX}",
        f"sha512:{HEX}",
        f"sha256:{HEX * 2}",
        f"sha512:{HEX * 2}0",
        f"sha512:{HEX * 2}".upper(),
        f"sha384:{'0' * 96}",
        f"sha256:{HEX}\n",
        f" sha256:{HEX}",
        f"sha256:{'../' * 21}a",
        f"sha256:{chr(0x663) * 64}",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(DigestInvalid):
        Digest.parse(text)


@given(st.text(max_size=100) | st.from_regex(r"\Asha(256|512):[0-9a-zA-Z./]{60,130}\Z"))
@example("sha256:" + "f" * 64)
def test_junk_is_a_digest_that_reads_back_or_is_refused(text: str) -> None:
    try:
        digest = Digest.parse(text)
    except DigestInvalid:
        return
    assert str(digest) == text
    assert len(digest.key) == 32
