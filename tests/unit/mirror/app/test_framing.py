"""How a body is cut out of what a connection sends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.app.framing import Chunked, Counted, framing_of
from mirror.app.heads import HeadError


def fed(framing: Counted | Chunked, sent: bytes, cuts: list[int]) -> tuple[bytes, bytes]:
    """What belongs to the body, and what comes behind it, whatever packets it comes in."""
    body, at = b"", 0
    for cut in [*sorted(cuts), len(sent)]:
        part, rest = framing.feed(sent[at:cut])
        body += part
        if framing.is_done:
            return body, rest + sent[cut:]
        assert not rest
        at = cut
    return body, b""


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.lists(st.integers(0, 300), max_size=12))
def test_chunks_are_put_together_in_any_packets(chunks: list[bytes], cuts: list[int]) -> None:
    sent = b"".join(b"%x;a=b\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nX: y\r\n\r\nGET /"
    cuts = [min(cut, len(sent) - 5) for cut in cuts]
    framing = Chunked()
    assert fed(framing, sent, cuts) == (b"".join(chunks), b"GET /")
    assert framing.is_done


@given(st.binary(min_size=1, max_size=50), st.lists(st.integers(0, 50), max_size=5))
def test_a_counted_body_ends_where_its_length_says(content: bytes, cuts: list[int]) -> None:
    framing = Counted(len(content))
    assert fed(framing, content + b"GET /", [min(cut, len(content)) for cut in cuts]) == (content, b"GET /")


@pytest.mark.parametrize(
    "wrong",
    [
        b"x\r\n",
        b"-1\r\n",
        b"3\nabc",
        b"3\r\nabcd\r\n",
        b"3\r\nabc\n",
        b"0" * 16 + b"\r\n",
        b"1;" + b"x" * 2000,
        b"\r\n",
    ],
)
def test_what_are_no_chunks_is_refused(wrong: bytes) -> None:
    with pytest.raises(HeadError):
        Chunked().feed(wrong)


def test_trailers_are_bounded() -> None:
    with pytest.raises(HeadError, match="trailers"):
        Chunked().feed(b"0\r\n" + b"a: b\r\n" * 40)


def test_a_body_is_framed_in_one_way() -> None:
    length, chunked = (b"content-length", b"5"), (b"transfer-encoding", b"Chunked")
    assert framing_of([(b"host", b"x")]) is None
    assert framing_of([(b"content-length", b"0")]) is None
    assert isinstance(framing_of([length]), Counted)
    assert isinstance(framing_of([chunked]), Chunked)
    for wrong in ([length, chunked], [chunked, chunked], [(b"transfer-encoding", b"gzip, chunked")]):
        with pytest.raises(HeadError):
            framing_of(wrong)
