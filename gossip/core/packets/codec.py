"""Messages as bytes and back. The only importer of cbor2 and zstandard.

    packet    = codec (1 byte: 0 plain, 1 zstandard), CBOR [sender, epoch, fingerprint, message...]
    message   = CBOR [kind, field...], a fixed array per kind

What comes from the network is bounded before it is decoded: the size of the packet by its carrier, the size of what
zstandard would inflate by the size that its frame states (zstandard ignores `max_output_size` where the frame states
one), what CBOR decodes by `BODY_MAX_BYTES`, nesting by the depth of our own schema. A long payload of an application is
alone in its packet, and CBOR never sees it. What was decoded is counted before it is checked. Tags, maps, indefinite
lengths and floats are refused, fields are checked for type, length and range, and only the one encoding that we would
have written is accepted: the decoded packet is encoded again and compared, so that trailing bytes and other spellings
are refused.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final, NoReturn, cast

import cbor2
import zstandard

from ..errors import Rejection, WireError
from ..membership.member import METADATA_MAX_BYTES, Address, Span, State, is_name, pack_address, unpack_address
from ..messages import (
    BUCKETS,
    KEY_BYTES,
    Ack,
    Alive,
    Broadcast,
    Buckets,
    Chunk,
    Dead,
    Done,
    Entries,
    Entry,
    KeyAction,
    KeyOrder,
    KeyReport,
    Left,
    Message,
    Nack,
    NameClaim,
    Offer,
    Ops,
    Packet,
    Ping,
    ProbeRequest,
    Pull,
    Record,
    Suspect,
    UserMessage,
    UserState,
)
from .keyring import ID_BYTES, KEYS_MAX
from .keyring import KEY_BYTES as SECRET_BYTES

FINGERPRINT_BYTES: Final = 8
BITS_LOG2_MIN: Final = 14
"""Filters have 2 KiB at least: smaller ones have too many false positives (module `bloom`)."""
BITS_LOG2_MAX: Final = 26
"""Filters have 8 MiB at most, for 4 million keys; settings allow less."""
BITS_LOG2_EXACT: Final = 8 * KEY_BYTES
"""Stands for a set of keys themselves: a filter of so many bits that each key has one of its own."""
ENTRIES_MAX: Final = 4096
"""Messages of one packet and items of the arrays in them, together. To check one takes 3 us, so that nobody can stall a
node by a packet of many. No cluster has more members."""
ENTRIES_PER_MESSAGE: Final = 256
"""Entries of one message over a stream: with the longest names it has 41 KiB."""
OPS_KEYS_MAX: Final = 1024
"""Keys of one `Ops`: what the largest datagram carries. To add a key takes 3 us."""
CHUNK_MAX_BYTES: Final = 64 * 1024
"""Bytes of a filter in one message of a stream."""
DATAGRAM_INFLATED_MAX_BYTES: Final = 16 * 1024
"""Bytes of a decompressed datagram: twice the largest datagram that settings allow."""
ACK_PAYLOAD_MAX_BYTES: Final = 64
"""Bytes that an application attaches to an answer: an answer is to stay as short as its question."""
BROADCAST_MAX_BYTES: Final = 512
"""Bytes of a broadcast: with its head it fits the smallest datagram, 1024 bytes."""
USER_MAX_BYTES: Final = 1024 * 1024
"""Bytes of an application's message or state over a stream."""
BODY_MAX_BYTES: Final = 128 * 1024
"""Bytes of CBOR in a packet, but for one long payload. A node makes frames of 48 KiB, or of one message of 64 KiB;
older nodes put both together. The costliest CBOR of this size, empty arrays, takes 50 ms to decode."""
_REFUSAL_MAX_CHARACTERS: Final = 256
"""Characters of the reason for which an order about keys was refused: one line."""
U32_MAX: Final = 2**32 - 1
U64_MAX: Final = 2**64 - 1

