"""Which bytes clients may have before the digest is right: those for which somebody vouches who did not send them."""

from collections.abc import Mapping

import pytest

from mirror.fetch.vouching import Vouching
from mirror.oci.pieces import MEBIBYTE
from mirror.oci.ranges import RangeSet

PIECES = 6
SIZE = PIECES * MEBIBYTE + 5


def prefix(number: int, what: str = "right") -> bytes:
    return f"{what} {number}".encode().ljust(32)


RIGHT = tuple(prefix(number) for number in range(PIECES))
"""What an honest holder says."""
WRONG = tuple(prefix(number, "wrong") for number in range(PIECES))


class Case:
    """The vouching for one blob of which members sent some pieces."""

    def __init__(self, senders: Mapping[int, set[str] | None] | None = None) -> None:
        self._by_piece = senders or {}
        self.freed: list[tuple[int, int]] = []
        self.looks: list[int] = []
        """Pieces whose senders were looked up."""
        self.of = Vouching(self._senders, lambda start, stop: self.freed.append((start, stop)))
        self.of.sized(SIZE)

    def _senders(self, start: int, stop: int) -> set[str] | None:
        self.looks.append(start // MEBIBYTE)
        return self._by_piece.get(start // MEBIBYTE, {"sender"})

    def hash(self, count: int, first: int = 0, what: str = "right") -> None:
        for number in range(first, count):
            self.of.hashed((number + 1) * MEBIBYTE, prefix(number, what))


def mebibytes(start: int, stop: int) -> RangeSet:
    return RangeSet((start * MEBIBYTE, stop * MEBIBYTE))


def test_nothing_is_free_without_anybodys_word() -> None:
    case = Case()
    case.hash(PIECES)
    assert not case.of.free


def test_what_upstream_sent_is_free_at_once() -> None:
    case = Case()
    case.of.release(10, 20)
    assert (case.of.free, case.freed) == (RangeSet((10, 20)), [(10, 20)])
    case.of.release(15, 25)
    assert case.freed == [(10, 20), (20, 25)], "only what is new is told"


@pytest.mark.parametrize("is_list_first", [True, False])
def test_a_holder_that_agrees_vouches_for_what_others_sent(is_list_first: bool) -> None:
    case = Case()
    if is_list_first:
        case.of.listed("holder", RIGHT)
    case.hash(3)
    if not is_list_first:
        case.of.listed("holder", RIGHT)
    assert case.of.free == mebibytes(0, 3)


def test_nobody_vouches_for_what_it_sent_itself_or_named_as_its_own() -> None:
    case = Case({0: {"holder"}, 1: {"home", "holder"}, 2: {"other"}})
    case.of.listed("holder", RIGHT)
    case.hash(3)
    assert case.of.free == mebibytes(2, 3)


def test_of_bytes_whose_sender_is_forgotten_one_holder_may_be_the_sender() -> None:
    case = Case({0: None, 1: {"other"}})
    case.of.listed("a", RIGHT)
    case.hash(2)
    assert case.of.free == mebibytes(1, 2)
    case.of.listed("b", RIGHT)
    assert case.of.free == mebibytes(0, 2)


def test_two_holders_that_agree_vouch_for_everything_up_to_there() -> None:
    case = Case({number: {"a", "b"} for number in range(PIECES)})
    case.of.listed("a", RIGHT)
    case.hash(2)
    assert not case.of.free
    case.of.listed("b", RIGHT)
    assert case.of.free == mebibytes(0, 2)
    case.hash(4, first=2)
    assert case.of.free == mebibytes(0, 4)


def test_a_holder_that_says_otherwise_vouches_for_nothing_and_one_more_is_not_enough_then() -> None:
    case = Case()
    case.of.listed("liar", WRONG)
    case.of.listed("a", RIGHT)
    case.hash(2)
    assert not case.of.free
    assert case.of.contradicted() is None, "one word against another"
    case.of.listed("b", RIGHT)
    assert case.of.free == mebibytes(0, 2)


def test_bytes_that_two_holders_contradict_are_wrong() -> None:
    case = Case()
    case.hash(2)
    case.hash(4, first=2, what="wrong")
    case.of.listed("a", RIGHT)
    assert case.of.contradicted() is None
    case.of.listed("b", RIGHT)
    assert case.of.contradicted() == (2 * MEBIBYTE, 3 * MEBIBYTE)
    assert case.of.free == mebibytes(0, 2)


def test_what_was_taken_back_needs_somebodys_word_again() -> None:
    case = Case()
    case.of.listed("a", RIGHT)
    case.of.listed("b", RIGHT)
    case.hash(4)
    losses = case.of.losses
    case.of.retracted(MEBIBYTE, 2 * MEBIBYTE)
    assert case.of.losses > losses
    assert case.of.free == RangeSet((0, MEBIBYTE), (2 * MEBIBYTE, 4 * MEBIBYTE))
    case.of.listed("c", RIGHT)
    assert not case.of.free.covers(MEBIBYTE, MEBIBYTE + 1), "nothing is known of the bytes that come in its place"
    case.hash(4)
    assert case.of.free == mebibytes(0, 4)


def test_what_a_window_dropped_is_not_freed_by_a_later_prefix() -> None:
    case = Case()
    case.of.listed("a", RIGHT)
    case.of.listed("b", RIGHT)
    case.hash(2)
    case.of.forget(0, MEBIBYTE)
    case.hash(4, first=2)
    assert case.of.free == mebibytes(1, 4)


@pytest.mark.parametrize(("lists", "expected"), [([], False), ([RIGHT], False), ([RIGHT, WRONG], False)])
def test_holders_agree_only_if_two_say_the_same(lists: list[tuple[bytes, ...]], expected: bool) -> None:
    case = Case()
    for number, prefixes in enumerate(lists):
        case.of.listed(f"m{number}", prefixes)
    assert case.of.is_agreed is expected
    case.of.listed("another", RIGHT)
    assert case.of.is_agreed is (RIGHT in lists)


def test_a_blob_of_many_tebibytes_becomes_free_in_little_memory() -> None:
    of = Vouching(lambda start, stop: set(), lambda start, stop: None)
    size = 900 * 2**40
    of.sized(size)
    of.release(0, size)
    assert list(of.free) == [(0, size)]


def test_the_senders_of_each_piece_are_looked_up_once_for_each_holder_however_late_its_list_comes() -> None:
    case = Case({1: {"a"}})
    case.hash(4)
    case.of.listed("a", RIGHT)
    assert sorted(case.looks) == [0, 1, 2, 3]
    case.hash(PIECES, first=4)
    assert sorted(case.looks) == list(range(PIECES))
    case.of.listed("b", RIGHT)
    assert sorted(case.looks) == list(range(PIECES)), "two vouch for whatever was sent by whomever"
    assert case.of.free == mebibytes(0, PIECES)


def test_the_senders_of_what_is_free_are_not_looked_up() -> None:
    case = Case()
    case.of.release(0, 3 * MEBIBYTE)
    case.of.listed("a", RIGHT)
    case.hash(4)
    assert case.looks == [3]


def test_a_piece_that_came_once_more_is_looked_at_again() -> None:
    senders: dict[int, set[str] | None] = {1: {"a"}}
    case = Case(senders)
    case.of.listed("a", RIGHT)
    case.hash(4)
    assert not case.of.free.covers(MEBIBYTE, 2 * MEBIBYTE)
    case.of.retracted(MEBIBYTE, 2 * MEBIBYTE)
    senders[1] = {"b"}
    case.hash(4)
    assert case.of.free == mebibytes(0, 4)


def test_two_who_agree_vouch_up_to_where_they_agree_whatever_one_of_them_says_later() -> None:
    case = Case({number: {"a", "b"} for number in range(PIECES)})
    case.hash(PIECES)
    case.of.listed("a", RIGHT[:3] + WRONG[3:])
    case.of.listed("b", RIGHT)
    assert case.of.free == mebibytes(0, 3)


def test_a_piece_that_a_window_dropped_is_looked_at_when_it_is_hashed_again() -> None:
    case = Case()
    case.of.listed("a", RIGHT)
    case.hash(3)
    case.of.forget(MEBIBYTE, 2 * MEBIBYTE)
    case.hash(5, first=3)
    case.of.retracted(4 * MEBIBYTE, 5 * MEBIBYTE)
    case.hash(5)
    assert case.of.free == mebibytes(0, 5)
