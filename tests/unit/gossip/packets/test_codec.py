"""Messages as bytes and back; junk is refused."""

import random
from typing import Any

import cbor2
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from gossip.core.errors import WireError
from gossip.core.membership.member import Address, Span, State
from gossip.core.messages import (
    BUCKETS,
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
from gossip.core.packets.codec import decode_packet, encode_message, encode_packet, packet_overhead

names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=128)


u32, u64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)


addresses = st.builds(
    Address, st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str)), st.integers(1, 65535)
)


entries = st.builds(Entry, names, u64, u32, u32, u32)


many_entries = st.lists(entries, max_size=5).map(tuple)


bits = st.integers(14, 26) | st.just(64)


keys = st.lists(st.binary(min_size=8, max_size=8), max_size=20).map(b"".join)


metadata = st.binary(max_size=512)


spans = st.integers(1, 15).flatmap(lambda low: st.builds(Span, st.just(low), st.integers(low, 15)))


words = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=256)


messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Ping, u32, names),
    st.builds(Ack, u32, st.binary(max_size=64)),
    st.builds(ProbeRequest, u32, names),
    st.builds(Nack, u32),
    st.builds(Alive, names, u64, u32, addresses, metadata, spans),
    st.builds(Suspect, names, u64, u32, names),
    st.builds(Dead, names, u64, u32, names),
    st.builds(Left, names, u64, u32),
    st.builds(Record, names, u64, u32, st.sampled_from(State), addresses, metadata, spans),
    st.builds(Ops, names, u64, u32, bits, u32, keys),
    st.builds(Offer, entries),
    st.builds(Buckets, st.binary(min_size=8 * BUCKETS, max_size=8 * BUCKETS)),
    st.builds(Entries, u32, many_entries),
    st.builds(Pull, many_entries),
    st.builds(Chunk, entries, bits, u32, st.binary(min_size=1, max_size=100)),
    st.just(Done()),
    st.builds(NameClaim, u64, u64),
    st.builds(UserMessage, st.binary(max_size=100)),
    st.builds(Broadcast, names, u64, u32, st.binary(max_size=512)),
    st.builds(UserState, st.binary(max_size=100)),
    st.builds(KeyOrder, st.sampled_from(KeyAction), st.sampled_from([b"", bytes(4), bytes(32)])),
    st.builds(KeyReport, st.integers(0, 16).map(lambda count: bytes(4 * count)), words),
)


packets = st.builds(Packet, names, u64, st.binary(min_size=8, max_size=8), st.lists(messages, max_size=30).map(tuple))


LIMIT = 1 << 20


def encoded(packet: Packet) -> bytes:
    return encode_packet(packet.sender, packet.epoch, packet.fingerprint, map(encode_message, packet.messages))


@given(packets)
def test_what_is_written_is_read(packet: Packet) -> None:
    assert decode_packet(encoded(packet), LIMIT) == packet


@given(packets)
def test_overhead_is_an_upper_bound(packet: Packet) -> None:
    messages_bytes = sum(len(encode_message(message)) for message in packet.messages)
    assert len(encoded(packet)) <= packet_overhead(packet.sender) + messages_bytes


@given(st.binary(max_size=200))
def test_junk_is_refused_and_nothing_else_happens(junk: bytes) -> None:
    with pytest.raises(WireError):
        decode_packet(junk, LIMIT)


@given(packets, st.integers(0, 10_000), st.integers(0, 255))
def test_packet_with_one_byte_changed_is_refused_or_still_written_the_one_way(
    packet: Packet, place: int, value: int
) -> None:
    damaged = bytearray(encoded(packet))
    damaged[place % len(damaged)] = value
    try:
        read = decode_packet(bytes(damaged), LIMIT)
    except WireError:
        return
    if damaged[0] == 0:
        rewritten = encoded(read)
        assert decode_packet(rewritten, LIMIT) == read


@given(packets, st.integers(1, 50))
def test_cut_short_or_followed_by_something_is_refused(packet: Packet, count: int) -> None:
    whole = encoded(packet)
    for damaged in (whole[:-count], whole + bytes(count)):
        with pytest.raises(WireError):
            decode_packet(damaged, LIMIT)


