"""What a node asks its application: questions that need an answer at once. News that need none are events."""

from collections.abc import Sequence

from ..membership.member import Member


class Delegate:
    """The answers of a node without an application; override what you care about.

    Methods are called in the middle of the protocol's own steps: they must return within a millisecond or so, and must
    not call the node. An error of theirs is logged and counts as no, or as nothing.
    """

    def admit(self, member: Member) -> bool:
        """Whether to believe in a new member, or in a newer record of a known one.

        A member that is refused is asked about again with every record of it that arrives.
        """
        return True

    def merge(self, members: Sequence[Member]) -> bool:
        """Whether to accept the members that a stranger brings in a full exchange: perhaps a whole other cluster.

        A stranger is a node that was not known to be alive. Members that are heard of in other ways are not asked about
        here; `admit` is asked about each.
        """
        return True

    def state(self, *, joining: bool) -> bytes:
        """Up to 1 MiB for the other side of a full exchange; `joining` while this node knows no live member."""
        return b""

    def acknowledge(self) -> bytes:
        """Up to 64 bytes to go with each answer to a ping."""
        return b""
