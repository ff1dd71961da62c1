"""What is said to a node under test: packets that look valid, in every mix, chosen by bytes or by chance.

A `Chooser` makes all choices. Over bytes it is how a coverage-guided fuzzer speaks the protocol: a changed byte is
another choice. Over a seeded generator it is how a long run draws its packets.
"""

import ipaddress
import random
from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

from gossip.core.membership.member import Address, Span, State
from gossip.core.messages import (
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
    Ping,
    ProbeRequest,
    Pull,
    Record,
    Suspect,
    UserMessage,
    UserState,
)
from gossip.core.packets.codec import BITS_LOG2_EXACT, CHUNK_MAX_BYTES, U32_MAX, U64_MAX, encode_message, encode_packet

T = TypeVar("T")

ME: Final = "n0"
PEERS: Final = tuple(f"n{number}" for number in range(1, 9))
NAMES: Final = (ME, *PEERS, *(f"x{number}" for number in range(40)), "m" * 128)
EPOCHS: Final = (1, 2, 3, 0, 1_700_000_000_000, U64_MAX - 8)
NUMBERS: Final = (0, 1, 2, 3, 23, 24, 255, 65536, U32_MAX - 1, U32_MAX)
SPANS: Final = (Span(1, 1), Span(1, 1), Span(1, 3), Span(2, 3))


def address_of(name: str) -> Address:
    """Where a member listens, if nobody says otherwise."""
    return Address(f"10.9.0.{NAMES.index(name) + 1}", 7946)


ADDRESSES: Final = (
    *map(address_of, NAMES[:12]),
    Address("192.0.2.1", 9),
    Address("fd00::1", 65535),
    Address(str(ipaddress.ip_address("::ffff:10.0.0.1")), 1),
    Address("0.0.0.0", 1),
)


class Chooser(Protocol):
    """Makes choices."""

    def below(self, count: int) -> int:
        """A number from 0 to `count` - 1, at most 65535."""
        ...

    def octets(self, count: int) -> bytes:
        """That many bytes, or fewer at the end of the input."""
        ...


class Script:
    """Choices read from bytes; after their end all choices are 0."""

    def __init__(self, script: bytes) -> None:
        self._script = script
        self._at = 0

    @property
    def more(self) -> bool:
        """Whether there are bytes left."""
        return self._at < len(self._script)

    def below(self, count: int) -> int:
        """One byte for up to 256 choices, two for more."""
        return int.from_bytes(self.octets(1 if count <= 256 else 2), "big") % count

    def octets(self, count: int) -> bytes:
        """The next bytes."""
        taken = self._script[self._at : self._at + count]
        self._at += count
        return taken


class Chance:
    """Choices of a seeded generator."""

    def __init__(self, rng: random.Random) -> None:
        self._random = rng.random
        self._randbytes = rng.randbytes

    def below(self, count: int) -> int:
        """Any of them."""
        return int(self._random() * count)

    def octets(self, count: int) -> bytes:
        """Noise."""
        return self._randbytes(count)


def pick(choose: Chooser, among: Sequence[T]) -> T:
    """One of these."""
    return among[choose.below(len(among))]


def name(choose: Chooser) -> str:
    """Mostly a peer, else this node or a stranger."""
    return pick(choose, PEERS) if choose.below(3) else pick(choose, NAMES)


def number(choose: Chooser) -> int:
    """Of 32 bits, mostly an interesting one."""
    return pick(choose, NUMBERS) if choose.below(8) else int.from_bytes(choose.octets(4), "big")


def octets(choose: Chooser, most: int) -> bytes:
    """A string: noise, or bytes that compress."""
    size = pick(choose, (0, 1, 8, 64, 200, most)) % (most + 1)
    return choose.octets(size) if choose.below(2) else bytes(size)


def keys(choose: Chooser, most: int = 40) -> bytes:
    """Keys of a filter."""
    return octets(choose, most * KEY_BYTES)[: most * KEY_BYTES] if not choose.below(4) else _whole(choose)