HEAD = ["a", 1, b"12345678"]
HEAD_BYTES = b"".join(map(cbor2.dumps, HEAD))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(cbor2.dumps(HEAD) + b"\0", id="trailing byte"),
        pytest.param(b"\x9f\x61a\x01\x4812345678\xff", id="indefinite array"),
        pytest.param(b"\x83\x7f\x61a\xff\x01\x4812345678", id="indefinite text"),
        pytest.param(b"\x83\x61a\x18\x01\x4812345678", id="number in more bytes than it needs"),
        pytest.param(b"\x83\x61a\xc2\x41\x01\x4812345678", id="bignum tag"),
        pytest.param(b"\x83\x61a\xc1\x01\x4812345678", id="date tag"),
        pytest.param(b"\x83\x61a\xd8\x23\x61a\x4812345678", id="regular expression tag"),
        pytest.param(b"\xd8\x1c\x84\x61a\x01\x4812345678\xd8\x1d\x00", id="cyclic reference"),
        pytest.param(b"\xd9\xff\xff\x83\x61a\x01\x4812345678", id="unknown tag"),
        pytest.param(b"\x81" * 1000, id="nesting"),
        pytest.param(b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff", id="array of 2**63 items"),
        pytest.param(b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff", id="string of 2**63 bytes"),
        pytest.param(cbor2.dumps({"a": 1}), id="map"),
        pytest.param(cbor2.dumps([*HEAD, {0: 1}]), id="map for a message"),
        pytest.param(cbor2.dumps(1.5), id="float"),
        pytest.param(cbor2.dumps(None), id="null"),
        pytest.param(cbor2.dumps(["a", 1]), id="no fingerprint"),
        pytest.param(cbor2.dumps(["a", True, b"12345678"]), id="boolean for a number"),
        pytest.param(cbor2.dumps(["a", -1, b"12345678"]), id="negative epoch"),
        pytest.param(cbor2.dumps(["a", 2**64, b"12345678"]), id="epoch beyond 64 bits"),
        pytest.param(cbor2.dumps(["", 1, b"12345678"]), id="empty name"),
        pytest.param(cbor2.dumps(["a" * 129, 1, b"12345678"]), id="long name"),
        pytest.param(cbor2.dumps(["a\x07", 1, b"12345678"]), id="control character in a name"),
        pytest.param(cbor2.dumps(["a", 1, b"1234567"]), id="short fingerprint"),
        pytest.param(cbor2.dumps([*HEAD, []]), id="message without a kind"),
        pytest.param(cbor2.dumps([*HEAD, [99]]), id="unknown kind"),
        pytest.param(cbor2.dumps([*HEAD, [False, 1, "b"]]), id="boolean for a kind"),
        pytest.param(cbor2.dumps([*HEAD, [0, 1]]), id="ping without a target"),
        pytest.param(cbor2.dumps([*HEAD, [0, 1, "b", 2]]), id="ping with a surplus"),
        pytest.param(cbor2.dumps([*HEAD, [1, 2**32]]), id="number beyond 32 bits"),
        pytest.param(cbor2.dumps([*HEAD, [4, "b", 1, 0, b"12345", b""]]), id="address of 5 bytes"),
        pytest.param(cbor2.dumps([*HEAD, [4, "b", 1, 0, b"1234\0\0", b""]]), id="port 0"),
        pytest.param(cbor2.dumps([*HEAD, [4, "b", 1, 0, b"123456", bytes(513)]]), id="long metadata"),
        pytest.param(cbor2.dumps([*HEAD, [8, "b", 1, 0, 4, b"123456", b""]]), id="unknown state"),
        pytest.param(cbor2.dumps([*HEAD, [9, "b", 1, 0, 14, 0, b"1234567"]]), id="broken key"),
        pytest.param(cbor2.dumps([*HEAD, [9, "b", 1, 0, 27, 0, b""]]), id="giant filter"),
        pytest.param(cbor2.dumps([*HEAD, [9, "b", 1, 0, 63, 0, b""]]), id="nearly a set of keys"),
        pytest.param(cbor2.dumps([*HEAD, [13, [["b", 1, 0, 0]]]]), id="short entry"),
    ],
)
def test_what_cbor_allows_and_the_protocol_does_not(body: bytes) -> None:
    with pytest.raises(WireError):
        decode_packet(b"\0" + body, LIMIT)


ENTRY = Entry("b", 1, 0, 0, 0)
A_THOUSAND = encode_message(Pull((ENTRY,) * 1000))


@pytest.mark.parametrize(
    ("messages", "allowed"),
    [
        pytest.param([A_THOUSAND] * 4, True, id="within it"),
        pytest.param([A_THOUSAND] * 5, False, id="many arrays, each within it"),
        pytest.param([encode_message(Done())] * 4096, True, id="messages"),
        pytest.param([encode_message(Done())] * 4097, False, id="too many messages"),
        pytest.param([A_THOUSAND] * 4 + [encode_message(Done())] * 100, False, id="both together"),
    ],
)
def test_one_packet_has_one_budget_of_messages_and_entries(messages: list[bytes], allowed: bool) -> None:
    whole = encode_packet("a", 1, b"12345678", messages)
    if allowed:
        assert len(decode_packet(whole, LIMIT).messages) == len(messages)
        return
    with pytest.raises(WireError, match="4096 messages and entries") as refused:
        decode_packet(whole, LIMIT)
    assert refused.value.reason == "size"