_PLAIN, _ZSTD = 0, 1
_DEPTH_MAX = 5  # packet, message, entries, entry, and one to spare for cbor2's way of counting
_COMPRESS_FROM_BYTES = 200  # below, zstandard's own header eats the gain (measured: 33 bytes grow to 42)
_LONG, _LONG_HEAD_BYTES = b"\x5a", 5  # the head of a byte string of 64 KiB or more
_EMPTY: Final = b"\x40"  # an empty byte string
_compressor = zstandard.ZstdCompressor(level=1)
_decompressor = zstandard.ZstdDecompressor()

Check = Callable[[Any], Any]


def _refuse(*_: object) -> NoReturn:
    raise WireError(Rejection.CBOR, "tags are not part of the protocol")


# cbor2 gives these tags meaning by default (bignums, dates, regular expressions, cyclic references, sets, ...).
_NO_TAGS: Final = dict.fromkeys(
    (0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799), _refuse
)


def _uint(maximum: int) -> Check:
    def check(value: Any) -> int:
        if type(value) is not int or not 0 <= value <= maximum:
            raise WireError(Rejection.SCHEMA, "an unsigned integer is expected")
        return value

    return check


def _octets(minimum: int, maximum: int, *, step: int = 1) -> Check:
    def check(value: Any) -> bytes:
        if type(value) is not bytes or not minimum <= len(value) <= maximum or len(value) % step:
            raise WireError(Rejection.SCHEMA, "a byte string of another length is expected")
        return value

    return check


def _name(value: Any) -> str:
    if type(value) is not str or not is_name(value):
        raise WireError(Rejection.SCHEMA, "a member's name is expected")
    return value


def _address(value: Any) -> Any:
    if type(value) is not bytes or len(value) not in (6, 18) or value.endswith(b"\0\0"):
        raise WireError(Rejection.SCHEMA, "an address is expected")
    return unpack_address(value)


def _state(value: Any) -> State:
    if type(value) is not int or not State.ALIVE <= value <= State.LEFT:
        raise WireError(Rejection.SCHEMA, "a state is expected")
    return State(value)


def _span(value: Any) -> Span:
    if type(value) is not int or not 0x11 <= value <= 0xFF or not 1 <= value >> 4 <= value & 15:
        raise WireError(Rejection.SCHEMA, "a span of versions is expected")
    return Span(value >> 4, value & 15)


def _action(value: Any) -> KeyAction:
    if type(value) is not int or not KeyAction.LIST <= value <= KeyAction.REMOVE:
        raise WireError(Rejection.SCHEMA, "an order about keys is expected")
    return KeyAction(value)


def _words(value: Any) -> str:
    if type(value) is not str or len(value) > _REFUSAL_MAX_CHARACTERS or not (value.isprintable() or not value):
        raise WireError(Rejection.SCHEMA, "a line of text is expected")
    return value


def _bits_log2(value: Any) -> int:
    if type(value) is not int or not (BITS_LOG2_MIN <= value <= BITS_LOG2_MAX or value == BITS_LOG2_EXACT):
        raise WireError(Rejection.SCHEMA, "a filter size is expected")
    return value


def _array(value: Any) -> list[Any]:
    if type(value) is not list:
        raise WireError(Rejection.SCHEMA, "an array is expected")
    return value


def _fields(checks: Sequence[Check], values: Sequence[Any]) -> list[Any]:
    if len(checks) != len(values):
        raise WireError(Rejection.SCHEMA, "an array of another length is expected")
    return [check(value) for check, value in zip(checks, values, strict=True)]


_u32, _u64 = _uint(U32_MAX), _uint(U64_MAX)
_ENTRY: Final[tuple[Check, ...]] = (_name, _u64, _u32, _u32, _u32)


def _entry(value: Any) -> Entry:
    return Entry(*_fields(_ENTRY, _array(value)))


def _entries(value: Any) -> tuple[Entry, ...]:
    return tuple(map(_entry, _array(value)))


