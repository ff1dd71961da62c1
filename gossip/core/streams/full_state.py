"""Full exchanges: everything that two nodes know of members, and what their applications add.

Source: memberlist, push/pull.
"""

from collections.abc import Callable, Iterator, Sequence

from ..context import Context
from ..errors import Rejection, WireError
from ..membership.member import Address
from ..membership.own_record import OwnRecord
from ..membership.statements import member_of, record_message
from ..membership.updates import Membership
from ..messages import Record


class FullState:
    """What one node gives and takes in full exchanges.

    Args:
        context: the node's parts.
        own: this node's record.
        membership: takes what others say.
        after_input: called when it took something.
    """

    def __init__(
        self, context: Context, own: OwnRecord, membership: Membership, after_input: Callable[[float], None]
    ) -> None:
        self._context = context
        self._own = own
        self._membership = membership
        self._after_input = after_input

    def own_record(self) -> Record:
        """This node's own record."""
        return record_message(self._own.me)

    def records(self) -> Iterator[Record]:
        """Records of everybody known, this node first."""
        yield self.own_record()
        yield from [record_message(member) for member in self._context.members]

    def application_state(self) -> bytes:
        """The application's state."""
        return self._context.delegate.state(joining=not self._context.members.live_count)

    def is_stranger(self, who: Address | str) -> bool:
        """Whether no live member is known at that address, or of that name."""
        return not any(member.live and who in (member.address, member.name) for member in self._context.members)

    def merge(self, records: Sequence[Record], now: float, *, stranger: bool) -> None:
        """Take what another node knows of members: all of it or, by an error, nothing.

        Args:
            records: what it knows.
            now: monotonic time, s.
            stranger: whether nothing of the other node was known before; then the application may refuse.

        Raises:
            WireError: the application refused.
        """
        if stranger and not self._context.delegate.merge([member_of(it, it.state, now) for it in records]):
            raise WireError(Rejection.VETO, "the application does not want these members")
        for record in records:
            self._membership.hear_record(record, now)
        self._after_input(now)
