"""Rumours that ride on every packet until they have been told often enough.

A rumour has a class and a slot within it; a newer one in the same slot replaces the older. That bounds the queue by
the number of slots, and makes an outdated rumour vanish as soon as a better one is heard. A packet takes rumours that
were told least first, the newest of those first. The classes take turns in leading: the leader may fill the whole
packet, the others get what it leaves. So each class has every third packet to itself if it needs it, and a storm of
membership news cannot starve the directory or the application, nor a long rumour wait behind short ones for ever.

A rumour that could never fit a packet is refused when it is added, not stuck in the queue.

Source: SWIM section 4.1; memberlist queue.go.
"""

import enum
import math
from collections.abc import Hashable
from typing import Final

_SMALLEST_BYTES: Final = 16  # no rumour is shorter: with less room than this the rest need not be looked at


class Topic(enum.Enum):
    """A class of rumours."""

    MEMBERSHIP = 0
    DIRECTORY = 1
    USER = 2


_TOPICS: Final = tuple(Topic)


class _Queue:
    """The rumours of one class, in tiers: those of tier i were told i times, the newest last."""

    def __init__(self) -> None:
        self._tiers: list[dict[Hashable, bytes]] = []
        self._tier_of: dict[Hashable, int] = {}

    def __len__(self) -> int:
        return len(self._tier_of)

    def put(self, slot: Hashable, encoded: bytes, tier: int) -> None:
        self.drop(slot)
        while len(self._tiers) <= tier:
            self._tiers.append({})
        self._tiers[tier][slot] = encoded
        self._tier_of[slot] = tier

    def drop(self, slot: Hashable) -> None:
        tier = self._tier_of.pop(slot, None)
        if tier is not None:
            del self._tiers[tier][slot]

    def drop_most_told(self) -> None:
        self.drop(next(slot for tier in reversed(self._tiers) for slot in tier))

    def take(self, room: int, limit: int) -> list[bytes]:
        picked = []
        for tier, rumours in enumerate(self._tiers):
            for slot, encoded in reversed(rumours.items()):
                if room < _SMALLEST_BYTES:
                    break
                if len(encoded) <= room:
                    room -= len(encoded)
                    picked.append((slot, encoded, tier))
        for slot, encoded, tier in reversed(picked):
            if tier + 1 >= limit:
                self.drop(slot)
            else:
                self.put(slot, encoded, tier + 1)
        return [encoded for _, encoded, _ in picked]


class Rumours:
    """The queue of one node.

    Args:
        slots_max: bound per class; beyond it the most told rumour goes.
        packet_max_bytes: room for messages in one packet.

    `fresh` says that something was added since its owner last cleared it.
    """

    def __init__(self, slots_max: int, packet_max_bytes: int) -> None:
        self._slots_max = slots_max
        self._packet_max_bytes = packet_max_bytes
        self._queues = {topic: _Queue() for topic in _TOPICS}
        self._leader = 0
        self.fresh = False

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def add(self, topic: Topic, slot: Hashable, encoded: bytes, *, sent: int = 0) -> None:
        """Queue a rumour; `sent` counts the copies that went out already."""
        if len(encoded) > self._packet_max_bytes:
            raise ValueError(f"a rumour of {len(encoded)} bytes does not fit a packet")
        self.fresh = True
        queue = self._queues[topic]
        queue.put(slot, encoded, sent)
        if len(queue) > self._slots_max:
            queue.drop_most_told()

    def drop(self, topic: Topic, slot: Hashable) -> None:
        """Forget a rumour; unknown slots are fine."""
        self._queues[topic].drop(slot)

    def clear(self) -> None:
        """Forget them all."""
        self._queues = {topic: _Queue() for topic in _TOPICS}

    def take(self, budget_bytes: int, limit: int) -> list[bytes]:
        """Rumours for one packet, at most `budget_bytes` together; told `limit` times, they leave the queue."""
        self._leader = (self._leader + 1) % len(_TOPICS)
        taken: list[bytes] = []
        for topic in (*_TOPICS[self._leader :], *_TOPICS[: self._leader]):
            if self._queues[topic]:
                picked = self._queues[topic].take(budget_bytes, limit)
                budget_bytes -= sum(map(len, picked))
                taken += picked
        return taken


def retransmit_limit(mult: int, live_count: int) -> int:
    """How often one node tells a rumour in a cluster of `live_count` members, this node included."""
    return mult * math.ceil(math.log10(live_count + 1))
