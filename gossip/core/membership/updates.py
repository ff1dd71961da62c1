"""SWIM's view of the cluster: what is heard of members, what is believed, and what is passed on.

Every statement, wherever it comes from, becomes a candidate `Member` and is compared with the one believed by
`precedence`; only a greater one changes anything, and what changed something is passed on as a rumour. Statements about
this node are never believed but refuted. All changes of state happen in `_become`.

    ALIVE ──suspect──▶ SUSPECT ──timeout or dead──▶ DEAD ──forget──▶ (unknown)
      ▲                   │                          │
      └──alive, higher────┴──alive, higher───────────┘        any ──left──▶ LEFT, which only a newer epoch ends

Source: SWIM section 4.2; Lifeguard section IV-B for confirmations.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from ..context import Context, Timer
from ..errors import StateError
from ..events import Refuted, Rejected
from ..messages import Alive, Dead, Left, Message, Record, Suspect
from ..packets.codec import U32_MAX, U64_MAX, encode_message
from ..packets.rumours import Topic
from .member import Address, Member, State
from .suspicion import Suspicion, suspect

_RENEWAL_BITS: Final = 16  # a step of up to 65 s of the clock that epochs come from

Observer = Callable[[Member | None, Member | None, float], None]


class Membership:
    """The member table of one node, and this node's own record.

    Args:
        context: the node's parts; suspicions and forgetting are deadlines there.
        me: this node's record.
        observe: called with (before, after, now) for each change of another member.
        namesake: called with an address at which somebody else uses this node's name.
    """

    def __init__(
        self, context: Context, me: Member, observe: Observer, namesake: Callable[[Address, float], None]
    ) -> None:
        self._config = context.config
        self._context = context
        self._namesake = namesake
        self._members = context.members
        self._rumours = context.rumours
        self._awareness = context.awareness
        self._deadlines = context.deadlines
        self._emit = context.emit
        self._observe = observe
        self._suspicions: dict[str, Suspicion] = {}
        self._renewed_at = -math.inf
        self.me = me

    @property
    def live_count(self) -> int:
        """Live members, this node included unless it has left; the n of all timeouts."""
        return self._members.live_count + 1

    def statement(self, member: Member, accuser: str) -> Message:
        """What this node would say of a member, as a rumour."""
        match member.state:
            case State.ALIVE:
                return alive_message(member)
            case State.SUSPECT:
                return Suspect(member.name, member.epoch, member.incarnation, accuser)
            case State.DEAD:
                return Dead(member.name, member.epoch, member.incarnation, accuser)
            case State.LEFT:
                return Left(member.name, member.epoch, member.incarnation)

    def announce(self) -> None:
        """Tell everybody this node's own record."""
        self._tell(self.statement(self.me, self.me.name))

    def update(self, metadata: bytes) -> None:
        """Change this node's metadata.

        Raises:
            StateError: it has left.
        """
        if self.me.state is State.LEFT:
            raise StateError("this node has left the cluster")
        if self.me.incarnation < U32_MAX:
            self._state_anew(self.me.epoch, self.me.incarnation + 1, metadata)
        else:
            self._state_anew(self.me.epoch + 1, 0, metadata)
        self.announce()

    def leave(self) -> None:
        """Record that this node says goodbye, and tell everybody."""
        self.me = replace(self.me, state=State.LEFT)
        self.announce()

    def hear_alive(self, heard: Alive, now: float) -> None:
        """A member says that it is there."""
        if heard.name == self.me.name:
            self._hear_of_me(heard, now)
            return
        known = self._members.get(heard.name)
        member = _member(heard, now)
        if known is None or member.precedence > known.precedence:
            if not self._admits(member) or (known is None and not self._make_room(now)):
                return
            self._become(known, member, now)
            self._tell(heard)
        elif heard.epoch == known.epoch and heard.incarnation > known.recorded and self._admits(member):
            # The accusation against this incarnation overtook its record: it still holds, but the record was missing.
            late = replace(_member(heard, now), incarnation=known.incarnation, state=known.state)
            self._become(known, late, now)

    def hear_suspect(self, heard: Suspect, now: float) -> None:
        """Somebody could not reach a member."""
        known = self._accusable(heard, now)
        if known is None:
            return
        suspicion = self._suspicions.get(heard.name)
        if suspicion is not None:
            if suspicion.confirm(heard.accuser):
                # Not in the past, or it would look as if this node had not been run since then.
                self._deadlines.set((Timer.SUSPICION, heard.name), max(now, suspicion.deadline))
                self._tell(heard)
        elif known.state is not State.SUSPECT or heard.incarnation > known.incarnation:
            self._suspicions[heard.name] = suspicion = suspect(self._config, self.live_count, heard.accuser, now)
            self._deadlines.set((Timer.SUSPICION, heard.name), suspicion.deadline)
            self._tell(heard)
        if (heard.incarnation, State.SUSPECT) > (known.incarnation, known.state):
            self._become(known, replace(known, state=State.SUSPECT, incarnation=heard.incarnation), now)

    def hear_dead(self, heard: Dead, now: float) -> None:
        """A suspect did not refute in time."""
        known = self._accusable(heard, now)
        if known is not None:
            self._become(known, replace(known, state=State.DEAD, incarnation=heard.incarnation), now)
            self._tell(heard)

    def hear_left(self, heard: Left, now: float) -> None:
        """A member said goodbye."""
        if heard.name == self.me.name:
            self._hear_of_me(heard, now)
            return
        known = self._members.get(heard.name)
        if known is not None and known.epoch == heard.epoch and known.state is not State.LEFT:
            self._become(known, replace(known, state=State.LEFT, incarnation=heard.incarnation), now)
            self._tell(heard)

    def hear_record(self, heard: Record, now: float) -> None:
        """A full exchange states what the other side believes of a member.

        Death on hearsay only makes a suspect: after a partition both sides hold each other's members for dead, and each
        of those must have its chance to refute. Tombstones of strangers are of no use and ignored.
        """
        if heard.state <= State.SUSPECT or heard.name == self.me.name:
            said = (heard.name, heard.epoch, heard.incarnation, heard.address, heard.metadata, heard.protocol)
            self.hear_alive(Alive(*said), now)
        if heard.state is State.LEFT:
            self.hear_left(Left(heard.name, heard.epoch, heard.incarnation), now)
        elif heard.state is not State.ALIVE:
            self.hear_suspect(Suspect(heard.name, heard.epoch, heard.incarnation, self.me.name), now)

    def suspect(self, name: str, now: float) -> None:
        """This node's own probe of a member failed."""
        known = self._members.get(name)
        if known is not None and known.live:
            self.hear_suspect(Suspect(name, known.epoch, known.incarnation, self.me.name), now)

    def expire_suspicion(self, name: str, now: float) -> None:
        """A suspicion's deadline passed."""
        known = self._members.get(name)
        assert known is not None
        self.hear_dead(Dead(name, known.epoch, known.incarnation, self.me.name), now)

    def forget(self, name: str, now: float) -> None:
        """Drop a member that has been dead or gone for long."""
        known = self._members.get(name)
        assert known is not None
        self._members.drop(name)
        self._rumours.drop(Topic.MEMBERSHIP, name)
        self._deadlines.cancel((Timer.FORGET, name))
        self._observe(known, None, now)

    def extend_suspicions(self, by_s: float, now: float) -> None:
        """Give every suspect the time back in which this node did not run, and some more to be heard."""
        for name, suspicion in self._suspicions.items():
            suspicion.started_at += by_s
            suspicion.not_before = now + 2 * self._config.probe_interval_s
            self._deadlines.set((Timer.SUSPICION, name), suspicion.deadline)

    def _accusable(self, heard: Suspect | Dead, now: float) -> Member | None:
        """The member that an accusation is about, if it tells this node anything."""
        if heard.name == self.me.name:
            self._hear_of_me(heard, now)
            return None
        known = self._members.get(heard.name)
        if known is None or known.epoch != heard.epoch:
            return None
        if known.state is State.LEFT:
            self._tell(self.statement(known, self.me.name))
            return None
        if heard.incarnation < known.incarnation:
            return None
        if known.state is State.DEAD:
            if heard.incarnation > known.incarnation:
                self._become(known, replace(known, incarnation=heard.incarnation), now)
            return None
        return known

    def _hear_of_me(self, heard: Alive | Suspect | Dead | Left, now: float) -> None:
        """Refute what others say of this node; a run that they hold for newer is overtaken."""
        me = self.me
        if isinstance(heard, Alive) and heard.epoch >= me.epoch and heard.address != me.address:
            self._namesake(heard.address, now)
        if me.state is State.LEFT or heard.epoch < me.epoch:
            return
        if heard.epoch > me.epoch or isinstance(heard, Left):
            self._renew(heard.epoch, now)
            return
        if heard.incarnation < me.incarnation:
            return
        if isinstance(heard, Alive) and heard.incarnation == me.incarnation and heard.address == me.address:
            return
        if heard.incarnation == U32_MAX:
            self._renew(heard.epoch, now)
            return
        self._state_anew(me.epoch, heard.incarnation + 1, me.metadata)
        self._awareness.add(1)
        self._emit(Refuted(self.me.incarnation))
        self.announce()

    def _renew(self, epoch: int, now: float) -> None:
        """Continue under a newer epoch; at most once a probe interval, for a namesake may do the same."""
        if now - self._renewed_at < self._config.probe_interval_s or epoch >= U64_MAX:
            return
        self._renewed_at = now
        # By a step of chance: another run of this node, cut off, may have heard of the same epoch and gone on from it.
        step = 1 + self._context.rng.getrandbits(_RENEWAL_BITS)
        self._state_anew(min(epoch + step, U64_MAX), 0, self.me.metadata)
        self.announce()

    def _state_anew(self, epoch: int, incarnation: int, metadata: bytes) -> None:
        self.me = replace(self.me, epoch=epoch, incarnation=incarnation, recorded=incarnation, metadata=metadata)

    def _admits(self, member: Member) -> bool:
        """Whether a record may be believed, by its address, its versions of the protocol, and the application."""
        reason = None
        if not self._context.allowed.allows(member.address.host):
            reason = "allow"
        elif (common := self._members.common(self._config.protocol) & member.protocol).low > common.high:
            reason = "version"
        elif not self._context.delegate.admit(member):
            reason = "veto"
        if reason is not None:
            self._emit(Rejected(reason, member.address))
        return reason is None

    def _make_room(self, now: float) -> bool:
        if len(self._members) < self._config.members_max:
            return True
        gone = self._gone()
        if not gone:
            return False
        self.forget(min(gone, key=lambda member: member.changed_at).name, now)
        return True

    def _become(self, known: Member | None, member: Member, now: float) -> None:
        """The one place where what is believed of another member changes."""
        name = member.name
        if known is None or known.state is not member.state:
            member = replace(member, changed_at=now)
        else:
            member = replace(member, changed_at=known.changed_at)
        if member.state is not State.SUSPECT and name in self._suspicions:
            del self._suspicions[name]
            self._deadlines.cancel((Timer.SUSPICION, name))
        if member.live:
            self._deadlines.cancel((Timer.FORGET, name))
        elif known is None or known.live:
            self._deadlines.set((Timer.FORGET, name), now + self._config.forget_after_s)
        self._members.put(member)
        self._observe(known, member, now)
        if not member.live:
            self._bury(now)

    def _bury(self, now: float) -> None:
        """Keep no more of the gone than fits: the oldest goes, unless there are as many live."""
        while len(self._members) - self._members.live_count > max(self._config.gone_max, self._members.live_count):
            self.forget(min(self._gone(), key=lambda member: member.changed_at).name, now)

    def _gone(self) -> list[Member]:
        return [member for member in self._members if not member.live]

    def _tell(self, message: Message) -> None:
        assert isinstance(message, Alive | Suspect | Dead | Left)
        self._rumours.add(Topic.MEMBERSHIP, message.name, encode_message(message))


def alive_message(member: Member) -> Alive:
    """A member's record as the rumour that it started itself."""
    return Alive(member.name, member.epoch, member.recorded, member.address, member.metadata, member.protocol)


def record_message(member: Member) -> Record:
    """A member's record and state, for full exchanges."""
    said = (member.name, member.epoch, member.recorded, member.state, member.address, member.metadata)
    return Record(*said, member.protocol)


def _member(heard: Alive, now: float) -> Member:
    return Member(
        heard.name,
        heard.address,
        heard.epoch,
        heard.incarnation,
        State.ALIVE,
        heard.metadata,
        changed_at=now,
        recorded=heard.incarnation,
        protocol=heard.protocol,
    )
