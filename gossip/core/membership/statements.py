"""A member's record as a message, and back."""

from ..messages import Alive, Dead, Left, Record, Suspect
from ..packets.codec import encode_message
from ..packets.rumours import Rumours, Topic
from .member import Member, State

Statement = Alive | Suspect | Dead | Left


def statement(member: Member, accuser: str) -> Statement:
    """What is believed of a member, as a rumour.

    Args:
        member: the member.
        accuser: the name of the node that states it; a suspicion and a death bear it.
    """
    match member.state:
        case State.ALIVE:
            return alive_message(member)
        case State.SUSPECT:
            return Suspect(member.name, member.epoch, member.incarnation, accuser)
        case State.DEAD:
            return Dead(member.name, member.epoch, member.incarnation, accuser)
        case State.LEFT:
            return Left(member.name, member.epoch, member.incarnation)


def alive_message(member: Member) -> Alive:
    """A member's record as the rumour that it started itself."""
    return Alive(member.name, member.epoch, member.recorded, member.address, member.metadata, member.protocol)


def record_message(member: Member) -> Record:
    """A member's record and state, for full exchanges."""
    identity = (member.name, member.epoch, member.recorded)
    return Record(*identity, member.state, member.address, member.metadata, member.protocol)


def member_of(heard: Alive | Record, state: State, now: float) -> Member:
    """The member that a message describes, in that state since `now`."""
    return Member(
        heard.name,
        heard.address,
        heard.epoch,
        heard.incarnation,
        state,
        heard.metadata,
        changed_at=now,
        recorded=heard.incarnation,
        protocol=heard.protocol,
    )


def spread(rumours: Rumours, heard: Statement) -> None:
    """Queue a statement as a rumour; it replaces what was queued about that member before."""
    rumours.add(Topic.MEMBERSHIP, heard.name, encode_message(heard))
