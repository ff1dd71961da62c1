"""What the core asks its application: the questions that need an answer at once. News that need none are events."""

from collections.abc import Sequence

from ..membership.member import Member


class Delegate:
    """Answers as if there were no application; override what you care about.

    Methods are called within the protocol's own steps: they must be quick, and must not call the node.
    """

    def admit(self, member: Member) -> bool:
        """Whether to believe in a new member, or in a newer record of a known one."""
        return True

    def merge(self, members: Sequence[Member]) -> bool:
        """Whether to take in what somebody not known to be alive brings in a full exchange: perhaps a whole cluster.

        Members that are heard of otherwise are not asked about here; `admit` is asked about each.
        """
        return True

    def state(self, *, joining: bool) -> bytes:
        """Up to 1 MiB for the other side of a full exchange; `joining` while this node knows nobody."""
        return b""

    def acknowledge(self) -> bytes:
        """Up to 64 bytes to go with each answer to a ping."""
        return b""
