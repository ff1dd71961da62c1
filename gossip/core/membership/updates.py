"""SWIM's membership updates: what is heard of members, what of it is believed, and what is passed on.

Every statement, wherever it comes from, becomes a `Member` and is compared with the one believed by `precedence`; only
a greater one changes anything, and what changed something is passed on as a rumour. That somebody is there, is back,
has restarted or moved is believed only when it has answered this node at that address (module `introductions`). All
changes of what is believed happen in `_become`. Statements about this node itself are never believed (`own_record`).

    ALIVE ──suspect──▶ SUSPECT ──timeout or dead──▶ DEAD ──forget──▶ (unknown)
      ▲                   │                          │
      └──alive, higher────┴──alive, higher───────────┘        any ──left──▶ LEFT, which only a newer epoch ends

Source: SWIM section 4.2; Lifeguard section IV-B for confirmations.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from ..context import Context
from ..messages import Alive, Dead, Left, Record, Suspect
from ..packets.rumours import Topic
from ..timers import Timer
from .admission import Admission, can_listen
from .member import Address, Member, State
from .own_record import OwnRecord
from .statements import member_of, spread, statement
from .suspicion import Suspicion, suspect

_HEARING_INTERVALS: Final = 2
"""After a pause of this node no suspicion ends before this many probe intervals: refutations sent meanwhile wait in its
socket behind the accusations that they answer."""

Observer = Callable[[Member | None, Member | None, float], None]


class Membership:
    """The rules by which the member table of one node changes.

    Args:
        context: the node's parts; suspicions and forgetting are timers there.
        own: this node's own record.
        observe: called with (before, after, now) for each change of another member.
        claim_name: called with an address at which another node uses this node's name.
        introduce: called with the record of one who has yet to answer before it is believed.
    """

    def __init__(
        self,
        context: Context,
        own: OwnRecord,
        observe: Observer,
        claim_name: Callable[[Address, float], None],
        introduce: Callable[[Alive, float], None],
    ) -> None:
        self._config = context.config
        self._members = context.members
        self._rumours = context.rumours
        self._timers = context.timers
        self._own = own
        self._observe = observe
        self._claim_name = claim_name
        self._introduce = introduce
        self._admission = Admission(context)
        self._suspicions: dict[str, Suspicion] = {}
        self._timers.register_per_member(Timer.SUSPICION, self._expire_suspicion)
        self._timers.register_per_member(Timer.FORGET, self._forget)

    def hear_alive(self, heard: Alive, now: float) -> None:
        """A member says that it is there."""
        if heard.name == self._own.name:
            if heard.address != self._own.me.address and can_listen(heard.address.host):
                self._claim_name(heard.address, now)
            self._own.hear(heard, now)
            return
        known = self._members.get(heard.name)
        member = member_of(heard, State.ALIVE, now)
        if known is None or member.precedence > known.precedence:
            if known is not None and known.live and _same_run(known, member):
                self.believe(heard, now)
            elif self._admission.admits(member):
                self._introduce(heard, now)
        elif _same_run(known, member) and heard.incarnation > known.recorded and self._admission.admits(member):
            # The accusation against this incarnation overtook its record: it still holds, but the record was missing.
            self._become(known, replace(member, incarnation=known.incarnation, state=known.state), now)

    def believe(self, heard: Alive, now: float) -> None:
        """A member is there, as it says, and this node knows that it is."""
        known, member = self._members.get(heard.name), member_of(heard, State.ALIVE, now)
        if known is not None and member.precedence <= known.precedence:
            return
        if self._admission.admits(member) and (known is not None or self._make_room(now)):
            self._become(known, member, now)
            spread(self._rumours, heard)

    def hear_suspect(self, heard: Suspect, now: float) -> None:
        """Somebody could not reach a member."""
        known = self._accusable(heard, now)
        if known is None:
            return
        suspicion = self._suspicions.get(heard.name)
        if suspicion is not None:
            if suspicion.confirm(heard.accuser):
                # Not in the past, or it would look as if this node had not been run since then.
                self._timers.set(Timer.SUSPICION, max(now, suspicion.deadline), heard.name)
                spread(self._rumours, heard)
        elif known.state is not State.SUSPECT or heard.incarnation > known.incarnation:
            self._suspicions[heard.name] = suspicion = suspect(
                self._config, self._members.cluster_size, heard.accuser, now
            )
            self._timers.set(Timer.SUSPICION, suspicion.deadline, heard.name)
            spread(self._rumours, heard)
        if (heard.incarnation, State.SUSPECT) > (known.incarnation, known.state):
            self._become(known, replace(known, state=State.SUSPECT, incarnation=heard.incarnation), now)

    def hear_dead(self, heard: Dead, now: float) -> None:
        """A suspect did not refute in time."""
        known = self._accusable(heard, now)
        if known is not None:
            self._become(known, replace(known, state=State.DEAD, incarnation=heard.incarnation), now)
            spread(self._rumours, heard)

    def hear_left(self, heard: Left, now: float) -> None:
        """A member said goodbye."""
        if heard.name == self._own.name:
            self._own.hear(heard, now)
            return
        known = self._members.get(heard.name)
        if known is not None and known.epoch == heard.epoch and known.state is not State.LEFT:
            self._become(known, replace(known, state=State.LEFT, incarnation=heard.incarnation), now)
            spread(self._rumours, heard)

    def hear_record(self, heard: Record, now: float) -> None:
        """A full exchange states what the other side believes of a member.

        Death on hearsay only makes a suspect: after a partition both sides hold each other's members for dead, and each
        of those must have its chance to refute. Tombstones of members that are unknown here are ignored.
        """
        if heard.state <= State.SUSPECT or heard.name == self._own.name:
            identity = (heard.name, heard.epoch, heard.incarnation)
            self.hear_alive(Alive(*identity, heard.address, heard.metadata, heard.protocol), now)
        if heard.state is State.LEFT:
            self.hear_left(Left(heard.name, heard.epoch, heard.incarnation), now)
        elif heard.state is not State.ALIVE:
            self.hear_suspect(Suspect(heard.name, heard.epoch, heard.incarnation, self._own.name), now)

    def suspect(self, name: str, now: float) -> None:
        """This node's own probe of a member failed."""
        known = self._members.get(name)
        if known is not None and known.live:
            self.hear_suspect(Suspect(name, known.epoch, known.incarnation, self._own.name), now)

    def extend_suspicions(self, by_s: float, now: float) -> None:
        """Give every suspect the time back in which this node did not run, and some more to be heard."""
        for name, suspicion in self._suspicions.items():
            suspicion.started_at += by_s
            suspicion.not_before = now + _HEARING_INTERVALS * self._config.probe_interval_s
            self._timers.set(Timer.SUSPICION, suspicion.deadline, name)

    def _expire_suspicion(self, name: str, now: float) -> None:
        """A suspicion's deadline passed."""
        known = self._members.get(name)
        assert known is not None
        self.hear_dead(Dead(name, known.epoch, known.incarnation, self._own.name), now)

    def _forget(self, name: str, now: float) -> None:
        """Drop a member that has been dead or gone for long."""
        known = self._members.get(name)
        assert known is not None
        self._members.drop(name)
        self._rumours.drop(Topic.MEMBERSHIP, name)
        self._timers.cancel(Timer.FORGET, name)
        self._observe(known, None, now)

    def _accusable(self, heard: Suspect | Dead, now: float) -> Member | None:
        """The member that an accusation is about, if it tells this node anything."""
        if heard.name == self._own.name:
            self._own.hear(heard, now)
            return None
        known = self._members.get(heard.name)
        if known is None or known.epoch != heard.epoch:
            return None
        if known.state is State.LEFT:
            # The accuser missed the goodbye: tell it again, or a goodbye would be read as a failure.
            spread(self._rumours, statement(known, self._own.name))
            return None
        if heard.incarnation < known.incarnation:
            return None
        if known.state is State.DEAD:
            if heard.incarnation > known.incarnation:
                self._become(known, replace(known, incarnation=heard.incarnation), now)
            return None
        return known

    def _make_room(self, now: float) -> bool:
        """Forget a member that is gone if the table is full. Returns whether there is room for another."""
        if len(self._members) < self._config.members_max:
            return True
        gone = self._gone()
        if not gone:
            return False
        self._forget(min(gone, key=lambda member: member.changed_at).name, now)
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
            self._timers.cancel(Timer.SUSPICION, name)
        if member.live:
            self._timers.cancel(Timer.FORGET, name)
        elif known is None or known.live:
            self._timers.set(Timer.FORGET, now + self._config.forget_after_s, name)
        self._members.put(member)
        self._observe(known, member, now)
        if not member.live:
            self._forget_surplus(now)

    def _forget_surplus(self, now: float) -> None:
        """Keep at most `gone_max` of the gone, or as many as are live, if those are more: the oldest go."""
        while len(self._members) - self._members.live_count > max(self._config.gone_max, self._members.live_count):
            self._forget(min(self._gone(), key=lambda member: member.changed_at).name, now)

    def _gone(self) -> list[Member]:
        return [member for member in self._members if not member.live]


def _same_run(known: Member, member: Member) -> bool:
    """Whether a record is of the run that is known, at its address, so that whoever is there has answered before."""
    return (known.epoch, known.address) == (member.epoch, member.address)
