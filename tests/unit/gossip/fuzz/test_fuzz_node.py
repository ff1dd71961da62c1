"""A node that hears anything, in any order, for any time, is held to what must be true of any node."""

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from gossip.core.errors import WireError
from gossip.core.messages import FilterKind
from gossip.core.packets.codec import BODY_MAX_BYTES, decode_packet, encode_message

if TYPE_CHECKING:
    from tests.fuzz.world import World


class Drawn:
    """Choices of hypothesis, which can make them simpler."""

    def __init__(self, data: st.DataObject) -> None:
        self._draw = data.draw

    def below(self, count: int) -> int:
        return self._draw(st.integers(0, count - 1)) if count > 1 else 0

    def octets(self, count: int) -> bytes:
        return self._draw(st.binary(min_size=count, max_size=count))


class Anything(RuleBasedStateMachine):
    """Rules are the steps that fuzzers take, too; a test says by which modules of theirs."""

    targets: Any
    worlds: Any
    world: "World | None" = None

    @property
    def node(self) -> "World":
        assert self.world is not None
        return self.world

    @initialize(seed=st.integers(0, 3), sealed=st.booleans(), filters=st.sampled_from(FilterKind))
    def begin(self, seed: int, sealed: bool, filters: FilterKind) -> None:
        self.world = self.worlds.World(seed, sealed=sealed, config=self.worlds.small_config(filters))

    @rule(data=st.data())
    def hear(self, data: st.DataObject) -> None:
        self.targets.hear(self.node, Drawn(data))

    @rule(payload=st.binary(max_size=100), data=st.data())
    def hear_noise(self, payload: bytes, data: st.DataObject) -> None:
        source = self.targets.pick(Drawn(data), self.targets.ADDRESSES)
        self.node.receive(payload, source)
        self.node.receive(self.node.wrap(payload), source)

    @rule(duration_s=st.floats(0, 40))
    def pass_time(self, duration_s: float) -> None:
        self.node.pass_time(duration_s)

    @rule(duration_s=st.floats(0, 40))
    def pause(self, duration_s: float) -> None:
        self.node.pause(duration_s)

    @rule(data=st.data())
    def intend(self, data: st.DataObject) -> None:
        self.targets.intend(self.node, Drawn(data))

    @rule(data=st.data())
    def converse(self, data: st.DataObject) -> None:
        choose = Drawn(data)
        for talk in self.targets.open_talks(self.node, choose):
            self.targets.converse(self.node, choose, talk)

    @invariant()
    def rules_hold(self) -> None:
        if self.world is not None:
            self.world.check()


def test_node_stays_sound_whatever_it_hears(fuzz: Callable[[str], Any]) -> None:
    thorough = settings(max_examples=40, stateful_step_count=30, suppress_health_check=list(HealthCheck))
    Anything.targets, Anything.worlds = fuzz("targets"), fuzz("world")
    run_state_machine_as_test(Anything, settings=thorough)


@pytest.mark.parametrize("seed", range(4))
def test_node_stays_sound_through_thousands_of_packets(fuzz: Callable[[str], Any], seed: int) -> None:
    """Long enough for tables to fill and members to come and go; what nodes say in a storm is among it."""
    soak, worlds = fuzz("soak"), fuzz("world")
    storm = fuzz("recorded").record(seed, worlds.small_config(), duration_s=3.0)
    failures: Counter[str] = Counter()
    soak.live(seed, 2000, [storm], failures)
    assert not failures


@settings(max_examples=500)
@given(data=st.data())
def test_all_that_is_said_is_read_as_it_was_meant(fuzz: Callable[[str], Any], data: st.DataObject) -> None:
    """The grammar of the fuzzers says only what the codec can say."""
    grammar, choose = fuzz("grammar"), Drawn(data)
    speak = grammar.stream_message if choose.below(2) else grammar.message
    messages = tuple(speak(choose) for _ in range(choose.below(4)))
    assume(len(messages) < 2 or sum(len(encode_message(message)) for message in messages) < BODY_MAX_BYTES // 2)
    packet = decode_packet(grammar.packet(choose, messages, bytes(8)), 1 << 22)
    assert packet.messages == messages


@settings(max_examples=500)
@given(data=st.data(), damage=st.lists(st.tuples(st.integers(0, 500), st.binary(max_size=3)), min_size=1, max_size=3))
def test_any_bytes_are_a_packet_or_a_wire_error(
    fuzz: Callable[[str], Any], data: st.DataObject, damage: list[tuple[int, bytes]]
) -> None:
    grammar, choose = fuzz("grammar"), Drawn(data)
    payload = bytearray(grammar.packet(choose, [grammar.message(choose)], bytes(8)))
    for place, instead in damage:
        payload[place : place + len(instead)] = instead
    try:
        packet = decode_packet(bytes(payload), 16 * 1024)
    except WireError:
        return
    for message in packet.messages:
        assert encode_message(message)
