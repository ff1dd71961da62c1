"""Heads are cut out of a stream whatever its packets are, and bounded before anybody parses them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.app.heads import HeadError, Heads

HEAD = b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n"


def heads_of(parts: list[bytes], bytes_max: int = 1000, lines_max: int = 10) -> list[bytes]:
    heads, found = Heads(bytes_max, lines_max), []
    for part in parts:
        heads.add(part)
        while (head := heads.next()) is not None:
            found.append(head)
    return found


@given(st.lists(st.integers(1, 2 * len(HEAD)), max_size=20))
def test_packets_do_not_matter(cuts: list[int]) -> None:
    rest, parts = HEAD * 3, []
    for cut in cuts:
        parts.append(rest[:cut])
        rest = rest[cut:]
    assert heads_of([*parts, rest]) == [HEAD] * 3


def test_empty_lines_before_a_head_are_skipped() -> None:
    assert heads_of([b"\r\n\r", b"\n" + HEAD + b"\r\n\r\n", HEAD]) == [HEAD, HEAD]


@pytest.mark.parametrize("parts", [[b"\r\n" * 50_000], [b"\n"] * 5])
def test_empty_lines_without_end_are_not_waited_out(parts: list[bytes]) -> None:
    with pytest.raises(HeadError, match="empty lines") as caught:
        heads_of(parts)
    assert caught.value.status == 400


@pytest.mark.parametrize("first", [b"\x16\x03\x01", b"\x00", b" GET / HTTP/1.1\r\n", b"{}", b"\xff", b"1"])
def test_what_cannot_begin_a_head_is_refused_at_once(first: bytes) -> None:
    with pytest.raises(HeadError) as caught:
        heads_of([first])
    assert caught.value.status == 400


def test_a_head_may_have_so_many_bytes() -> None:
    for missing, fits in ((0, True), (1, False)):
        padded = HEAD[:-4] + b"x" * (1000 - len(HEAD) + 1 - fits) + b"\r\n\r\n"
        assert len(padded) == 1000 + missing
        for parts in ([padded], [padded[start : start + 1] for start in range(len(padded))]):
            if fits:
                assert heads_of(parts) == [padded]
            else:
                with pytest.raises(HeadError, match="1000 bytes") as caught:
                    heads_of(parts)
                assert caught.value.status == 431


def test_a_head_without_an_end_is_refused_when_it_is_too_long_and_not_kept() -> None:
    heads = Heads(1000, 10)
    heads.add(b"G" * 999)
    assert heads.next() is None
    heads.add(b"G")
    with pytest.raises(HeadError, match="1000 bytes"):
        heads.next()
    heads.clear()
    assert len(heads) == 0


def test_a_head_may_have_so_many_lines() -> None:
    ten = b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 9 + b"\r\n"
    assert heads_of([ten]) == [ten]
    with pytest.raises(HeadError, match="10 lines") as caught:
        heads_of([ten[:-2] + b"a: b\r\n\r\n"])
    assert caught.value.status == 431


def test_a_lone_line_feed_ends_no_line() -> None:
    with pytest.raises(HeadError, match="CR LF"):
        heads_of([b"GET / HTTP/1.1\nHost: x\n\nGET / HTTP/1.1\r\n\r\n"])


def test_what_follows_a_head_can_be_taken_as_a_body() -> None:
    heads = Heads(1000, 10)
    heads.add(HEAD + b"body" + HEAD)
    assert heads.next() == HEAD
    assert heads.take(4) == b"body"
    assert heads.next() == HEAD
    assert heads.take(4) == b""
