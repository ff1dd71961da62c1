"""Marks of nodes: who has been asked before knows its own, and nobody else reads them."""

import contextvars

import pytest

from mirror.routers import Peer
from mirror.sources.chain import MARKS_MAX, Chain, came_by, mark_of, read_marks

ME, OTHER = Peer("a", "10.0.0.1", 5001), Peer("b", "10.0.0.2", 5001)
CHAIN = Chain("default", "a", lambda: [OTHER, ME])


@pytest.mark.parametrize(
    "stranger",
    [Peer("a", "10.9.0.1", 5001), Peer("a", "10.0.0.1", 5002), Peer("z", "10.0.0.1", 5001)],
)
def test_a_node_is_told_by_cluster_name_and_address(stranger: Peer) -> None:
    assert CHAIN.is_circle([mark_of("default", ME)])
    assert CHAIN.is_circle(["0" * 16, mark_of("default", OTHER)])
    assert not CHAIN.is_circle([mark_of("default", stranger)])
    assert not CHAIN.is_circle([mark_of("edge", ME)])
    assert not CHAIN.is_circle([])


def test_what_is_passed_on_has_the_marks_of_those_before() -> None:
    def story() -> None:
        came_by.set(("0" * 16,))
        assert CHAIN.passed_on() == ("0" * 16, mark_of("default", ME))

    contextvars.copy_context().run(story)
    assert CHAIN.passed_on() == (mark_of("default", ME),)


def test_whether_a_member_speaks_tls_does_not_matter() -> None:
    assert mark_of("default", ME) == mark_of("default", Peer(ME.name, ME.host, ME.port, tls=True))


def test_marks_are_read_as_they_are_written_and_what_is_none_is_not() -> None:
    marks = tuple(f"{number:016x}" for number in range(5))
    assert read_marks(",".join(marks)) == read_marks(" , ".join((*marks, "secret", "", "A" * 16))) == marks
    assert read_marks(None) == read_marks("") == ()
    endless = read_marks(",".join(f"{number:016x}" for number in range(1000)))
    assert len(endless) == MARKS_MAX + 1
    assert CHAIN.is_circle(endless)
