"""The head of an answer: what is one, and what it says about the body."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.sources.peers.connections import Head, RemoteProtocolError


def test_headers_are_found_by_lower_case_name_and_the_last_of_several_counts() -> None:
    head = Head.parse(b"HTTP/1.1 206 Partial Content\r\nX-One: 1\r\nx-two:2 \r\nX-ONE: 3\r\nnonsense")
    assert head == Head(206, {"x-one": "3", "x-two": "2", "nonsense": ""})


@pytest.mark.parametrize(
    "first", ["", "HTTP/1.0 200 OK", "HTTP/1.1 99 OK", "HTTP/1.1 2000", "http/1.1 200", " HTTP/1.1 200"]
)
def test_what_does_not_begin_with_a_status_line_is_no_answer(first: str) -> None:
    with pytest.raises(RemoteProtocolError, match="begins with"):
        Head.parse(first.encode())


@pytest.mark.parametrize(
    ("said", "length"),
    [("0", 0), ("12", 12), ("9" * 19, 10**19 - 1), ("9" * 20, None), ("9" * 5000, None), ("-1", None), ("\xb2", None)],
)
def test_a_length_is_read_where_it_is_one(said: str, length: int | None) -> None:
    head = Head.parse(f"HTTP/1.1 200 OK\r\nContent-Length: {said}".encode("latin-1"))
    assert head.length == length


def test_a_body_in_chunks_tells_no_length() -> None:
    assert Head.parse(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked").length is None


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_junk_is_a_head_without_control_characters_or_no_answer(first: bytes, rest: bytes) -> None:
    for text in (first, b"HTTP/1.1 200 " + first + b"\r\n" + rest):
        try:
            head = Head.parse(text)
        except RemoteProtocolError:
            continue
        assert 100 <= head.status <= 599
        assert not any(set("\r\n\0") & set(name + value) for name, value in head.headers.items())
        assert head.length is None or 0 <= head.length < 10**19
