"""Millions of packets against one node after the other: valid ones, mutated ones, noise, and recorded traffic.

Every node lives for some thousand packets. All is a function of the seed, so that what breaks a rule can be run again.
"""

import random
import resource
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Sequence
from typing import Final

from gossip.core.config import lan

from . import grammar
from .grammar import ADDRESSES, Chance, address_of, pick
from .recorded import Heard, record
from .targets import intend
from .world import World, small_config

_LIFE_PACKETS: Final = 20_000
_CHECK_EVERY: Final = 16
_STORMS: Final = 4
_REPORTS: Final = 20
_PASSING_S: Final = (0.0, 0.0, 0.001, 0.01, 0.05, 0.3, 2.0)
_SHOWN_MAX: Final = 5


class Traffic:
    """What one node hears.

    Args:
        seed: of all chance.
        storms: recorded traffic.
    """

    def __init__(self, seed: int, storms: Sequence[Sequence[Heard]]) -> None:
        self._rng = random.Random(seed)
        self._choose = Chance(self._rng)
        self._storm = self._rng.choice(storms)
        self._at = self._rng.randrange(len(self._storm))
        self._lately: deque[Heard] = deque([self._storm[0]], maxlen=64)
        config = lan(label="fuzz") if seed % 4 == 3 else small_config()
        self.world = World(seed, sealed=bool(seed % 2), config=config)

    def packet(self) -> None:
        """The next packet arrives."""
        chance = self._rng.random()
        if chance < 0.45:
            self._said(self._well_formed())
        elif chance < 0.65:
            self._said(self._mutated())
        elif chance < 0.9:
            self._said(self._recorded())
        elif chance < 0.95:
            payload = bytearray(self._wrapped(self._rng.choice(self._lately)[0]))
            self.world.receive(self._damage(payload), pick(self._choose, ADDRESSES))
        else:
            self.world.receive(self._rng.randbytes(self._rng.randrange(1500)), pick(self._choose, ADDRESSES))

    def meanwhile(self) -> None:
        """Time passes, and the application does something."""
        world, chance = self.world, self._rng.random()
        if chance < 0.02:
            world.pause(self._rng.random() * 10)
        elif chance < 0.1:
            intend(world, self._choose)
        for talk in world.dialled():
            talk.close()
        world.pass_time(pick(self._choose, _PASSING_S))

    def _said(self, heard: Heard) -> None:
        self._lately.append(heard)
        packet, source = heard
        self.world.receive(self._wrapped(packet), source)

    def _wrapped(self, packet: bytes) -> bytes:
        return self.world.wrap(packet, self._rng.randrange(3))

    def _well_formed(self) -> Heard:
        choose, sender = self._choose, grammar.name(self._choose)
        messages = [grammar.message(choose, tuple(self.world.asked)) for _ in range(choose.below(5))]
        if messages and not choose.below(64):
            messages *= choose.below(200)
        source = address_of(sender) if choose.below(4) else pick(choose, ADDRESSES)
        return grammar.packet(choose, messages, self.world.node.view.fingerprint, sender), source

    def _mutated(self) -> Heard:
        """A packet of lately, damaged inside of its seal, or with the head of one and the end of another."""
        packet, source = self._rng.choice(self._lately)
        if self._rng.random() < 0.3:
            other = self._rng.choice(self._lately)[0]
            packet = packet[: self._rng.randrange(len(packet) + 1)] + other[self._rng.randrange(len(other) + 1) :]
        return self._damage(bytearray(packet)), source

    def _recorded(self) -> Heard:
        """The next one of a storm, mostly; sometimes an earlier or later one."""
        jump = self._rng.randrange(-20, 21) if self._rng.random() < 0.2 else 1
        self._at = (self._at + jump) % len(self._storm)
        return self._storm[self._at]

    def _damage(self, packet: bytearray) -> bytes:
        for _ in range(self._rng.randrange(1, 4)):
            place = self._rng.randrange(len(packet) + 1)
            match self._rng.randrange(4):
                case 0:
                    packet[place : place + 1] = self._rng.randbytes(1)
                case 1 if place < len(packet):
                    packet[place] ^= 1 << self._rng.randrange(8)
                case 2:
                    del packet[place : place + self._rng.randrange(1, 9)]
                case _:
                    packet[place:place] = packet[place : place + self._rng.randrange(1, 9)]
        return bytes(packet)


def soak(packets: int, seed: int) -> int:
    """Run it, and say how it went. Returns 1 if any rule was broken, else 0."""
    storms = [record(seed + storm, small_config()) for storm in range(_STORMS)]
    _say(f"recorded {sum(map(len, storms))} datagrams of {_STORMS} storms")
    failures: Counter[str] = Counter()
    begun, done, life = time.monotonic(), 0, seed
    _report(done, packets, begun, failures)
    while done < packets:
        reports = done * _REPORTS // packets
        done += live(life, min(_LIFE_PACKETS, packets - done), storms, failures)
        life += 1
        if done * _REPORTS // packets > reports:
            _report(done, packets, begun, failures)
    return 1 if failures else 0


def live(seed: int, packets: int, storms: Sequence[Sequence[Heard]], failures: Counter[str]) -> int:
    """One node's life. Returns how many packets it heard; one that gave way, or broke a rule, is at its end."""
    traffic = Traffic(seed, storms)
    for done in range(1, packets + 1):
        try:
            traffic.packet()
            if done % 8 == 0:
                traffic.meanwhile()
            if done % _CHECK_EVERY == 0:
                traffic.world.check()
        except Exception as error:  # noqa: BLE001 -- counting them is what this is for
            failures[f"{type(error).__name__}: {error}"[:100]] += 1
            if sum(failures.values()) <= _SHOWN_MAX:
                _say(f"node {seed}, packet {done}:\n{''.join(traceback.format_exception(error))}")
            return done
        if traffic.world.node.view.gave_way_to is not None:
            return done
    return packets


def _report(done: int, packets: int, begun: float, failures: Counter[str]) -> None:
    took_s = time.monotonic() - begun
    with open("/proc/self/statm") as statm:
        resident = int(statm.read().split()[1]) * resource.getpagesize()
    rate = done / took_s if done else 0.0
    _say(
        f"{done:>10,} of {packets:,} packets  {took_s:6.0f} s  {rate:6.0f} /s  RSS {resident / 2**20:6.1f} MiB  "
        f"{sum(failures.values())} exceptions"
    )


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
