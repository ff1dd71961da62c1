"""Filters as they are built, told and fetched: CPU time on the publisher, and bytes on the wire.

Two real nodes, sealed and without sockets: one publishes its keys, the other joins and gets all of them over a stream,
and then hears of twelve more.
"""

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from gossip.core.config import GossipConfig, lan
from gossip.core.directory.kinds import rules_of
from gossip.core.directory.published import PublishedFilter
from gossip.core.membership.member import Address, Member, State
from gossip.core.messages import FilterKind
from gossip.core.node import Node
from gossip.core.packets.keyring import Keyring
from gossip.core.packets.seal import Seal

from ..report import BenchError, Cell, Samples, Table
from ..rounds import turned
from .amount import Amount, cpu_us

_KEY: Final = bytes(range(32))
_EPOCH: Final = 1_790_000_000_000
_NEWS: Final = 12
"""Keys that are added in the end: an image has about as many blobs."""
_QUIET_S: Final = 0.1
"""Seconds in which neither node has anything to do, before the last keys are added."""
_STEPS_MAX: Final = 10_000
"""Inputs after which two nodes that do not agree are given up."""


def measure(amount: Amount) -> Table:
    """Build filters of both kinds, and send them."""
    cases = [(kind, count) for count in amount.key_counts for kind in FilterKind]
    built = {case: Samples() for case in cases}
    longest = {case: Samples() for case in cases}
    for number in range(_rounds(amount)):
        for kind, count in turned(cases, number):
            steps = list(_build(_config(kind, count), _keys(count)))
            built[kind, count].values.append(sum(steps) / 1e3)
            longest[kind, count].values.append(max(steps[1:]) / 1e3)
    rows: list[dict[str, Cell]] = []
    for kind, count in cases:
        joined, told = _send(_config(kind, count), _keys(count + _NEWS))
        rows.append(
            {
                "kind": kind.name.lower(),
                "keys": float(count),
                "build_ms": built[kind, count],
                "step_ms": longest[kind, count],
                "join_bytes": float(joined),
                "join_key_bytes": joined / count,
                "news_bytes": float(told),
            }
        )
    return Table.of(
        "A node's own filter: CPU time to build it, and of the longest step that blocks, ms: median and range of "
        f"{_rounds(amount)} rounds;\nbytes over the stream by which one that joins gets it, both ways, sealed, in all "
        f"and for each key;\nand bytes of the datagram that then tells it of {_NEWS} keys more",
        {"kind": "filters"},
        {
            "keys": ("keys", ",.0f"),
            "build_ms": ("built", ".2f"),
            "step_ms": ("longest step", ".2f"),
            "join_bytes": ("joining", ",.0f"),
            "join_key_bytes": ("a key", ",.1f"),
            "news_bytes": ("news", ",.0f"),
        },
        rows,
    )


def _rounds(amount: Amount) -> int:
    """Building a large filter again and again tells little more."""
    return min(amount.rounds, 5)


def _config(kind: FilterKind, count: int) -> GossipConfig:
    """The settings of a LAN, with room for so many keys of either kind."""
    room_log2 = (64 * (count + _NEWS) - 1).bit_length()
    return replace(lan(label="bench"), filters=kind, filter_bits_log2_max=max(lan().filter_bits_log2_max, room_log2))


def _keys(count: int) -> list[bytes]:
    rng = random.Random(count)
    return [rng.randbytes(32) for _ in range(count)]


def _build(config: GossipConfig, keys: list[bytes]) -> Iterator[float]:
    """CPU time, us, until a node has noted the keys that it finds at its start, and of each step of publishing them."""
    published = PublishedFilter(config, rules_of(config), _EPOCH)
    yield cpu_us(lambda: published.advertise(keys))
    while published.unpublished:
        yield cpu_us(lambda: published.publish(0.0))


def _send(config: GossipConfig, keys: list[bytes]) -> tuple[int, int]:
    """Bytes by which a node that joins gets all keys but twelve, and those by which it hears of the others."""
    now = 0.0
    one, other = _node(config, 0), _node(config, 1)
    one.advertise(keys[:-_NEWS], now)
    for _ in range(_STEPS_MAX):
        if not one.view.unpublished:
            break
        one.tick(now)
    one.datagrams()
    other.join([one.view.me.address], now)
    joined = _talk(other, one, now)
    copy = other.view.replica(one.view.name)
    if copy is None or copy.version != one.view.published.version:
        raise BenchError("a node that joined does not have the filter of the other")
    now = _settle(one, other, now)
    one.advertise(keys[-_NEWS:], now)
    one.tick(now)
    told = _deliver(one, other, now)
    if not all(other.view.holders(key) for key in keys[-_NEWS:]):
        raise BenchError("a node did not hear of the other's new keys")
    return joined, told


def _settle(one: Node, other: Node, now: float) -> float:
    """Let time pass until neither has anything to tell. Returns the time then."""
    for _ in range(_STEPS_MAX):
        _deliver(one, other, now)
        waits = [at for node in (one, other) if (at := node.next_deadline()) is not None]
        if not one.view.waiting and not other.view.waiting and min(waits) > now + _QUIET_S:
            return now + _QUIET_S / 2
        now = max(now, min(waits))
        for node in (one, other):
            node.tick(now)
    raise BenchError("two nodes always have something to tell")


def _node(config: GossipConfig, number: int) -> Node:
    rng = random.Random(number)
    seal = Seal(config.label, Keyring([_KEY]), config.protocol, rng.randbytes, filters=config.filters)
    me = Member(f"node-{number:02}", Address(f"10.0.0.{number + 1}", 7946), _EPOCH, 0, State.ALIVE, b"", changed_at=0.0)
    return Node(config, me, seal, rng, 0.0)


def _talk(one: Node, other: Node, now: float) -> int:
    """Carry the conversation that a node opens. Returns its bytes, both ways."""
    (exchange,) = one.dials()
    halves = (exchange, other.answer(one.view.me.address))
    carried = 0
    while not all(half.finished for half in halves):
        speaker, hearer = halves if halves[0].my_turn else halves[::-1]
        for frame in speaker.frames():
            carried += len(frame)
            hearer.feed(frame, now)
    one.hang_up(halves[0], now)
    other.hang_up(halves[1], now)
    return carried


def _deliver(one: Node, other: Node, now: float) -> int:
    """Carry datagrams both ways until none is left. Returns the bytes of what the one had to send at first."""
    first: int | None = None
    for _ in range(_STEPS_MAX):
        sent, back = one.datagrams(), other.datagrams()
        if first is None:
            first = sum(len(datagram.payload) for datagram in sent)
        if not sent and not back:
            return first
        for datagram in sent:
            other.receive(datagram.payload, one.view.me.address, now)
        for datagram in back:
            one.receive(datagram.payload, other.view.me.address, now)
    raise BenchError("two nodes never stop talking")