_keys = _octets(0, OPS_KEYS_MAX * KEY_BYTES, step=KEY_BYTES)
_metadata = _octets(0, METADATA_MAX_BYTES)
# A message's kind on the wire is its place in this table: append only.
_SCHEMA: Final[tuple[tuple[type, tuple[Check, ...]], ...]] = (
    (Ping, (_u32, _name)),
    (Ack, (_u32, _octets(0, ACK_PAYLOAD_MAX_BYTES))),
    (ProbeRequest, (_u32, _name)),
    (Nack, (_u32,)),
    (Alive, (_name, _u64, _u32, _address, _metadata, _span)),
    (Suspect, (_name, _u64, _u32, _name)),
    (Dead, (_name, _u64, _u32, _name)),
    (Left, (_name, _u64, _u32)),
    (Record, (_name, _u64, _u32, _state, _address, _metadata, _span)),
    (Ops, (_name, _u64, _u32, _bits_log2, _u32, _keys)),
    (Offer, (_entry,)),
    (Buckets, (_octets(BUCKETS * FINGERPRINT_BYTES, BUCKETS * FINGERPRINT_BYTES),)),
    (Entries, (_u32, _entries)),
    (Pull, (_entries,)),
    (Chunk, (_entry, _bits_log2, _u32, _octets(1, CHUNK_MAX_BYTES))),
    (Done, ()),
    (NameClaim, (_u64, _u64)),
    (UserMessage, (_octets(0, USER_MAX_BYTES),)),
    (Broadcast, (_name, _u64, _u32, _octets(0, BROADCAST_MAX_BYTES))),
    (UserState, (_octets(0, USER_MAX_BYTES),)),
    (KeyOrder, (_action, _octets(0, SECRET_BYTES, step=ID_BYTES))),
    (KeyReport, (_octets(0, ID_BYTES * KEYS_MAX, step=ID_BYTES), _words)),
)
_KIND: Final = {cls: kind for kind, (cls, _) in enumerate(_SCHEMA)}


def _entry_plain(entry: Entry) -> list[Any]:
    return [entry.name, entry.epoch, entry.incarnation, entry.generation, entry.sequence]


def _entries_plain(entries: tuple[Entry, ...]) -> list[Any]:
    return list(map(_entry_plain, entries))


# How fields of these types are handed to cbor2; those of other types are handed over as they are.
_PLAIN_FIELD: Final[dict[type, Callable[[Any], Any]]] = {
    Entry: _entry_plain,
    tuple: _entries_plain,
    Address: pack_address,
    Span: lambda span: span.low << 4 | span.high,
    State: int,
    KeyAction: int,
}


def _plain(value: Any) -> Any:
    convert = _PLAIN_FIELD.get(type(value))
    return value if convert is None else convert(value)


def encode_message(message: Message) -> bytes:
    """One message as a part of a packet."""
    values = [_plain(getattr(message, name)) for name in message.__slots__]
    return cbor2.dumps([_KIND[type(message)], *values])


def encode_packet(sender: str, epoch: int, fingerprint: bytes, messages: Iterable[bytes]) -> bytes:
    """A whole packet from encoded messages, compressed if that makes it smaller."""
    parts = list(messages)
    body = b"".join(
        (_array_head(3 + len(parts)), cbor2.dumps(sender), cbor2.dumps(epoch), b"\x48", fingerprint, *parts)
    )
    if len(body) >= _COMPRESS_FROM_BYTES:
        small = _compressor.compress(body)
        if len(small) < len(body):
            return bytes((_ZSTD,)) + small
    return bytes((_PLAIN,)) + body


def packet_overhead(sender: str) -> int:
    """Bytes of a packet beside its messages, at most."""
    return 1 + 5 + len(cbor2.dumps(sender)) + 9 + 1 + FINGERPRINT_BYTES


def decode_packet(payload: bytes, inflated_max_bytes: int) -> Packet:
    """The packet in these bytes.

    Args:
        payload: at most what its carrier allows.
        inflated_max_bytes: bound of its size after decompression.

    Raises:
        WireError: they are no packet; the reason is size, version, zstd, cbor or schema.
    """
    if not payload:
        raise WireError(Rejection.SIZE, "the packet is empty")
    body = payload[1:] if payload[0] == _PLAIN else _inflate(payload, inflated_max_bytes)
    return _decode(body) if len(body) <= BODY_MAX_BYTES else _decode_long(body)


