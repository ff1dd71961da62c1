"""Reaching the cluster, and reaching it again: seeds, full exchanges, and attempts to heal partitions."""

from collections.abc import Iterable

from ..context import Context
from ..streams.purpose import Dial, Purpose
from ..timers import Timer
from .member import Address, State
from .own_record import OwnRecord


class Joining:
    """How one node gets to know others without having heard of them.

    Args:
        context: the node's parts; exchanges and attempts to heal are timers there.
        own: this node's record.
        dial: opens a stream to an address.
    """

    def __init__(self, context: Context, own: OwnRecord, dial: Dial) -> None:
        self._config = context.config
        self._rng = context.rng
        self._members = context.members
        self._timers = context.timers
        self._own = own
        self._dial = dial
        self._seeds: tuple[Address, ...] = ()
        self._timers.register(Timer.SYNC, self._sync)
        self._timers.register(Timer.HEAL, self._heal)

    def start(self, now: float) -> None:
        """Begin with the full exchanges, at a random time: nodes started together spread out."""
        self._timers.set(Timer.SYNC, now + self._config.sync_interval_s * (0.5 + self._rng.random() / 2))

    def stop(self) -> None:
        """Open no more streams."""
        self._timers.cancel(Timer.SYNC)
        self._timers.cancel(Timer.HEAL)

    def join(self, seeds: Iterable[Address], now: float) -> None:
        """Reach the cluster through any of these addresses, now and whenever it is lost; replaces earlier seeds."""
        self._seeds = tuple(dict.fromkeys(seed for seed in seeds if seed != self._own.me.address))
        for seed in self._unreached_seeds():
            self._dial(seed, Purpose.SYNC)
        self._timers.bring_forward(Timer.HEAL, now + self._config.join_retry_s)

    def note_dead(self, now: float) -> None:
        """A member died, or is behind a partition: try its address for as long as it is known."""
        self._timers.bring_forward(Timer.HEAL, now + self._config.heal_interval_s)

    def after_input(self, now: float) -> None:
        """A node that has lost everybody tries its seeds more often."""
        if not self._members.live_count and self._seeds and self._own.me.state is not State.LEFT:
            self._timers.bring_forward(Timer.HEAL, now + self._config.join_retry_s)

    def _sync(self, now: float) -> None:
        """A full exchange with one member, rarer in large clusters. Source: memberlist, `pushPullScale`."""
        for member in self._members.sample(1, lambda member: member.state is State.ALIVE):
            self._dial(member.address, Purpose.SYNC)
        # Twice the interval from 33 members on, three times from 65 on, and so on.
        scale = max(1, (self._members.cluster_size - 1).bit_length() - 4)
        self._timers.set(Timer.SYNC, now + self._config.sync_interval_s * scale)

    def _heal(self, now: float) -> None:
        """Try one address that should be in the cluster and is not: so partitions heal, however long they lasted."""
        dead = [member.address for member in self._members if member.state is State.DEAD]
        candidates = [*dead, *self._unreached_seeds()]
        if candidates:
            self._dial(self._rng.choice(candidates), Purpose.SYNC)
        alone = self._members.live_count == 0
        pause_s = self._config.join_retry_s if alone else self._config.heal_interval_s
        self._timers.set(Timer.HEAL, now + pause_s * (0.75 + self._rng.random() / 2))

    def _unreached_seeds(self) -> list[Address]:
        reached = {member.address for member in self._members if member.live}
        return [seed for seed in self._seeds if seed not in reached]
