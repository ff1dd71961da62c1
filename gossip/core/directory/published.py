"""The keys of this node itself, and the filter of them that others copy.

The set of keys is the truth; the filter is what others learn of it. Additions wait some 20 ms for further ones
and go out as one op; the first after a silence goes out at once. A filter cannot forget: after a withdrawal the stale
bit costs others one fast miss, until many keys have gone, or none has gone for a while; then a new generation is
built from the set. Growth is a new generation too. Building is cut into short steps: 50,000 keys take 70 ms.

Source: Summary Cache (Fan et al., 2000) section V-B for the delay of rebuilds.
"""

from collections.abc import Iterable
from typing import Final

from ..config import GossipConfig
from ..messages import KEY_BYTES
from .filters import FilterRules
from .replica import Replica

_STEP_KEYS: Final = 1024
"""Keys that one step of a rebuild adds; it takes 1.5 ms, so that the event loop is not blocked."""
_NEVER: Final = float("-inf")


class PublishedFilter:
    """The keys of one node and their published filter.

    Args:
        config: times.
        rules: of the kind of filters that members publish.
        epoch: this run of the node.
    """

    def __init__(self, config: GossipConfig, rules: FilterRules, epoch: int) -> None:
        self._config = config
        self._rules = rules
        self._held: dict[bytes, None] = {}
        self._pending: dict[bytes, None] = {}
        self._gone: set[bytes] = set()
        self._next: Replica | None = None
        self._todo: list[bytes] = []
        self._flushed_at = self._withdrawn_at = self._rebuilt_at = _NEVER
        self.replica = self._generation(epoch, 0, 0)

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, key: bytes) -> bool:
        return key[:KEY_BYTES] in self._held

    @property
    def unpublished(self) -> int:
        """How many keys the published filter does not show yet."""
        return len(self._pending) + (len(self._held) if self._next is not None else 0)

    @property
    def room(self) -> int:
        """How many keys the largest filter has room for."""
        return self._rules.room

    def advertise(self, keys: Iterable[bytes]) -> int:
        """Hold these keys; those that the filter already shows are not published again.

        Returns:
            How many are not held, for want of room: with them the filter would say yes to everything.
        """
        left_out, room = 0, self.room
        for key in _heads(keys):
            if key in self._held:
                continue
            if len(self._held) >= room:
                left_out += 1
                continue
            self._held[key] = None
            if key in self._gone:
                self._gone.discard(key)
            else:
                self._pending[key] = None
        return left_out

    def withdraw(self, keys: Iterable[bytes], now: float) -> None:
        """Hold these keys no longer."""
        for key in _heads(keys):
            if key not in self._held:
                continue
            del self._held[key]
            if key in self._pending:
                del self._pending[key]
            else:
                self._gone.add(key)
                self._withdrawn_at = now

    def due_at(self) -> float | None:
        """When `publish` has something to do, s; None if nothing."""
        if self._next is not None:
            return self._flushed_at
        times = []
        if self._pending:
            times.append(self._flushed_at + self._config.batch_s)
        if self._gone:
            times.append(self._rebuild_at())
        return min(times, default=None)

    def publish(self, now: float) -> bytes | None:
        """Move what is pending into the filter.

        Returns:
            The keys that were added to the current generation, 8 bytes each, for others to add; empty if there is
            nothing for others yet. None if a new generation has begun: others have to learn its version.
        """
        self._flushed_at = now
        if self._next is not None:
            return self._build()
        if self._must_rebuild(now):
            self._begin_generation(now)
            return self._build()
        keys = b"".join(self._pending)
        self._pending.clear()
        self.replica.extend(keys)
        return keys

    def renew(self, epoch: int) -> None:
        """Go on under another epoch, with the same filter."""
        self.replica.epoch = epoch
        if self._next is not None:
            self._next.epoch = epoch

    def _rebuild_at(self) -> float:
        if len(self._gone) >= self._config.rebuild_share * self.replica.sequence:
            return max(self._withdrawn_at, self._rebuilt_at + self._config.rebuild_pause_s)
        return self._withdrawn_at + self._config.rebuild_quiet_s

    def _must_rebuild(self, now: float) -> bool:
        return (
            self._rules.is_outgrown(self.replica.filter.bits_log2, self.replica.sequence + len(self._pending))
            or len(self._pending) > self._config.snapshot_over_keys
            or (bool(self._gone) and now >= self._rebuild_at())
        )

    def _begin_generation(self, now: float) -> None:
        self._next = self._generation(self.replica.epoch, self.replica.generation + 1, len(self._held))
        self._todo = list(self._held)
        self._pending.clear()
        self._gone.clear()
        self._rebuilt_at = now

    def _build(self) -> bytes | None:
        assert self._next is not None
        self._next.extend(b"".join(self._todo[:_STEP_KEYS]))
        del self._todo[:_STEP_KEYS]
        if self._todo:
            return b""
        self.replica, self._next = self._next, None
        return None

    def _generation(self, epoch: int, generation: int, key_count: int) -> Replica:
        filled = self._rules.empty(self._rules.size_for(key_count))
        return Replica(epoch, generation, filled, self._config.log_keys)


def _heads(keys: Iterable[bytes]) -> Iterable[bytes]:
    return (bytes(key[:KEY_BYTES]) for key in keys)
