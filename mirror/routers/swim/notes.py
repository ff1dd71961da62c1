"""Notes of members to each other, and what happens to members and keys, as events for people."""

import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Final

import msgspec

import gossip
from gossip import Gossip, Member

from ...events import Event, KeysChanged, Kind, MemberChanged, Refuted, Tell, nobody
from .. import NOTE_MAX_BYTES, NOTES_MAX_BYTES, Listener, Topic, is_member_name

log = logging.getLogger(__name__)

_KINDS: Final[Mapping[type, Kind]] = {
    gossip.MemberJoined: Kind.MEMBER_JOINED,
    gossip.MemberSuspected: Kind.MEMBER_SUSPECTED,
    gossip.MemberRecovered: Kind.MEMBER_REFUTED,
    gossip.MemberFailed: Kind.MEMBER_DIED,
    gossip.MemberLeft: Kind.MEMBER_LEFT,
}
"""What people are told of a member, by the event of gossip."""


class SwimNotes(gossip.Delegate):
    """Implements `Notes`: each travels as a rumour, and all of them with the full exchanges of members.

    Both have one form: notes by topic. What happens to members and keys is heard on the same way, and told to people.

    Args:
        on_event: told of that.
    """

    def __init__(self, on_event: Tell = nobody) -> None:
        self._on_event = on_event
        self._gossip: Gossip | None = None
        self._events: AsyncIterator[gossip.Event | gossip.EventsLost] | None = None
        """What was heard and nobody has taken in yet."""
        self._listeners: Mapping[Topic, Listener] = {}

    def join(self, node: Gossip) -> None:
        """From now on this node of gossip, whose delegate this is, carries them. What it hears waits for `follow`."""
        self._gossip = node
        self._events = aiter(node.events())

    def state(self, *, joining: bool) -> bytes:
        """All notes, for gossip."""
        states = {topic.value: listener.state() for topic, listener in self._listeners.items()}
        for topic in [topic for topic, state in states.items() if len(state) > NOTES_MAX_BYTES]:
            log.error("what this node knows of %s is too long to be told bytes=%d", topic, len(states.pop(topic)))
        return msgspec.msgpack.encode(states)

    def tell(self, topic: Topic, note: bytes) -> None:
        """Tell all other members; see `Notes.tell`."""
        if self._gossip is not None and len(note) <= NOTE_MAX_BYTES:
            with contextlib.suppress(gossip.StateError):
                self._gossip.broadcast(msgspec.msgpack.encode({topic.value: note}))

    async def follow(self, listeners: Mapping[Topic, Listener]) -> None:
        """Take in what others tell; see `Notes.follow`."""
        assert self._events is not None
        self._listeners = listeners
        async for event in self._events:
            if isinstance(event, gossip.BroadcastReceived | gossip.StateReceived):
                for topic, notes in _notes_of(event.payload).items():
                    if topic in listeners:
                        _tell(listeners[Topic(topic)], notes)
            elif (happened := self._happened(event)) is not None:
                self._on_event(happened)

    def _happened(self, event: gossip.Event | gossip.EventsLost) -> Event | None:
        """What people are told; None of most events, which change nothing that they could see."""
        if (kind := _KINDS.get(type(event))) is not None:
            member: Member = event.member  # type: ignore[union-attr]  # all events of these types have one
            if not is_member_name(member.name):  # as in `statuses`: it is none of ours, whatever gossip thinks of it
                return None
            return MemberChanged(kind, member.name, str(member.address))
        if isinstance(event, gossip.Refuted) and self._gossip is not None:
            return Refuted(self._gossip.name)
        if isinstance(event, gossip.KeysChanged):
            return KeysChanged(tuple(identity.hex() for identity in event.ids))
        return None


def _tell(listener: Listener, notes: bytes) -> None:
    """Have a listener hear what a member says. Whatever that is, what comes after it is heard as well."""
    try:
        listener.heard(notes)
    except Exception:  # the root of a task: a bug here must not go unseen
        log.exception("what a member says was not taken in bytes=%d", len(notes))


def _notes_of(payload: bytes) -> Mapping[str, bytes]:
    """Notes by topic, as another member says them; what is none is dropped."""
    try:
        return msgspec.msgpack.decode(payload, type=dict[str, bytes])
    except ValueError:
        return {}
