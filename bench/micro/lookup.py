"""The directory of one node: a lookup among many members, how often it is wrong, and what all of it takes in memory.

Filters come as snapshots. Besides the keys that are looked up a Bloom filter has as many random bits as its other keys
would set, and a set of keys as many random keys. Lookups are measured with what they read in the caches of the CPU, as
when a client asks for the blobs of one image, and over more keys than the caches hold.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from gossip.core.config import lan
from gossip.core.directory.bloom import BloomFilter
from gossip.core.directory.exact import ExactFilter
from gossip.core.directory.filters import FilterRules
from gossip.core.directory.kinds import rules_of
from gossip.core.directory.positions import POSITIONS
from gossip.core.directory.replicas import Directory
from gossip.core.messages import KEY_BYTES, Entry, FilterKind

from ..memory import deep_bytes
from ..report import Cell, Goal, Samples, Table
from ..rounds import turned
from .amount import Amount, cpu_us

_WARM: Final = 100
"""Keys that are looked up again and again, as many as a large image has blobs."""
_COLD: Final = 20_000
"""Keys of which each is looked up once."""
_COLD_ROUNDS: Final = 3
_WARM_COLUMNS: Final = {
    "hit_us": ("hit", ".1f"),
    "miss_us": ("miss", ".1f"),
}
_MEDIAN_COLUMNS: Final = {
    "held_by_all_us": ("held by all", ".1f"),
    "cold_hit_us": ("hit, cold", ".1f"),
    "cold_miss_us": ("miss, cold", ".1f"),
}
_ROOMY: Final = 1 << 30
"""Bytes that a directory may take: what it takes is to be seen here, not bounded."""
_GOALS: Final = {(100, 10_000): 1.5, (1_000, 10_000): 5.0}
"""Microseconds of a lookup among Bloom filters at most, by members and keys of each."""


@dataclass(frozen=True, slots=True)
class Filled:
    """A directory in which every member has so many keys.

    Args:
        kind: of the filters.
        members: how many.
        keys: of each member.
        directory: theirs.
        held: keys of 32 bytes that one member has, in any order.
        shared: keys of 32 bytes that all members have.
        installed: CPU time that one snapshot took, ms.
        packed_bytes: of one filter, as it travels.
        times: CPU time of a lookup, us, by what is looked up.
    """

    kind: FilterKind
    members: int
    keys: int
    directory: Directory
    held: list[bytes]
    shared: list[bytes]
    installed: Samples
    packed_bytes: int
    times: dict[str, Samples] = field(default_factory=dict)


def measure(amount: Amount) -> tuple[list[Table], list[Goal]]:
    """Fill directories of both kinds, and look keys up in them."""
    strange = _random_keys(random.Random(2), _COLD)
    lookups: list[dict[str, Cell]] = []
    sizes: list[dict[str, Cell]] = []
    goals: list[Goal] = []
    for members, keys in amount.shapes:
        both = [fill(kind, members, keys) for kind in FilterKind]
        for number in range(amount.rounds):
            for filled in turned(both, number):
                _look_up(filled, strange, cold=number < _COLD_ROUNDS)
        lookups += [_lookup_row(filled, strange) for filled in both]
        sizes += [_size_row(filled) for filled in both]
        limit = _GOALS.get((members, keys))
        if limit is not None:
            times = both[FilterKind.BLOOM].times
            goals += [
                Goal(f"lookup, {what}, N = {members}, us", limit, times[what].median, most=True)
                for what in ("hit", "miss")
            ]
    return [_lookup_table(lookups, amount.rounds), _size_table(sizes)], goals


def fill(kind: FilterKind, members: int, keys: int) -> Filled:
    """A directory whose members have random keys, and a hundred in common."""
    rng, config = random.Random(1), replace(lan(), filters=kind)
    rules = rules_of(config)
    directory = Directory(rules, config.log_keys, _ROOMY, members)
    shared = _random_keys(rng, min(_WARM, keys // 2))
    held: list[bytes] = []
    installed, packed_bytes = Samples(), 0
    for number in range(members):
        name = f"n{number}"
        own = _random_keys(rng, max(1, min(keys - len(shared), _COLD // members)))
        held += own
        directory.begin(name, 1)
        filled = _filter(rules, kind, [*shared, *own], keys, rng)
        packed_bytes = len(filled.packed())
        entry = Entry(name, 1, 0, 1, keys)
        installed.values.append(cpu_us(lambda entry=entry, filled=filled: directory.install(entry, filled)) / 1e3)  # type: ignore[misc]
        directory.count(name, counted=True)
    rng.shuffle(held)
    return Filled(kind, members, keys, directory, held, shared, installed, packed_bytes)


def _filter(
    rules: FilterRules, kind: FilterKind, own: Sequence[bytes], keys: int, rng: random.Random
) -> BloomFilter | ExactFilter:
    """A filter that has some keys, and so many in all."""
    heads = [key[:KEY_BYTES] for key in own]
    if kind is FilterKind.EXACT:
        numbers = [int.from_bytes(head) for head in heads]
        return ExactFilter(sorted([*numbers, *(rng.getrandbits(64) for _ in range(keys - len(own)))]))
    filled = BloomFilter(rules.size_for(keys))
    for head in heads:
        filled.add(head)
    for _ in range((keys - len(own)) * POSITIONS):
        position = rng.getrandbits(filled.bits_log2)
        filled.bits[position >> 3] |= 1 << (position & 7)
    return filled


def _look_up(filled: Filled, strange: Sequence[bytes], *, cold: bool) -> None:
    """Measure each kind of lookup once more."""
    loads = {"hit": filled.held[:_WARM], "held by all": filled.shared, "miss": strange[:_WARM]}
    if cold:
        loads |= {"hit, cold": filled.held, "miss, cold": strange}
    holders = filled.directory.holders
    for what, keys in loads.items():

        def work(keys: Sequence[bytes] = keys) -> None:
            for key in keys:
                holders(key)

        filled.times.setdefault(what, Samples()).values.append(cpu_us(work) / len(keys))


def _lookup_row(filled: Filled, strange: Sequence[bytes]) -> dict[str, Cell]:
    found = [len(filled.directory.holders(key)) for key in strange]
    return {
        **_names(filled),
        **{key: filled.times[what] for key, (what, _) in _WARM_COLUMNS.items()},
        **{key: filled.times[what].median for key, (what, _) in _MEDIAN_COLUMNS.items()},
        "false_percent": 100 * sum(map(bool, found)) / len(found),
    }


def _lookup_table(rows: list[dict[str, Cell]], rounds: int) -> Table:
    return Table.of(
        f"A lookup among N members with so many keys each, us of CPU time: median and range of {rounds} rounds,\n"
        f"the median for keys that all hold, and of {_COLD_ROUNDS} rounds over more keys than caches hold (cold);\n"
        f"and which share of {_COLD:,} strange keys somebody seems to hold",
        {"kind": "filters"},
        {
            "members": ("N", ".0f"),
            "keys": ("keys", ".0f"),
            **_WARM_COLUMNS,
            **_MEDIAN_COLUMNS,
            "false_percent": ("false, %", ".2f"),
        },
        rows,
    )


def _size_row(filled: Filled) -> dict[str, Cell]:
    total = deep_bytes(filled.directory)
    return {
        **_names(filled),
        "index_bytes": deep_bytes(filled.directory.lookup.indexes),
        "total_bytes": total,
        "stated_bytes": filled.directory.memory_bytes,
        "member_bytes": total / filled.members,
        "key_bytes": total / filled.members / filled.keys,
        "packed_bytes": filled.packed_bytes,
        "install_ms": filled.installed.median,
    }


def _size_table(rows: list[dict[str, Cell]]) -> Table:
    return Table.of(
        "Memory of the directory of one node, bytes, counted object by object; its own account of it, which is what\n"
        "settings bound; a filter as it travels, bytes; and the CPU time that it takes to take one in, ms, the median",
        {"kind": "filters"},
        {
            "members": ("N", ".0f"),
            "keys": ("keys", ".0f"),
            "index_bytes": ("for lookups", ",.0f"),
            "total_bytes": ("all", ",.0f"),
            "stated_bytes": ("account", ",.0f"),
            "member_bytes": ("a member", ",.0f"),
            "key_bytes": ("a key", ".1f"),
            "packed_bytes": ("travels as", ",.0f"),
            "install_ms": ("taken in", ".2f"),
        },
        rows,
    )


def _names(filled: Filled) -> dict[str, Cell]:
    return {"kind": filled.kind.name.lower(), "members": float(filled.members), "keys": float(filled.keys)}


def _random_keys(rng: random.Random, count: int) -> list[bytes]:
    return [rng.randbytes(32) for _ in range(count)]
