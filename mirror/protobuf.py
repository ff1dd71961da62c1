"""Messages of Protocol Buffers, for the few that this project reads and writes: a message is its fields, by number.

There are no types: who reads a field says what it is, and a field that is of another kind on the wire counts as
missing, as in the libraries. Those take 4 MiB of memory for what these lines do.

Source: Protocol Buffers, "Encoding".
"""

from typing import Final, Self

_VARINT, _FIXED_64, _LENGTH, _FIXED_32 = 0, 1, 2, 5
_SIZES: Final = {_FIXED_64: 8, _FIXED_32: 4}
_VARINT_BITS: Final = 64
_SIGN: Final = 1 << _VARINT_BITS - 1


class Fields:
    """The fields of a message. Numbers are signed, of 64 bits.

    What is read of it raises ValueError if it is no UTF-8, or no message.

    Args:
        values: by number, in order: numbers, and the bytes of texts and of messages.
    """

    __slots__ = ("_values",)

    def __init__(self, values: dict[int, list[int | bytes]]) -> None:
        self._values = values

    @classmethod
    def of(cls, message: bytes) -> Self:
        """Read a message; raise ValueError for bytes that are none."""
        values: dict[int, list[int | bytes]] = {}
        at, end = 0, len(message)
        while at < end:
            tag, at = _varint(message, at)
            number, kind = tag >> 3, tag & 7
            if number <= 0:
                raise ValueError(f"a field has the number {number}")
            if kind == _VARINT:
                value, at = _varint(message, at)
                values.setdefault(number, []).append(value)
                continue
            length = _SIZES.get(kind)
            if kind == _LENGTH:
                length, at = _varint(message, at)
            if length is None:
                raise ValueError(f"field {number} has the wire type {kind}")
            start, at = at, at + length
            if not start <= at <= end:
                raise ValueError(f"field {number} is cut off")
            if kind == _LENGTH:  # nothing here has numbers of a fixed size
                values.setdefault(number, []).append(message[start:at])
        return cls(values)

    def number(self, field: int) -> int:
        """A number; 0 if it is missing. Of several the last counts, here and for a text."""
        return next((value for value in reversed(self._values.get(field, ())) if isinstance(value, int)), 0)

    def text(self, field: int) -> str:
        """A text; empty if it is missing."""
        return next((value.decode() for value in reversed(self._values.get(field, ())) if isinstance(value, bytes)), "")

    def message(self, field: int) -> "Fields":
        """A message; without fields if it is missing. What comes in parts is one."""
        return Fields.of(b"".join(value for value in self._values.get(field, ()) if isinstance(value, bytes)))

    def messages(self, field: int) -> "list[Fields]":
        """Repeated messages."""
        return [Fields.of(value) for value in self._values.get(field, ()) if isinstance(value, bytes)]

    def entries(self, field: int) -> dict[str, str]:
        """A map of texts: on the wire, repeated messages of a key (1) and a value (2)."""
        return {entry.text(1): entry.text(2) for entry in self.messages(field)}


def encoded(field: int, content: bytes | str) -> bytes:
    """A field that is a text or a message."""
    body = content.encode() if isinstance(content, str) else content
    return _encoded_varint(field << 3 | _LENGTH) + _encoded_varint(len(body)) + body


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Read a number; return it, and where the next byte is. Nearly all have one byte."""
    try:
        value, at = message[at], at + 1
        if value < 0x80:
            return value, at
        value &= 0x7F
        for shift in range(7, _VARINT_BITS, 7):
            byte, at = message[at], at + 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
        else:
            raise ValueError("a number has more than 64 bits")
    except IndexError:
        raise ValueError("a number is cut off") from None
    value &= (1 << _VARINT_BITS) - 1
    return value - (1 << _VARINT_BITS) if value & _SIGN else value, at


def _encoded_varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
