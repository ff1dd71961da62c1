"""What the directory of one node takes: microseconds for a lookup, and bytes in memory.

The directory gets its filters as snapshots, with as many random bits as the keys would set, and with a few real keys.
Lookups are measured with their rows in the caches of the CPU, as when a client asks for the blobs of one image, and
over more keys than the caches hold. Memory is counted object by object.
"""

import gc
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any, Final

from gossip.core.config import lan
from gossip.core.directory.bloom import BloomFilter, bits_log2_for
from gossip.core.directory.kinds import rules_of
from gossip.core.directory.positions import POSITIONS
from gossip.core.directory.replicas import Directory
from gossip.core.messages import Entry

from ..report import Goal, Report, Samples, Table

_SHAPES: Final = ((20, 10_000), (100, 1_000), (100, 10_000), (1_000, 1_000), (1_000, 10_000))
_WARM, _COLD = 100, 20_000
_ROUNDS: Final = 60
_GOALS: Final = {(100, 10_000): 1.5, (1_000, 10_000): 5.0}
_LOOKED_UP: Final = 20_000
_ROOMY: Final = 1 << 30  # bytes of memory: what it takes is to be seen here, not bounded
_OF_WHAT: Final = {"members": ("members", ".0f"), "digests": ("digests each", ".0f")}


@dataclass(frozen=True, slots=True)
class Footprint:
    """What was found for a number of members with a number of digests each: times in µs, sizes in bytes."""

    members: int
    digests: int
    lookups: dict[str, Samples]
    install_us: float
    rows_bytes: int
    total_bytes: int


def measure() -> Report:
    """Build directories and measure them, within a minute or two."""
    return _report([_footprint(members, digests) for members, digests in _SHAPES])


def _footprint(members: int, digests: int) -> Footprint:
    directory, held, install_us = filled(members, digests)
    rng = random.Random(2)
    strange = [rng.randbytes(32) for _ in range(_COLD)]
    kinds = {"hit": held[:_WARM], "miss": strange[:_WARM], "hit, cold": held[:_COLD], "miss, cold": strange}
    lookups = {kind: Samples() for kind in kinds}
    for number in range(_ROUNDS):
        for kind, keys in kinds.items():
            if len(keys) == _WARM or number < _ROUNDS // 10:
                lookups[kind].values.append(_lookup_us(directory, keys))
    return Footprint(members, digests, lookups, install_us, deep_bytes(directory.lookup.indexes), deep_bytes(directory))


def filled(members: int, digests: int) -> tuple[Directory, list[bytes], float]:
    """A directory, keys of 32 bytes that members hold, in any order, and how long one snapshot took, us."""
    rng, bits_log2 = random.Random(1), bits_log2_for(digests, lan().filter_bits_per_key)
    directory, held, spent_s = Directory(rules_of(lan()), lan().log_keys, _ROOMY, members), list[bytes](), 0.0
    for number in range(members):
        name, filled = f"n{number}", BloomFilter(bits_log2)
        keys = [rng.randbytes(32) for _ in range(max(1, min(digests, _LOOKED_UP // members)))]
        for key in keys:
            filled.add(key[:8])
        for _ in range((digests - len(keys)) * POSITIONS):
            position = rng.getrandbits(bits_log2)
            filled.bits[position >> 3] |= 1 << (position & 7)
        held += keys
        directory.begin(name, 1)
        started_at = time.thread_time()
        directory.install(Entry(name, 1, 0, 1, digests), filled)
        spent_s += time.thread_time() - started_at
        directory.count(name, counted=True)
    rng.shuffle(held)
    return directory, held, 1e6 * spent_s / members


def _lookup_us(directory: Directory, keys: Sequence[bytes]) -> float:
    holders = directory.holders
    started_at = time.thread_time()
    for key in keys:
        holders(key)
    return 1e6 * (time.thread_time() - started_at) / len(keys)


def deep_bytes(root: Any) -> int:
    """What an object and everything that only data can reach from it take in memory, each counted once."""
    seen, waiting, total = {id(root)}, [root], 0
    while waiting:
        item = waiting.pop()
        total += sys.getsizeof(item)
        for other in gc.get_referents(item):
            if id(other) not in seen and not isinstance(other, type | ModuleType | FunctionType):
                seen.add(id(other))
                waiting.append(other)
    return total


def _report(found: list[Footprint]) -> Report:
    lookups = Table.of(
        f"A lookup, us: median and range; warm over {_WARM} keys, cold over {_COLD}; CPU time",
        {},
        {**_OF_WHAT, **{kind: (kind, ".2f") for kind in found[0].lookups}},
        [{"members": float(it.members), "digests": float(it.digests), **it.lookups} for it in found],
    )
    memory = Table.of(
        "Memory of the directory of one node, counted; and the CPU time that a snapshot takes",
        {},
        {
            **_OF_WHAT,
            "rows": ("rows, MiB", ".1f"),
            "total": ("all, MiB", ".1f"),
            "each": ("KiB a member", ".1f"),
            "install": ("snapshot, ms", ".2f"),
        },
        [
            {
                "members": float(it.members),
                "digests": float(it.digests),
                "rows": it.rows_bytes / 2**20,
                "total": it.total_bytes / 2**20,
                "each": it.total_bytes / 2**10 / it.members,
                "install": it.install_us / 1e3,
            }
            for it in found
        ],
    )
    goals = [
        Goal(f"lookup, {kind}, N = {it.members}, us", goal, it.lookups[kind].median, most=True)
        for it in found
        if (goal := _GOALS.get((it.members, it.digests))) is not None
        for kind in ("hit", "miss")
    ]
    return Report("gossip-lookup", [lookups, memory], goals)
