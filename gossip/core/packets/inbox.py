"""From bytes to packets that may be believed: from an allowed source, opened, decoded, and no replay.

A stranger's sealed packet waits until the stranger has proven that it is alive (module `replay`). Its pings are
answered meanwhile, because the stranger needs the same proof of this node: one short datagram for each of its own.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from ..context import Context
from ..errors import Rejection, WireError
from ..membership.member import Address
from ..messages import Ack, Message, Packet, Ping
from .codec import DATAGRAM_INFLATED_MAX_BYTES, decode_packet
from .replay import Held, ReplayGuard
from .seal import Seal

_RUNS_MIN: Final = 64
"""Runs of processes that are believed at least, besides two for each member; each costs some 200 bytes."""


class Inbox:
    """Admits packets to one node.

    Args:
        context: the node's parts.
        seal: opens datagrams.
        answer_ping: gives the answer to a ping, if it is for this node.
        hear_answer: takes the answers in a packet from that address; returns whether anybody waited for one.
        prove: told of the name, address, epoch and time of a run that has answered at the address where it was asked.
    """

    def __init__(
        self,
        context: Context,
        seal: Seal,
        answer_ping: Callable[[Ping], Ack | None],
        hear_answer: Callable[[Packet, Address, float], bool],
        prove: Callable[[str, Address, int, float], None],
    ) -> None:
        self._context = context
        self._seal = seal
        self._answer_ping = answer_ping
        self._hear_answer = hear_answer
        self._prove = prove
        members = context.members
        self.guard = ReplayGuard(context.draw, lambda: _RUNS_MIN + 2 * len(members))

    def check_source(self, source: Address) -> None:
        """Refuse addresses outside of the allowed networks.

        Raises:
            WireError: this is one.
        """
        if not self._context.allowed.allows(source.host):
            raise WireError(Rejection.ALLOW, "from outside of the networks that are allowed")

    def admit(self, payload: bytes, source: Address, now: float) -> list[tuple[Packet, Address]]:
        """The packets that may be taken now, each with its source: this one, and those that waited for its proof.

        Raises:
            WireError: it must not be believed, now or later.
        """
        if len(payload) > self._context.config.datagram_max_bytes:
            raise WireError(Rejection.SIZE, "the datagram is longer than any of ours")
        self.check_source(source)
        opened = self._seal.unwrap(payload)
        packet = decode_packet(opened.packet, DATAGRAM_INFLATED_MAX_BYTES)
        if opened.run is None:
            return [(packet, source)]
        if not self.guard.admit(opened.run, opened.counter):
            raise WireError(Rejection.REPLAY, "a packet that was here before")
        if self.guard.believes(opened.run):
            return [(packet, source)]
        held = Held(packet, source, opened.counter)
        if self._proves(opened.run, held, now):
            return [*((waited.packet, waited.source) for waited in self.guard.believe(opened.run)), (packet, source)]
        self._meet(opened.run, held, now)
        return []

    def _proves(self, run: bytes, held: Held, now: float) -> bool:
        """Whether a stranger's packet answers what this node has asked."""
        packet, asked = held.packet, self.guard.asked(run)
        if not any(isinstance(message, Ack) and message.number == asked for message in packet.messages):
            return self._hear_answer(packet, held.source, now)
        if held.source == self.guard.asked_where(run):
            self._prove(packet.sender, held.source, packet.epoch, now)
        return True

    def _meet(self, run: bytes, held: Held, now: float) -> None:
        """Let a stranger's packet wait; answer its ping, and ask for its proof."""
        packet = held.packet
        rest = tuple(message for message in packet.messages if not isinstance(message, Ping | Ack))
        pings = (message for message in packet.messages if isinstance(message, Ping))
        ack = next(filter(None, map(self._answer_ping, pings)), None)
        choices: list[list[Message]] = [] if ack is None else [[ack], [Ack(ack.number)]]
        question = Ping(self.guard.asked(run), packet.sender)
        if self.guard.hold(run, replace(held, packet=replace(packet, messages=rest)), now):
            choices.insert(0, [question] if ack is None else [ack, question])
        if question in self._context.outbox.answer(held.source, *choices):
            self.guard.ask(run, held.source, now)
