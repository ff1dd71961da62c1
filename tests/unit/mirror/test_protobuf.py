"""Messages as Protocol Buffers' own documentation writes them, and bytes that are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.protobuf import Fields, encoded


def test_the_examples_of_the_documentation_are_read() -> None:
    assert Fields.of(b"\x08\x96\x01").number(1) == 150
    assert Fields.of(b"\x12\x07testing").text(2) == "testing"
    assert Fields.of(b"\x1a\x03\x08\x96\x01").message(3).number(1) == 150


@pytest.mark.parametrize(
    ("number", "varint"),
    [
        (0, b"\x00"),
        (127, b"\x7f"),
        (2**62, b"\x80" * 8 + b"\x40"),
        (-1, b"\xff" * 9 + b"\x01"),
        (-(2**63), b"\x80" * 9 + b"\x01"),
    ],
)
def test_numbers_are_signed_and_of_64_bits(number: int, varint: bytes) -> None:
    assert Fields.of(b"\x08" + varint).number(1) == number


def test_what_is_missing_or_of_another_kind_is_empty() -> None:
    fields = Fields.of(b"\x08\x05" + encoded(2, "text") + b"\x19" + b"8" * 8 + b"\x25" + b"4" * 4)
    assert (fields.number(9), fields.text(9), fields.messages(9), fields.entries(9)) == (0, "", [], {})
    assert (fields.number(2), fields.text(1), fields.number(3), fields.text(4)) == (0, "", 0, "")
    assert (fields.number(1), fields.text(2)) == (5, "text")
    assert fields.message(9).number(1) == 0


def test_of_several_the_last_counts_and_parts_of_a_message_are_one() -> None:
    fields = Fields.of(encoded(1, "a") + encoded(1, "b") + encoded(2, b"\x08\x01") + encoded(2, b"\x10\x02"))
    assert fields.text(1) == "b"
    assert (fields.message(2).number(1), fields.message(2).number(2)) == (1, 2)
    assert [each.number(1) for each in fields.messages(2)] == [1, 0]


@pytest.mark.parametrize(
    "message",
    [
        *(b"\x08", b"\x08\x80", b"\x08" + b"\xff" * 10 + b"\x01", b"\x0a\x05ab", b"\x0a", b"\x0d123", b"\x09"),
        *(b"\x0b", b"\x0c", b"\x0f", b"\x02\x00", b"\x00\x01", b"\x0a" + b"\xff" * 9 + b"\x01"),
    ],
)
def test_bytes_that_are_no_message_are_a_value_error(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"^(a number|a field|field \d+) "):
        Fields.of(message)


def test_a_text_that_is_no_utf_8_is_a_value_error_for_who_reads_it() -> None:
    fields = Fields.of(encoded(1, b"\xff"))
    with pytest.raises(ValueError, match="utf-8"):
        fields.text(1)


@given(st.integers(1, 2**20), st.text(max_size=300))
def test_what_is_written_is_read_again(field: int, text: str) -> None:
    assert Fields.of(encoded(field, text)).text(field) == text
