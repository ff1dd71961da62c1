"""Interest: what anybody has wanted of an arriving blob so far, beside where its readers are now."""

from collections.abc import Callable

from ...oci.ranges import RangeSet, Span
from ...settings import SpoolSettings
from ..demand import Audience, Demand

_FIRST_BYTE = (0, 1)


class Interest:
    """Who has asked for one blob, and for how much of it.

    Args:
        on_change: called when more has to be fetched.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        self.was_read_locally = False
        """Whether a client of this node ever read it."""
        self.was_read_lazily = False
        """Whether one of them read ranges by themselves."""
        self.is_whole_wanted = False
        """Whether a client of this node ever wanted the whole, waits for its digest, or is about to ask for it: then
        all of it is fetched."""
        self.is_read_ahead = False
        """Whether it is fetched for a client that has not asked for it yet."""
        self.do_ranges_need_whole = False
        """Whether what lazy readers wait for comes, or is vouched for, with the whole alone."""
        self.hints = {Audience.LOCAL: _FIRST_BYTE, Audience.LAZY: _FIRST_BYTE, Audience.MEMBER: _FIRST_BYTE}
        """While the size is not known: the range to ask for on behalf of each; the answer tells the size."""
        self._on_change = on_change

    def note(self, audience: Audience, hint: Span | None) -> None:
        """Take note that somebody joins, and of the range that tells the size; None leaves that as it is."""
        if audience is not Audience.MEMBER:
            self.was_read_locally, self.is_read_ahead = True, False
        if audience is Audience.LAZY:
            self.was_read_lazily = True
        if audience is Audience.LOCAL:
            self.is_whole_wanted = True
        elif hint is not None:
            self.hints[audience] = hint

    def want_whole(self) -> None:
        """Have all of the blob fetched: what lazy readers wait for comes, or is vouched for, in no other way."""
        if not self.do_ranges_need_whole:
            self.is_whole_wanted = self.do_ranges_need_whole = True
            self._on_change()

    def read_ahead(self) -> None:
        """Have all of the blob fetched, as far as all can be here at once: a client is about to ask for it."""
        if not self.was_read_locally and not self.is_whole_wanted:
            self.is_whole_wanted = self.is_read_ahead = True
            self._on_change()

    def reserve_bytes(self, settings: SpoolSettings) -> int:
        """How much space to take at once, in bytes."""
        is_lazy = self.was_read_locally and not self.is_whole_wanted
        return settings.lazy_reserve_bytes if is_lazy else settings.reserve_bytes

    def first_demand(self, is_joined: Callable[[Audience], object]) -> Demand:
        """What is needed while the size is not known."""
        first = {who: RangeSet(hint) if is_joined(who) else RangeSet() for who, hint in self.hints.items()}
        return Demand(first[Audience.LOCAL], first[Audience.MEMBER], lazy=first[Audience.LAZY])