def _decode(body: bytes) -> Packet:
    try:
        items = cbor2.loads(body, semantic_decoders=_NO_TAGS, max_depth=_DEPTH_MAX, allow_indefinite=False)
    except (cbor2.CBORError, WireError, RecursionError, ValueError, TypeError) as error:
        raise WireError(Rejection.CBOR, "the packet is not CBOR of our kind") from error
    packet = _packet(items)
    if cbor2.dumps(items) != body:
        raise WireError(Rejection.CBOR, "the packet is not encoded the one allowed way")
    return packet


def _decode_long(body: bytes) -> Packet:
    """A packet of one long payload of an application: it is decoded without the payload, which is its last item."""
    at = 1  # behind the head of the array
    for _ in range(3):
        at = _behind(body, at)
    at += 2  # the head of the message, and its kind
    payload = body[at + _LONG_HEAD_BYTES :]
    if body[at : at + 1] != _LONG or int.from_bytes(body[at + 1 : at + _LONG_HEAD_BYTES]) != len(payload):
        raise WireError(Rejection.SIZE, f"more than {BODY_MAX_BYTES} bytes that are not one payload")
    packet = _decode(body[:at] + _EMPTY)
    message = packet.messages[0] if len(packet.messages) == 1 else None
    if not isinstance(message, UserMessage | UserState) or len(payload) > USER_MAX_BYTES:
        raise WireError(Rejection.SIZE, "a payload that is longer than allowed")
    return replace(packet, messages=(replace(message, payload=payload),))


def _behind(body: bytes, at: int) -> int:
    """Where what is behind a number or a string begins. Source: RFC 8949 section 3."""
    head = int.from_bytes(body[at : at + 1])
    kind, length, at = head >> 5, head & 31, at + 1
    if length >= 24:
        width = 1 << (length - 24)
        length, at = int.from_bytes(body[at : at + width]), at + width
    return at + length if kind in (2, 3) else at


def _packet(items: Any) -> Packet:
    if len(_array(items)) < 3:
        raise WireError(Rejection.SCHEMA, "a packet has a sender, an epoch and a fingerprint")
    sender, epoch, fingerprint = _fields((_name, _u64, _octets(FINGERPRINT_BYTES, FINGERPRINT_BYTES)), items[:3])
    _check_count(items[3:])
    return Packet(sender, epoch, fingerprint, tuple(map(_message, items[3:])))


def _check_count(items: list[Any]) -> None:
    count = len(items)
    if count <= ENTRIES_MAX:
        count += sum(len(field) for item in items for field in _array(item) if type(field) is list)
    if count > ENTRIES_MAX:
        raise WireError(Rejection.SIZE, f"more than {ENTRIES_MAX} messages and entries in one packet")


def _message(item: Any) -> Message:
    kind, *values = _array(item) or [None]
    if type(kind) is not int or not 0 <= kind < len(_SCHEMA):
        raise WireError(Rejection.SCHEMA, "unknown kind of message")
    cls, checks = _SCHEMA[kind]
    return cast("Message", cls(*_fields(checks, values)))


def _inflate(payload: bytes, maximum: int) -> bytes:
    if payload[0] != _ZSTD:
        raise WireError(Rejection.VERSION, "unknown codec")
    try:
        stated = zstandard.get_frame_parameters(payload[1:]).content_size
        if not 0 < stated <= maximum:
            raise WireError(Rejection.SIZE, "the compressed packet states no size, or one beyond the bound")
        return _decompressor.decompress(payload[1:], max_output_size=maximum, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise WireError(Rejection.ZSTD, "the packet does not decompress") from error


def _array_head(length: int) -> bytes:
    """The CBOR head of an array. Source: RFC 8949 section 3."""
    if length < 24:
        return bytes((0x80 | length,))
    if length < 256:
        return bytes((0x98, length))
    return b"\x99" + length.to_bytes(2, "big") if length < 65536 else b"\x9a" + length.to_bytes(4, "big")
