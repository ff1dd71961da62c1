"""An application's answers, made safe for the protocol."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from ..core.application.delegate import Delegate
from ..core.membership.member import Member
from ..core.packets.codec import ACK_PAYLOAD_MAX_BYTES, USER_MAX_BYTES

log = logging.getLogger(__name__)

T = TypeVar("T")


class SafeDelegate(Delegate):
    """The application, whose errors must not stop the protocol: they are logged, and the answer is no, or nothing."""

    def __init__(self, application: Delegate) -> None:
        self._application = application

    def admit(self, member: Member) -> bool:
        """No, if the application fails."""
        return _answer(lambda: bool(self._application.admit(member)), False)

    def merge(self, members: Sequence[Member]) -> bool:
        """No, if the application fails."""
        return _answer(lambda: bool(self._application.merge(members)), False)

    def state(self, *, joining: bool) -> bytes:
        """Nothing, if the application fails; what is too long is cut off."""
        return _answer(lambda: bytes(self._application.state(joining=joining))[:USER_MAX_BYTES], b"")

    def acknowledge(self) -> bytes:
        """Nothing, if the application fails; what is too long is cut off."""
        return _answer(lambda: bytes(self._application.acknowledge())[:ACK_PAYLOAD_MAX_BYTES], b"")


def _answer(question: Callable[[], T], otherwise: T) -> T:
    try:
        return question()
    except Exception:  # whatever it is, it is the application's
        log.exception("gossip delegate failed")
        return otherwise
