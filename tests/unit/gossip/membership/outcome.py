"""What came of a statement about a member: the events of the node that heard it, and what it passes on."""

from gossip.core.events import Event, Rejected
from gossip.core.membership.member import Address
from gossip.core.messages import Alive, Dead, Left, Message, Suspect
from tests.unit.gossip.conftest import Peer

HERE, THERE = Address("10.9.0.2", 7946), Address("10.9.9.9", 7946)


def happened(peer: Peer) -> list[type[Event]]:
    """The kinds of events since the last call, without those of refused packets."""
    return [type(event) for event in peer.node.events() if not isinstance(event, Rejected)]


def told(peer: Peer) -> list[Message]:
    """What the node passes on in the next half second, each thing once."""
    peer.said()
    peer.pass_time(peer.now + 0.4)
    kinds = (Alive, Suspect, Dead, Left)
    return list(dict.fromkeys(message for _, message in peer.said() if isinstance(message, kinds)))
