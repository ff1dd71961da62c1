"""Events in the log: what a person may want to know, and junk only once in a while."""

import logging
import time
from dataclasses import fields
from typing import Final

from ..core.events import (
    Answered,
    BroadcastReceived,
    Event,
    FilterChanged,
    FilterFull,
    KeysChanged,
    MemberUnreached,
    MessageReceived,
    NameConflict,
    Rejected,
    StateReceived,
)
from ..core.membership.member import Member
from .counters import Counters

log = logging.getLogger(__name__)

_WARNING_INTERVAL_S: Final = 60.0
"""Seconds between two warnings of packets rejected for one reason: junk on a port is normal, but a wrong key has to be
mended, and must not go unseen because there is junk besides."""
_NOT_LOGGED: Final = (FilterChanged, Answered, MessageReceived, BroadcastReceived, StateReceived)


class EventLog:
    """Writes the events of one node to the log.

    Args:
        name: of this node.
        counters: for the totals in warnings.
    """

    def __init__(self, name: str, counters: Counters) -> None:
        self._name = name
        self._counters = counters
        self._warn_at: dict[str, float] = {}

    def note(self, event: Event) -> None:
        """Log an event, if it is worth it."""
        match event:
            case Rejected():
                self._warn(event)
            case MemberUnreached():
                if self._is_due("unreached"):
                    log.warning(
                        "gossip does not reach a member that others speak of member=%s address=%s total=%d",
                        event.member.name,
                        event.member.address,
                        self._counters.events[MemberUnreached],
                    )
            case FilterFull():
                if self._is_due("full"):
                    log.warning(
                        "gossip filter full left_out=%d room=%d others do not find these keys here",
                        event.left_out,
                        event.room,
                    )
            case KeysChanged():
                log.info("gossip keys changed ids=%s", ",".join(identity.hex() for identity in event.ids))
            case NameConflict():
                advice = "this node gives way: rename it" if event.gives_way else "the other has to give way"
                log.error("gossip name conflict name=%s address=%s %s", self._name, event.address, advice)
            case _ if not isinstance(event, _NOT_LOGGED):
                parts: dict[str, object] = {field.name: getattr(event, field.name) for field in fields(event)}
                member = parts.pop("member", None)
                if isinstance(member, Member):
                    parts = {"member": member.name, "address": member.address}
                template = "".join(("gossip event=%s", *(f" {name}=%s" for name in parts)))
                log.info(template, type(event).__name__, *parts.values())

    def _warn(self, event: Rejected) -> None:
        if self._is_due(event.reason):
            rejected = self._counters.rejected.items()
            totals = ",".join(f"{reason.value}:{count}" for reason, count in rejected if count)
            log.warning(
                "gossip rejected a packet reason=%s source=%s totals=%s", event.reason.value, event.source, totals
            )

    def _is_due(self, warning: str) -> bool:
        """Whether it is time for a warning of that kind again."""
        now = time.monotonic()
        if now < self._warn_at.get(warning, 0.0):
            return False
        self._warn_at[warning] = now + _WARNING_INTERVAL_S
        return True
