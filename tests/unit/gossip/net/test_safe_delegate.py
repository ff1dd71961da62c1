"""An application's answers, whatever it does."""

from collections.abc import Sequence

import pytest

from gossip import Address, Delegate, Member, State
from gossip.net.safe_delegate import SafeDelegate

MEMBER = Member("a", Address("10.0.0.1", 7946), 1, 0, State.ALIVE, b"", changed_at=0.0)


class Failing(Delegate):
    def admit(self, member: Member) -> bool:
        raise RuntimeError("admit")

    def merge(self, members: Sequence[Member]) -> bool:
        raise RuntimeError("merge")

    def state(self, *, joining: bool) -> bytes:
        raise RuntimeError("state")

    def acknowledge(self) -> bytes:
        return None  # type: ignore[return-value]


class Talkative(Delegate):
    def state(self, *, joining: bool) -> bytes:
        return bytes(2**20 + 1)

    def acknowledge(self) -> bytes:
        return bytes(65)


def test_without_an_application_everybody_is_welcome_and_nothing_is_said() -> None:
    delegate = SafeDelegate(Delegate())
    assert delegate.admit(MEMBER) is delegate.merge([MEMBER]) is True
    assert (delegate.state(joining=True), delegate.acknowledge()) == (b"", b"")


def test_error_counts_as_no_or_as_nothing_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    delegate = SafeDelegate(Failing())
    assert delegate.admit(MEMBER) is delegate.merge([MEMBER]) is False
    assert (delegate.state(joining=False), delegate.acknowledge()) == (b"", b"")
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 4


def test_too_long_answers_are_cut() -> None:
    delegate = SafeDelegate(Talkative())
    assert (len(delegate.state(joining=False)), len(delegate.acknowledge())) == (2**20, 64)
