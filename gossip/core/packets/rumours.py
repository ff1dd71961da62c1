"""Rumours: news that rides on every packet until enough copies of it were sent.

A rumour has a topic and a slot within it; a newer one in the same slot replaces the older. That bounds the queue by
the number of slots, and makes an outdated rumour vanish as soon as a better one is heard. A packet takes the rumours
with the fewest copies first, and the newest of those first. The topics take turns in leading: the leader may fill the
whole packet, the others get what it leaves. So each topic has every third packet to itself if it needs it: a storm of
membership news cannot starve the directory or the application, and a long rumour does not wait behind short ones.

A rumour that could never fit a packet is refused when it is added, not stuck in the queue.

Source: SWIM section 4.1; memberlist queue.go.
"""

import enum
import math
from collections.abc import Hashable
from typing import Final

_SMALLEST_BYTES: Final = 16
"""Bytes of the shortest rumour. With less room than this in a packet the queue need not be searched."""


class Topic(enum.Enum):
    """What rumours are about; each topic has a queue."""

    MEMBERSHIP = 0
    DIRECTORY = 1
    USER = 2


_TOPICS: Final = tuple(Topic)


class _Queue:
    """The rumours of one topic, in tiers: of those in tier i, i copies were sent; the newest is last."""

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

    def drop_most_sent(self) -> None:
        self.drop(next(slot for tier in reversed(self._tiers) for slot in tier))

    def take(self, room: int, copies: int) -> list[bytes]:
        picked = []
        for tier, rumours in enumerate(self._tiers):
            for slot, encoded in reversed(rumours.items()):
                if room < _SMALLEST_BYTES:
                    break
                if len(encoded) <= room:
                    room -= len(encoded)
                    picked.append((slot, encoded, tier))
        for slot, encoded, tier in reversed(picked):
            if tier + 1 >= copies:
                self.drop(slot)
            else:
                self.put(slot, encoded, tier + 1)
        return [encoded for _, encoded, _ in picked]


class Rumours:
    """The queue of one node.

    Args:
        slots_max: rumours per topic; beyond it the one with the most copies goes.
        packet_max_bytes: room for messages in one packet.

    `fresh` is set when a rumour is added; the rounds clear it.
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
        """Queue a rumour.

        Args:
            topic: what it is about.
            slot: a newer rumour of the same slot replaces this one.
            encoded: the message.
            sent: copies that count as sent already.

        Raises:
            ValueError: it fits no packet.
        """
        if len(encoded) > self._packet_max_bytes:
            raise ValueError(f"a rumour of {len(encoded)} bytes does not fit a packet")
        self.fresh = True
        queue = self._queues[topic]
        queue.put(slot, encoded, sent)
        if len(queue) > self._slots_max:
            queue.drop_most_sent()

    def drop(self, topic: Topic, slot: Hashable) -> None:
        """Forget a rumour; unknown slots are fine."""
        self._queues[topic].drop(slot)

    def clear(self) -> None:
        """Forget them all."""
        self._queues = {topic: _Queue() for topic in _TOPICS}

    def take(self, budget_bytes: int, copies: int) -> list[bytes]:
        """Rumours for one packet, at most `budget_bytes` together; after `copies` copies they leave the queue."""
        self._leader = (self._leader + 1) % len(_TOPICS)
        taken: list[bytes] = []
        for topic in (*_TOPICS[self._leader :], *_TOPICS[: self._leader]):
            if self._queues[topic]:
                picked = self._queues[topic].take(budget_bytes, copies)
                budget_bytes -= sum(map(len, picked))
                taken += picked
        return taken


def retransmit_limit(mult: int, live_count: int) -> int:
    """How many copies of a rumour one node sends in a cluster of `live_count` members, this node included."""
    return mult * math.ceil(math.log10(live_count + 1))