def _whole(choose: Chooser) -> bytes:
    noise = choose.octets(KEY_BYTES * choose.below(6))
    return noise[: len(noise) // KEY_BYTES * KEY_BYTES]


def entry(choose: Chooser) -> Entry:
    """A version of somebody."""
    return Entry(name(choose), pick(choose, EPOCHS), number(choose), pick(choose, NUMBERS), number(choose))


def bits_log2(choose: Chooser) -> int:
    """The size of a filter, or of a set of keys; large filters are rare, for honest ones are slow to make."""
    drawn = choose.below(32)
    size = 14 + choose.below(3 if drawn else 13)
    return BITS_LOG2_EXACT if 0 < drawn < 8 else size


def message(choose: Chooser, asked: Sequence[int] = ()) -> Message:  # noqa: C901 -- a case for each kind
    """A message that belongs into a datagram.

    Args:
        choose: makes the choices.
        asked: numbers of questions that the node has asked, to answer.
    """
    who, epoch, count = name(choose), pick(choose, EPOCHS), number(choose)
    match choose.below(18):
        case 0:
            return Ping(count, ME if choose.below(4) else who)
        case 1:
            return Ack(pick(choose, asked) if asked and choose.below(4) else count, octets(choose, 64))
        case 2:
            return ProbeRequest(count, who)
        case 3:
            return Nack(pick(choose, asked) if asked else count)
        case 4 | 5:
            where = pick(choose, ADDRESSES) if not choose.below(4) else address_of(who)
            return Alive(who, epoch, count, where, octets(choose, 512), pick(choose, SPANS))
        case 6:
            return Suspect(who, epoch, count, name(choose))
        case 7:
            return Dead(who, epoch, count, name(choose))
        case 8:
            return Left(who, epoch, count)
        case 9 | 10:
            first = pick(choose, NUMBERS)
            generation = pick(choose, NUMBERS)
            added = keys(choose, 1000)
            return Ops(who, epoch, generation, bits_log2(choose), first, added[: len(added) // 8 * 8])
        case 11:
            return Offer(entry(choose))
        case 12:
            return Buckets(octets(choose, 256).ljust(8 * BUCKETS, b"\0"))
        case 13:
            return Entries(pick(choose, (0, 1, U32_MAX)), tuple(entry(choose) for _ in range(choose.below(6))))
        case 14:
            return Pull(tuple(entry(choose) for _ in range(choose.below(6))))
        case 15:
            return UserMessage(octets(choose, 600))
        case 16:
            return Broadcast(who, epoch, count, octets(choose, 512))
        case _:
            return NameClaim(epoch, choose.below(3))


def stream_message(choose: Chooser, asked: Sequence[int] = ()) -> Message:
    """A message that may come over a stream."""
    match choose.below(10):
        case 0:
            where = pick(choose, ADDRESSES)
            said = (name(choose), pick(choose, EPOCHS), number(choose), pick(choose, tuple(State)), where)
            return Record(*said, octets(choose, 512), pick(choose, SPANS))
        case 1 | 2:
            size = bits_log2(choose)
            part = pick(choose, (1, 1000, CHUNK_MAX_BYTES, 1 << min(size, 26) - 3))
            offset = pick(choose, (0, 0, 1, 1000, 2048, CHUNK_MAX_BYTES))
            return Chunk(entry(choose), size, offset, bytes(min(part, CHUNK_MAX_BYTES)))
        case 3 | 4:
            return Done()
        case 5:
            return UserState(octets(choose, 1000))
        case 6:
            return KeyOrder(pick(choose, tuple(KeyAction)), choose.octets(4 * choose.below(9)).ljust(32, b"k")[:32])
        case 7:
            return KeyReport(bytes(4 * choose.below(17)), "")
        case _:
            return message(choose, asked)


def packet(choose: Chooser, messages: Sequence[Message], fingerprint: bytes, sender: str | None = None) -> bytes:
    """A packet of these; the fingerprint mostly agrees with the node's."""
    view = fingerprint if choose.below(3) else choose.octets(8).ljust(8, b"\0")
    return encode_packet(sender or name(choose), pick(choose, EPOCHS), view, map(encode_message, messages))
