"""Which records of other members may be believed."""

import ipaddress
from functools import lru_cache
from typing import Final

from ..context import Context
from ..errors import Rejection
from ..events import Rejected
from .member import Member

_BROADCAST: Final = "255.255.255.255"


class Admission:
    """Asks the settings, the versions of the protocol, and the application.

    Args:
        context: the node's parts.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    def admits(self, member: Member) -> bool:
        """Whether a record may be believed; a refusal becomes a `Rejected` event."""
        reason = self._objection(member)
        if reason is not None:
            self._context.emit(Rejected(reason, member.address))
        return reason is None

    def _objection(self, member: Member) -> Rejection | None:
        context = self._context
        if not context.allowed.allows(member.address.host) or not can_listen(member.address.host):
            return Rejection.ALLOW
        # All live members have to keep a version in common: one that breaks that would split the cluster.
        common = context.members.common(context.config.protocol) & member.protocol
        if common.low > common.high:
            return Rejection.VERSION
        return None if context.delegate.admit(member) else Rejection.VETO


@lru_cache(maxsize=4096)
def can_listen(host: str) -> bool:
    """Whether one node can be at that address: not one that stands for none or for many."""
    address = ipaddress.ip_address(host)
    return not (address.is_unspecified or address.is_multicast or host == _BROADCAST)
