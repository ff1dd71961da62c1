"""Which part of the node takes which message: one table, for packets and for streams."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from .context import Context
from .errors import Rejection, WireError
from .events import MessageReceived, StateReceived
from .membership.member import Address, Member, State
from .membership.statements import statement
from .messages import (
    Ack,
    Alive,
    Broadcast,
    Buckets,
    Dead,
    Entries,
    Entry,
    Left,
    Message,
    Nack,
    Offer,
    Ops,
    Packet,
    Ping,
    ProbeRequest,
    Pull,
    Suspect,
    UserMessage,
    UserState,
)
from .packets.codec import ACK_PAYLOAD_MAX_BYTES
from .parts import Parts

_REMIND_INTERVAL_S: Final = 0.2
"""Seconds between two reminders to a member that takes part while it is believed dead: its refutation takes as long."""

Handler = Callable[[Any, str, Address, float], object]
"""Takes (message, name of the sender, the address it came from, now)."""


@dataclass(frozen=True, slots=True)
class Route:
    """What is done with a kind of message.

    Args:
        handler: takes it.
        on_streams: whether it may come over a stream, too; what only belongs to a conversation never gets here.
        once: whether of several in one packet only the first is taken. Questions are: an answer to each would let one
            packet cause hundreds.
    """

    handler: Handler
    on_streams: bool = False
    once: bool = False


class Dispatch:
    """Hands the messages of packets and streams to the parts of one node.

    Args:
        context: the node's parts.
        parts: those that take messages.
    """

    def __init__(self, context: Context, parts: Parts) -> None:
        self._context = context
        self._members = context.members
        self._outbox = context.outbox
        self._own = parts.own
        self._prober = parts.prober
        self._farewell = parts.farewell
        self._conflicts = parts.conflicts
        self._dissemination = parts.dissemination
        self._comparisons = parts.dissemination.comparisons
        self._introductions = parts.introductions
        self._reminded_at: dict[str, float] = {}
        self._routes = self._table(parts)

    def _table(self, to: Parts) -> dict[type[Message], Route]:
        membership, prober, comparisons = to.membership, to.prober, to.dissemination.comparisons
        emit = self._context.emit
        return {
            # probes
            Ping: Route(self._answer_ping, once=True),
            Ack: Route(lambda ack, sender, _, now: self.hear_ack(ack, sender, now), on_streams=True),
            Nack: Route(lambda nack, sender, *_: prober.hear_nack(nack.number, sender)),
            ProbeRequest: Route(self._answering_member(prober.relay), once=True),
            # membership
            Alive: Route(lambda alive, _, __, now: membership.hear_alive(alive, now), on_streams=True),
            Suspect: Route(lambda suspect, _, __, now: membership.hear_suspect(suspect, now), on_streams=True),
            Dead: Route(lambda dead, _, __, now: membership.hear_dead(dead, now), on_streams=True),
            Left: Route(lambda left, _, __, now: membership.hear_left(left, now), on_streams=True),
            # directory
            Ops: Route(lambda ops, _, __, now: to.dissemination.hear_ops(ops, now), on_streams=True),
            Offer: Route(self._answering_member(to.dissemination.hear_offer)),
            Buckets: Route(
                self._answering_member(lambda it, address, _: comparisons.hear_buckets(it, address)), once=True
            ),
            Entries: Route(self._hear_entries, once=True),
            Pull: Route(self._answering_member(lambda it, address, _: comparisons.hear_pull(it, address)), once=True),
            # the application
            UserMessage: Route(lambda it, sender, *_: emit(MessageReceived(sender, it.payload)), on_streams=True),
            UserState: Route(lambda it, sender, *_: emit(StateReceived(sender, it.payload)), on_streams=True),
            Broadcast: Route(lambda broadcast, *_: to.broadcasts.hear(broadcast), on_streams=True),
        }

    def take(self, packet: Packet, source: Address, now: float) -> None:
        """Take a packet that the inbox let through.

        Raises:
            WireError: a message in it does not belong into packets; what came before it is taken.
        """
        if packet.sender == self._own.name:
            self._conflicts.receive(packet, source, now)
            return
        if self._conflicts.gave_way_to is not None:
            return
        self._introductions.hear_answers(packet, source, now)
        taken: set[type[Message]] = set()
        for message in packet.messages:
            route = self._routes.get(type(message))
            if route is None:
                raise WireError(Rejection.ORDER, "a message that does not belong here")
            if route.once:
                if type(message) in taken:
                    continue
                taken.add(type(message))
            route.handler(message, packet.sender, source, now)
        # Looked up only now, for the packet itself may have introduced its sender.
        sender = self._members.get(packet.sender)
        if sender is None:
            return
        self._dissemination.close_gaps(sender.address)
        if not sender.live and packet.epoch == sender.epoch:
            self._remind(sender, now)
        elif sender.live and self._own.me.state is not State.LEFT:
            self._comparisons.hear_fingerprint(packet.fingerprint, sender, now)

    def hear_on_stream(self, message: Message, sender: str, source: Address, now: float) -> None:
        """Take a message that concerns the node, not the conversation in which it came.

        Raises:
            WireError: it does not belong there.
        """
        route = self._routes.get(type(message))
        if route is None or not route.on_streams:
            raise WireError(Rejection.ORDER, "a message that does not belong here")
        route.handler(message, sender, source, now)

    def ack(self, ping: Ping) -> Ack | None:
        """The answer to a ping, if it is for this node."""
        if ping.target != self._own.name:
            return None
        return Ack(ping.number, self._context.delegate.acknowledge()[:ACK_PAYLOAD_MAX_BYTES])

    def hear_answer(self, packet: Packet, source: Address, now: float) -> bool:
        """Take the answers in a packet of one who has yet to prove itself. Returns whether anybody waited for one."""
        if packet.sender == self._own.name:
            return self._conflicts.answers(packet, source)
        acks = [message for message in packet.messages if isinstance(message, Ack)]
        heard = [self.hear_ack(ack, packet.sender, now) for ack in acks]
        return self._introductions.hear_answers(packet, source, now) or any(heard)

    def hear_ack(self, ack: Ack, sender: str, now: float) -> bool:
        """Take an answer of a member. Returns whether anybody waited for it."""
        return self._farewell.confirm(ack, sender) or self._prober.acknowledge(ack, sender, now)

    def forget(self, name: str) -> None:
        """The member is no more."""
        self._reminded_at.pop(name, None)

    def _answering_member(self, serve: Callable[[Any, Address, float], None]) -> Handler:
        """A handler of questions of members; `serve` is given the address to answer to.

        A guard against amplification: an answer that may be longer than its question goes only to the known address of
        a member, never to where a packet seems to come from.
        """

        def handler(message: Message, sender: str, _: Address, now: float) -> None:
            member = self._members.get(sender)
            if member is not None:
                serve(message, member.address, now)

        return handler

    def _hear_entries(self, entries: Entries, sender: str, source: Address, now: float) -> None:
        member = self._members.get(sender)
        if member is not None:
            self._dissemination.hear_view(entries, now)
            self._comparisons.hear_entries(entries, member.address)
        else:  # it knows this node, but not the other way round: ask for its record
            self._outbox.answer(source, [Pull((Entry(sender, 0, 0, 0, 0),))])

    def _answer_ping(self, ping: Ping, name: str, source: Address, now: float) -> None:
        ack, sender = self.ack(ping), self._members.get(name)
        if ack is None:
            return
        if sender is None or sender.address != source:
            # Without the application's bytes, if with them the answer would be longer than the question.
            self._outbox.answer(source, [ack], [Ack(ping.number)])
            return
        messages: list[Message] = [ack]
        if sender.state is State.SUSPECT:
            messages.append(statement(sender, self._own.name))
        self._outbox.send(source, messages)

    def _remind(self, sender: Member, now: float) -> None:
        """Tell a member that takes part while it is believed dead, so that it refutes."""
        if now - self._reminded_at.get(sender.name, -_REMIND_INTERVAL_S) >= _REMIND_INTERVAL_S:
            self._reminded_at[sender.name] = now
            self._outbox.send(sender.address, [statement(sender, self._own.name)])
