"""Rumours that ride on every packet until they have been told often enough.

A rumour has a class and a slot within it; a newer one in the same slot replaces the older. That bounds the queue by
the number of slots, and makes an outdated rumour vanish as soon as a better one is heard. A packet takes rumours that
were told least first, the newest of those first. Both classes have half of a packet reserved; what one leaves unused
is the other's: a storm of membership news cannot starve the directory, nor the other way round.

A rumour that could never fit a packet is refused when it is added, not stuck in the queue.

Source: SWIM section 4.1; memberlist queue.go.
"""

import enum
import math
from collections.abc import Collection, Hashable
from dataclasses import dataclass


class Topic(enum.Enum):
    """A class of rumours."""

    MEMBERSHIP = 0
    DIRECTORY = 1


@dataclass(slots=True, eq=False)
class _Rumour:
    slot: Hashable
    encoded: bytes
    told: int
    order: int


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
        self._queues: dict[Topic, dict[Hashable, _Rumour]] = {topic: {} for topic in Topic}
        self._order = 0
        self.fresh = False

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def __bool__(self) -> bool:
        return any(self._queues.values())

    def add(self, topic: Topic, slot: Hashable, encoded: bytes, *, told: int = 0) -> None:
        """Queue a rumour; `told` counts the times it was sent already."""
        if len(encoded) > self._packet_max_bytes:
            raise ValueError(f"a rumour of {len(encoded)} bytes does not fit a packet")
        self._order += 1
        self.fresh = True
        queue = self._queues[topic]
        queue[slot] = _Rumour(slot, encoded, told, self._order)
        if len(queue) > self._slots_max:
            del queue[max(queue.values(), key=lambda rumour: (rumour.told, -rumour.order)).slot]

    def drop(self, topic: Topic, slot: Hashable) -> None:
        """Forget a rumour; unknown slots are fine."""
        self._queues[topic].pop(slot, None)

    def take(self, budget_bytes: int, limit: int) -> list[bytes]:
        """Rumours for one packet, at most `budget_bytes` together; told `limit` times, they leave the queue."""
        if not self:
            return []
        directory = self._pick(Topic.DIRECTORY, budget_bytes // 2, ())
        membership = self._pick(Topic.MEMBERSHIP, budget_bytes - _size(directory), ())
        directory += self._pick(Topic.DIRECTORY, budget_bytes - _size(directory) - _size(membership), directory)
        for topic, picked in ((Topic.DIRECTORY, directory), (Topic.MEMBERSHIP, membership)):
            self._tell(topic, picked, limit)
        return [rumour.encoded for rumour in (*directory, *membership)]

    def _pick(self, topic: Topic, room: int, besides: Collection[_Rumour]) -> list[_Rumour]:
        picked: list[_Rumour] = []
        for rumour in sorted(self._queues[topic].values(), key=lambda rumour: (rumour.told, -rumour.order)):
            if len(rumour.encoded) <= room and rumour not in besides:
                room -= len(rumour.encoded)
                picked.append(rumour)
        return picked

    def _tell(self, topic: Topic, picked: list[_Rumour], limit: int) -> None:
        for rumour in picked:
            rumour.told += 1
            if rumour.told >= limit:
                del self._queues[topic][rumour.slot]


def _size(picked: list[_Rumour]) -> int:
    return sum(len(rumour.encoded) for rumour in picked)


def retransmit_limit(mult: int, live_count: int) -> int:
    """How often one node tells a rumour in a cluster of `live_count` members, this node included."""
    return mult * math.ceil(math.log10(live_count + 1))