@pytest.mark.parametrize("kind", [UserMessage, UserState])
def test_long_payload_is_alone_in_its_packet(kind: type[UserMessage | UserState]) -> None:
    for size in (65535, 65536, 127 * 1024, 129 * 1024, LIMIT):
        packet = Packet("a" * 128, 2**64 - 1, b"12345678", (kind(random.Random(size).randbytes(size)),))
        assert decode_packet(encoded(packet), 2 * LIMIT) == packet
    longest = encode_message(kind(bytes(LIMIT)))
    for refused in ([longest, b"\x81\x0f"], [b"\x81\x0f", longest], [encode_message(kind(bytes(LIMIT + 1)))]):
        with pytest.raises(WireError):
            decode_packet(b"\0" + b"".join((bytes((0x83 + len(refused),)), HEAD_BYTES, *refused)), 2 * LIMIT)


@pytest.mark.parametrize(
    "many",
    [
        pytest.param(bytes(LIMIT), id="numbers"),
        pytest.param(b"\x80" * LIMIT, id="empty arrays"),
        pytest.param(b"\x82\x11\x5a" + (LIMIT - 3).to_bytes(4) + b"\x80" * LIMIT, id="a payload that ends elsewhere"),
        pytest.param(b"\x82\x0a\x5a" + LIMIT.to_bytes(4) + b"\x80" * LIMIT, id="a payload of another kind"),
        pytest.param(b"\x5a" + LIMIT.to_bytes(4) + b"\x80" * LIMIT, id="a string for a message"),
        pytest.param(b"\x9a" + LIMIT.to_bytes(4) + b"\x80" * LIMIT, id="nested empty arrays"),
    ],
)
def test_long_body_that_is_no_payload_is_refused_before_it_is_decoded(
    many: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded, loads = [0], cbor2.loads

    def counting(body: bytes, **options: Any) -> Any:
        decoded.append(len(body))
        return loads(body, **options)

    monkeypatch.setattr(cbor2, "loads", counting)
    for head in (b"\x84", b"\x9a" + (LIMIT + 3).to_bytes(4)):
        with pytest.raises(WireError):
            decode_packet(b"\0" + head + HEAD_BYTES + many, 2 * LIMIT)
    assert max(decoded) < 100


@given(st.binary(max_size=300), st.integers(0, 300))
def test_long_junk_is_refused(junk: bytes, at: int) -> None:
    """Heads of all kinds, also such as say that a string goes on behind the end."""
    body = bytearray(b"\x84" + HEAD_BYTES + b"\x82\x11\x5a" + LIMIT.to_bytes(4))
    body[at : at + len(junk)] = junk
    try:
        read = decode_packet(b"\0" + bytes(body) + bytes(LIMIT), 2 * LIMIT)
    except WireError:
        return
    assert len(read.messages) == 1
    assert len(encode_message(read.messages[0])) > LIMIT // 2


def test_compressed_only_where_it_shrinks() -> None:
    ping = encode_packet("a", 1, b"12345678", [encode_message(Ping(1, "b"))])
    many = encode_packet("a", 1, b"12345678", [encode_message(Suspect("member", 1, 0, "accuser"))] * 50)
    assert (ping[0], many[0]) == (0, 1)
    assert len(many) < 200


def test_bomb_is_refused_before_it_inflates() -> None:
    bomb = b"\1" + zstandard.compress(bytes(200_000_000))
    assert len(bomb) < 10_000
    with pytest.raises(WireError, match="size") as refused:
        decode_packet(bomb, 16 * 1024)
    assert refused.value.reason == "size"


def test_compressed_without_stated_size_is_refused() -> None:
    stream = zstandard.ZstdCompressor().compressobj()
    payload = stream.compress(cbor2.dumps(HEAD)) + stream.flush()
    with pytest.raises(WireError, match="size"):
        decode_packet(b"\1" + payload, LIMIT)


@pytest.mark.parametrize(
    "payload", [b"", b"\1", b"\1junk", b"\2" + cbor2.dumps(HEAD), b"\1" + zstandard.compress(b"x")]
)
def test_broken_outside(payload: bytes) -> None:
    with pytest.raises(WireError):
        decode_packet(payload, LIMIT)


def test_wire_vectors() -> None:
    """Bytes that other versions will see: changing them is a new version of the protocol."""
    alive = Alive("n1", 1700000000000, 2, Address("10.0.0.1", 7946), b"m", Span(1, 1))
    packet = encode_packet("n0", 5, b"\0" * 8, [encode_message(Ping(7, "n1")), encode_message(alive)])
    assert packet.hex() == (
        "0085626e3005480000000000000000"  # plain, 5 items: "n0", 5, fingerprint
        "830007626e31"  # ping 7 n1
        "8704626e311b0000018bcfe5680002460a0000011f0a416d11"  # alive n1
    )
