"""Who sent which bytes, and whose word they are."""

from hypothesis import given
from hypothesis import strategies as st

from mirror.fetch.plan import EARLIER, Flight, Provenance, Segment
from mirror.oci.ranges import RangeSet
from mirror.sources import UPSTREAM, Role


def made(*segments: Segment) -> Provenance:
    provenance = Provenance()
    provenance.add(segments)
    return provenance


def flight(source: str, start: int, stop: int | None, origin: str | None = None) -> Flight:
    it = Flight(source, Role.HOME, start, stop, 0.0)
    it.origin = origin
    return it


def test_segments_within_a_range_are_those_that_share_a_byte_with_it() -> None:
    one, two = Segment(0, 10, "a", "a"), Segment(10, 20, "b", "b")
    provenance = made(one, two)
    assert provenance.within(0, 10) == [one]
    assert provenance.within(9, 11) == [one, two]
    assert provenance.within(20, 30) == []
    provenance.remove([one, one])
    assert list(provenance) == [two]


RANGES = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20), st.sampled_from("abc")), max_size=12)


@given(RANGES, RANGES, st.integers(0, 50), st.integers(1, 10))
def test_segments_are_found_in_whatever_order_they_came(
    rows: list[tuple[int, int, str]], again: list[tuple[int, int, str]], start: int, count: int
) -> None:
    segments, gone = ({Segment(a, a + n, name, name) for a, n, name in some} for some in (rows, again))
    provenance = made(*segments)
    provenance.remove(gone)
    found = provenance.within(start, start + count)
    assert len(found) == len(set(found))
    assert set(found) == {segment for segment in segments - gone if segment.overlaps(start, start + count)}


def test_a_second_request_that_wrote_nothing_has_no_part_in_the_bytes() -> None:
    second = flight("b", 0, 10)
    second.position, second.written = 10, RangeSet((8, 10))
    assert made(Segment(0, 8, "a", "a")).senders(0, 8, [second]) == {"a"}
    assert made(Segment(0, 8, "a", "a")).senders(0, 10, [second]) == {"a", "b"}


def test_what_upstream_sent_is_no_members_word() -> None:
    own, left = Segment(0, 10, "a", "a"), Segment(20, 30, EARLIER, EARLIER)
    provenance = made(own, Segment(10, 20, UPSTREAM, UPSTREAM), left)
    assert provenance.from_members() == [own, left]
    assert provenance.origins() == [EARLIER, "a", UPSTREAM]


def test_an_origin_goes_as_far_as_the_same_ones_bytes_follow() -> None:
    provenance = made(Segment(0, 10, "a", "a"), Segment(10, 20, "c", "a"), Segment(20, 30, "b", "b"))
    assert provenance.origin(0, 30, []) == ("a", 20)
    assert provenance.origin(0, 15, []) == ("a", 15)
    assert provenance.origin(25, 30, []) == ("b", 30)


def test_what_an_earlier_fetch_left_is_this_nodes_own_word() -> None:
    assert made(Segment(0, 10, EARLIER, EARLIER)).origin(0, 10, []) == (None, 10)


def test_bytes_under_way_count_as_the_word_of_whom_the_source_names() -> None:
    provenance = made(Segment(0, 10, "a", "a"))
    assert provenance.origin(0, 30, [flight("b", 10, 30)]) == ("a", 10)
    assert provenance.origin(0, 30, [flight("b", 10, 30, origin="a")]) == ("a", 30)
    assert provenance.origin(0, 30, [flight("b", 10, None)]) == ("a", 30), "nobody knows yet who sends the rest"


def test_bytes_that_a_thread_wrote_after_its_flight_was_cancelled_have_an_origin() -> None:
    it = flight("b", 0, 30, origin="a")
    assert it.segments_of([(3, 5)]) == [Segment(3, 5, "b", "a")]
    it.origin = UPSTREAM
    assert it.segments_of([(3, 5)]) == [Segment(3, 5, "b", "b")], "that upstream sent them is the member's word"


def test_bytes_under_way_have_the_origin_that_they_will_have_when_they_are_here() -> None:
    for it in (flight("a", 0, 10, UPSTREAM), flight("a", 0, 10, "b"), flight("a", 0, 10), flight(UPSTREAM, 0, 10)):
        it.position = 10
        assert made().origin(0, 10, [it]) == made(*it.segments()).origin(0, 10, [])
