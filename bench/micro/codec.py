"""Packets as they are made and read: the messages of a cluster of twenty, encoded, sealed, opened, decoded."""

import os
import random
from collections.abc import Sequence
from typing import Final

from gossip.core.membership.member import PROTOCOL, Address
from gossip.core.messages import Ack, Alive, Entries, Entry, Message, Ops, Ping
from gossip.core.packets.codec import DATAGRAM_INFLATED_MAX_BYTES, decode_packet, encode_message, encode_packet
from gossip.core.packets.keyring import Keyring
from gossip.core.packets.seal import Seal

from ..report import Cell, Samples, Table
from ..rounds import turned
from .amount import Amount, cpu_us

_EPOCH: Final = 1_790_000_000_000
_METADATA: Final = b'{"port":5001,"home":"yes"}'
_STEPS: Final = ("encode", "seal", "open", "decode")


def measure(amount: Amount) -> list[Table]:
    """Time each step for each packet."""
    keys = [os.urandom(32)]
    sender = Seal("bench", Keyring(keys), PROTOCOL, os.urandom)
    receiver = Seal("bench", Keyring(keys), PROTOCOL, os.urandom)
    packets = _packets(random.Random(1))
    times = {name: {step: Samples() for step in _STEPS} for name in packets}
    sizes: dict[str, int] = {}
    for number in range(amount.rounds):
        for name in turned(list(packets), number):
            sizes[name] = _time(packets[name], sender, receiver, amount.calls, times[name])
    names = list(packets)
    return [
        Table.of(
            f"A packet of a sealed cluster, us of CPU time for each step: median and range of {amount.rounds} rounds",
            {"packet": "packet"},
            {"datagram_bytes": ("bytes", ".0f"), **{f"{step}_us": (step, ".1f") for step in _STEPS}},
            [{"packet": it, "datagram_bytes": float(sizes[it]), **_steps(times[it])} for it in names],
        ),
        Table.of(
            "Such packets that one core makes, and reads, in a second, with nothing else to do",
            {"packet": "packet"},
            {"made_per_s": ("made", ",.0f"), "read_per_s": ("read", ",.0f")},
            [{"packet": it, **_rates(times[it])} for it in names],
        ),
    ]


def _packets(rng: random.Random) -> dict[str, list[Message]]:
    names = [f"node-{number:02}" for number in range(20)]
    address = Address("10.0.0.17", 7946)
    alive = [Alive(name, _EPOCH, 3, address, _METADATA, PROTOCOL) for name in names]
    entries = tuple(Entry(name, _EPOCH + rng.getrandbits(16), 2, 1, rng.getrandbits(10)) for name in names)
    return {
        "a ping": [Ping(12345, names[1])],
        "its answer": [Ack(12345)],
        "a ping with 5 rumours": [Ping(12345, names[1]), *alive[:5]],
        "12 new keys": [Ops(names[0], _EPOCH, 1, 15, 500, rng.randbytes(12 * 8))],
        "a full datagram of keys": [Ops(names[0], _EPOCH, 1, 15, 500, rng.randbytes(140 * 8))],
        "a view of 20 members": [Entries((1 << 32) - 1, entries)],
    }


def _time(messages: Sequence[Message], sender: Seal, receiver: Seal, calls: int, times: dict[str, Samples]) -> int:
    """Time the steps of one packet, over so many calls each. Returns the size of its datagram."""
    packet = encode_packet("node-00", _EPOCH, bytes(8), map(encode_message, messages))
    datagram = sender.wrap(packet)

    def encode() -> None:
        for _ in range(calls):
            encode_packet("node-00", _EPOCH, bytes(8), map(encode_message, messages))

    def seal() -> None:
        for _ in range(calls):
            sender.wrap(packet)

    def unseal() -> None:
        for _ in range(calls):
            receiver.unwrap(datagram)

    def decode() -> None:
        for _ in range(calls):
            decode_packet(packet, DATAGRAM_INFLATED_MAX_BYTES)

    for step, work in zip(_STEPS, (encode, seal, unseal, decode), strict=True):
        times[step].values.append(cpu_us(work) / calls)
    return len(datagram)


def _steps(times: dict[str, Samples]) -> dict[str, Cell]:
    return {f"{step}_us": samples for step, samples in times.items()}


def _rates(times: dict[str, Samples]) -> dict[str, Cell]:
    return {
        "made_per_s": _per_s(times["encode"], times["seal"]),
        "read_per_s": _per_s(times["open"], times["decode"]),
    }


def _per_s(one: Samples, other: Samples) -> Samples:
    """How often two steps after each other can be done in a second."""
    return Samples([1e6 / (first + second) for first, second in zip(one.values, other.values, strict=True)])
