"""The book: all members that know the same records know the same pins."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirror.oci.digest import Digest
from mirror.pins.book import Book, PinRefused
from mirror.pins.records import VERSION_MAX, Record, decode, encode
from mirror.routers import NOTES_MAX_BYTES
from mirror.settings import PinSettings

NAMES = ["docker.io/library/a:1", "docker.io/library/b:1", "docker.io/library/c:*", f"docker.io/x/d@{Digest.of(b'd')}"]
A, B, PATTERN, _ = NAMES


def book(name: str = "n0", **settings: int) -> Book:
    return Book(name, PinSettings(**settings), lambda: 1e9)


RECORDS = st.builds(
    Record,
    name=st.sampled_from(NAMES),
    version=st.integers(1, 5),
    author=st.sampled_from(["n0", "n1"]),
    copies=st.integers(0, 3),
    is_removed=st.booleans(),
    digest=st.none() | st.binary(max_size=2).map(Digest.of),
    platforms=st.sampled_from([(), ("linux/amd64",)]),
    pattern=st.sampled_from(["", PATTERN]),
    configured_by=st.sampled_from(["", "n1"]),
    made_unix_s=st.sampled_from([0.0, 1e9]),
)


@given(st.lists(RECORDS, max_size=12), st.randoms(use_true_random=False))
def test_whoever_hears_the_same_in_any_order_knows_the_same(records: list[Record], rng: random.Random) -> None:
    one, other = book("n0"), book("n1")
    for record in records:
        one.hear(encode([record]))
    shuffled = [*records, *records[:3]]
    rng.shuffle(shuffled)
    other.hear(encode(shuffled))
    assert one.pins() == other.pins()
    assert not one.hear(other.state())
    assert not other.hear(one.state())


@given(st.lists(RECORDS, max_size=5))
def test_records_read_back_as_they_were_written(records: list[Record]) -> None:
    assert decode(encode(records), 10) == records


@example(b"\x91\x94\xa1\x80")
@given(st.binary(max_size=200) | st.builds(lambda it: encode([it])[:-3], RECORDS))
def test_junk_is_dropped(payload: bytes) -> None:
    made = book()
    made.hear(payload)
    assert made.pins() == []


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["pin", "unpin", "meet"]), st.sampled_from(NAMES[:2]))))
def test_books_that_order_apart_agree_once_they_meet(steps: Sequence[tuple[int, str, str]]) -> None:
    books = [book(f"n{number}") for number in range(3)]
    for number, what, name in steps:
        made, other = books[number], books[(number + 1) % 3]
        if what == "pin":
            assert made.pin(name, number + 1) in made.pins()
        elif what == "meet":
            other.hear(made.state())
        elif (known := made.record(name)) is not None and not known.is_removed:
            made.unpin(name)
            assert name not in [it.name for it in made.pins()]
    for made in books:
        for other in books:
            other.hear(made.state())
    for other in books:
        books[0].hear(other.state())
        other.hear(books[0].state())
    assert books[0].pins() == books[1].pins() == books[2].pins()


def test_an_unpin_beats_the_pin_that_it_knew_however_late_that_is_heard() -> None:
    one, other = book("n0"), book("n1")
    pinned = one.pin(A, 2)
    one.unpin(A)
    other.hear(one.state())
    other.hear(encode([pinned]))
    assert other.pins() == []
    again = other.pin(A, 3)
    one.hear(encode([again]))
    assert one.pins() == [again]


def test_what_follows_from_a_pattern_goes_with_it() -> None:
    made = book()
    made.pin(PATTERN, 2)
    made.pin(A, 2, pattern=PATTERN)
    made.pin(B, 2)
    assert [it.name for it in made.unpin(PATTERN)] == [A, PATTERN]
    assert [it.name for it in made.pins()] == [B]


def test_a_follower_of_a_pattern_that_is_gone_elsewhere_counts_no_more() -> None:
    made = book()
    pattern = made.pin(PATTERN, 2)
    other = book("n1")
    other.hear(encode([pattern]))
    gone = other.unpin(PATTERN)
    made.pin(A, 2, pattern=PATTERN)
    made.hear(encode(gone))
    assert made.pins() == []


def test_beyond_the_bounds_an_order_is_refused_and_says_so() -> None:
    made = book(pins_max=2)
    made.pin(A, 1)
    made.pin(B, 1)
    with pytest.raises(PinRefused, match="2 pins are there"):
        made.pin(PATTERN, 1)
    made.pin(A, 3)  # a change is no new pin
    with pytest.raises(PinRefused, match="bytes"):
        book(pins_max_bytes=20).pin(A, 1)


def test_tombstones_are_bounded_and_the_newest_stay() -> None:
    made = book(gone_max=2)
    for number in range(5):
        made.pin(name := f"docker.io/library/x:{number}", 1)
        made.unpin(name)
    gone = [made.record(f"docker.io/library/x:{number}") for number in range(5)]
    assert [it is not None for it in gone] == [False, False, False, True, True]


def test_what_a_nodes_settings_say_is_unpinned_by_force_alone() -> None:
    made = book()
    made.pin(A, 2, configured_by="n7")
    with pytest.raises(PinRefused, match="settings of n7"):
        made.unpin(A)
    assert made.pin(A, 2).configured_by == "n7"
    made.unpin(A, is_forced=True)
    assert made.pins() == []
    with pytest.raises(PinRefused, match="not pinned"):
        made.unpin(A)
    assert not made.pin(A, 2).configured_by


def test_a_version_that_nobody_can_outdo_keeps_nobody_from_pinning_something_else() -> None:
    one, other = book("n0"), book("n1")
    liar = Record(name=A, version=VERSION_MAX, author="liar", copies=1)
    assert one.hear(encode([liar])) == [liar]
    record = one.pin(B, 2)
    assert other.hear(encode([record])) == [record]
    gone = one.unpin(B)
    assert other.hear(encode(gone)) == gone
    assert decode(one.state(), 10) == [liar, *gone]


@pytest.mark.parametrize("is_removed", [False, True])
def test_long_records_of_a_liar_leave_room_for_all_to_be_told(is_removed: bool) -> None:
    platforms = tuple(f"{'a' * 32}/{'b' * 30}{number:02}/{'c' * 32}" for number in range(16))
    names = [f"docker.io/x/{'y' * 200}-{number}:1" for number in range(1000)]
    made = book()
    made.pin(A, 2)
    for version, name in enumerate(names, 2):
        record = Record(
            name=name, version=version, author="liar", copies=1, is_removed=is_removed, platforms=platforms
        )  # fmt: skip
        made.hear(encode([record]))
    assert len(made.state()) <= NOTES_MAX_BYTES
    assert A in [it.name for it in made.pins()]
    other = book("n1")
    other.hear(made.state())
    assert other.pins() == made.pins()
