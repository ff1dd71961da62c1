"""What can be read of a node: its view of the cluster, and how it does itself."""

from .context import Context
from .directory.replica import Replica
from .membership.member import Address, Member
from .packets.keyring import Keyring
from .packets.seal import Seal
from .parts import Parts


class View:
    """A node as it is now; reading changes nothing, and members are values that never change.

    Args:
        context: what the node's parts share.
        seal: of its packets.
        parts: that it reads.
    """

    def __init__(self, context: Context, seal: Seal, parts: Parts) -> None:
        self._members = context.members
        self._rumours = context.rumours
        self._awareness = context.awareness
        self._seal = seal
        self._own = parts.own
        self._published = parts.dissemination.published
        self._directory = parts.dissemination.directory
        self._versions = parts.dissemination.versions
        self._prober = parts.prober
        self._flaps = parts.flaps
        self._introductions = parts.introductions
        self._farewell = parts.farewell
        self._conflicts = parts.conflicts
        self.name = parts.own.name

    # Members

    @property
    def me(self) -> Member:
        """This node's own record."""
        return self._own.me

    def members(self) -> list[Member]:
        """All other members, the dead and departed included until they are forgotten."""
        return list(self._members)

    def member(self, name: str) -> Member | None:
        """Another member, or this one."""
        return self.me if name == self.name else self._members.get(name)

    @property
    def candidates(self) -> int:
        """How many were heard of that have yet to answer, before they are members."""
        return len(self._introductions)

    def rtt_s(self, name: str) -> float | None:
        """The smoothed round-trip time to a member, s, if it was ever measured."""
        return self._prober.rtt_s(name)

    # The directory

    def holders(self, key: bytes) -> list[Member]:
        """Alive members, without this node, that may hold the key of at least 8 bytes; in no particular order.

        Local memory, microseconds.
        """
        found = map(self._members.get, self._directory.holders(key))
        return [member for member in found if member is not None]

    def is_left_out(self, name: str, now: float) -> bool:
        """Whether lookups leave a member out because it died and came back too often."""
        return self._flaps.out_until(name, now) is not None

    @property
    def published(self) -> Replica:
        """This node's own filter, as the others copy it."""
        return self._published.replica

    def replica(self, name: str) -> Replica | None:
        """This node's copy of another member's filter."""
        return self._directory.replica(name)

    @property
    def blanks(self) -> int:
        """Members whose filters are not kept here for want of memory: lookups do not find them."""
        return self._directory.blanks

    def key_count(self, name: str) -> int:
        """How many keys a member says that it holds; for this node, how many it does."""
        if name == self.name:
            return len(self._published)
        replica = self._directory.replica(name)
        return replica.sequence if replica is not None else 0

    @property
    def unpublished(self) -> int:
        """How many of this node's keys its filter does not show yet."""
        return self._published.unpublished

    @property
    def fingerprint(self) -> bytes:
        """8 bytes over this node's view: equal on nodes that know the same."""
        return self._versions.fingerprint

    # The node itself

    @property
    def health(self) -> int:
        """How much this node doubts itself; 0 is healthy."""
        return self._awareness.score

    @property
    def protocol(self) -> int:
        """The version of the protocol that this node speaks: the highest one that all live members understand."""
        return self._seal.version

    @property
    def keyring(self) -> Keyring:
        """The cluster's keys, as this node knows them."""
        return self._seal.keyring

    @property
    def waiting(self) -> int:
        """Rumours that wait to be sent."""
        return len(self._rumours)

    @property
    def farewell_confirmed(self) -> bool:
        """Whether this node has left, and all those that were told directly have confirmed it."""
        return self._farewell.confirmed

    @property
    def gave_way_to(self) -> Address | None:
        """Where another node has this node's name and started earlier, so that this one takes part no longer."""
        return self._conflicts.gave_way_to
