"""Byte ranges: header text against RFC 9110, and sets of ranges against plain sets of numbers."""

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import RangeUnsatisfiable
from mirror.oci.ranges import (
    IntRange,
    RangeSet,
    SeveralRanges,
    SuffixRange,
    content_range,
    is_read_by_itself,
    parse_content_range,
    parse_range,
)

SIZE = 1000


def resolved(header: str | None, size: int) -> tuple[int, int] | None:
    """A Range header with one range, for content of some size."""
    requested = parse_range(header)
    assert not isinstance(requested, SeveralRanges)
    return None if requested is None else requested.resolve(size)


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-499", (0, 500)),
        ("bytes=500-999", (500, 1000)),
        ("bytes=500-", (500, 1000)),
        ("bytes=0-", (0, 1000)),
        ("bytes=999-", (999, 1000)),
        ("bytes=500-99999999999", (500, 1000)),
        ("bytes=-1", (999, 1000)),
        ("bytes=-1000", (0, 1000)),
        ("bytes=-5000", (0, 1000)),
        ("BYTES=1-2", (1, 3)),
        ("bytes= 1-2 ", (1, 3)),
    ],
)
def test_one_range_is_read(header: str, wanted: tuple[int, int]) -> None:
    assert resolved(header, SIZE) == wanted


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=1",
        "bytes=1-2-3",
        "bytes=5-4",
        "bytes=+1-2",
        "bytes=1.0-2",
        "bytes=0x1-2",
        "bytes=\u0661-\u0662",
        "bytes 0-1",
        "items=0-1",
        "bytes=" + "9" * 30 + "-",
    ],
)
def test_a_header_that_cannot_be_understood_is_ignored(header: str | None) -> None:
    assert parse_range(header) is None


def several(*spans: tuple[int, int | None]) -> str:
    return "bytes=" + ",".join(str(IntRange(*span)).removeprefix("bytes=") for span in spans)


@pytest.mark.parametrize(
    ("header", "spans"),
    [
        ("bytes=0-9,20-29", [(0, 10), (20, 30)]),
        ("bytes=20-29,0-9", [(20, 30), (0, 10)]),
        ("bytes=0-0,-1", [(0, 1), (999, 1000)]),
        ("bytes=0-9,990-", [(0, 10), (990, 1000)]),
        ("bytes=0-9,5-20", [(0, 10), (5, 21)]),
        ("bytes=0-9,10-19", [(0, 10), (10, 20)]),
        ("bytes=0-9,1000-1010", [(0, 10)]),
        (several(*((at, at + 1) for at in range(0, 1000, 2))), [(at, at + 1) for at in range(0, 1000, 2)]),
    ],
)
def test_several_ranges_are_kept_apart_in_the_order_of_the_request(header: str, spans: list[tuple[int, int]]) -> None:
    requested = parse_range(header)
    assert isinstance(requested, SeveralRanges)
    assert list(requested.resolve(SIZE)) == spans


@pytest.mark.parametrize(
    "header",
    [
        "bytes=,",
        "bytes=0-9,x",
        "bytes=0-9,9-5",
        "bytes=0-9,5-20,8-30",
        "bytes=0-,0-,0-",
        "bytes=0-,5-9,7-9",
        "bytes=-5,-6",
        several(*((at, at + 1) for at in range(2 * 1025, 0, -2))),
        several(*((at, at + 1) for at in range(40, 0, -2))),
        several(*((at, at + 1) for at in range(0, 2 * 1025, 2))),
        "bytes=" + "0-0," * 5000,
    ],
)
def test_several_ranges_that_are_more_work_than_the_whole_are_ignored(header: str) -> None:
    assert parse_range(header) is None


def test_as_many_ranges_are_taken_as_clients_send() -> None:
    assert parse_range(several(*((at, at + 1) for at in range(0, 2 * 1024, 2)))) is not None


def test_several_ranges_beyond_the_end_are_unsatisfiable() -> None:
    requested = parse_range("bytes=1000-1001,1005-")
    assert requested is not None
    with pytest.raises(RangeUnsatisfiable):
        requested.resolve(SIZE)


@pytest.mark.parametrize(
    ("header", "by_itself"),
    [
        (None, False),
        ("bytes=0-", False),
        ("bytes=500-", False),
        ("bytes=0-499", True),
        ("bytes=500-999", True),
        ("bytes=-10", True),
        ("bytes=0-9,500-", True),
    ],
)
def test_a_download_that_goes_on_is_told_from_a_part_that_is_read(header: str | None, by_itself: bool) -> None:
    assert is_read_by_itself(parse_range(header)) is by_itself


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=1000-", SIZE), ("bytes=1000-2000", SIZE), ("bytes=-0", SIZE), ("bytes=0-", 0)]
)
def test_a_range_beyond_the_end_is_unsatisfiable_and_tells_the_size(header: str, size: int) -> None:
    with pytest.raises(RangeUnsatisfiable) as caught:
        resolved(header, size)
    assert caught.value.size == size


@given(
    st.text(max_size=40) | st.from_regex(r"\Abytes=[0-9]{0,20}-?[0-9]{0,20}(,[0-9]{0,3}-?[0-9]{0,3})?\Z"),
    st.integers(0, 2000),
)
def test_junk_is_a_range_within_the_content_or_none(header: str, size: int) -> None:
    requested = parse_range(header)
    if requested is None:
        return
    with contextlib.suppress(RangeUnsatisfiable):
        for part in requested.ranges if isinstance(requested, SeveralRanges) else [requested]:
            start, stop = part.resolve(size)
            assert 0 <= start < stop <= size


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("bytes=0-0", IntRange(0, 1)),
        ("bytes=5-", IntRange(5)),
        ("bytes=-7", SuffixRange(7)),
        ("bytes=0-1,5-6", SeveralRanges((IntRange(0, 2), IntRange(5, 7)))),
        ("bytes=0-1, ,\t5- ,", SeveralRanges((IntRange(0, 2), IntRange(5)))),
        ("bytes=5-6,0-1,-3", SeveralRanges((IntRange(5, 7), IntRange(0, 2), SuffixRange(3)))),
        ("bytes=,5-6", IntRange(5, 7)),
    ],
)
def test_what_is_asked_for_is_known_before_the_size_is(header: str, value: object) -> None:
    assert parse_range(header) == value


@given(st.integers(0, 10**18), st.none() | st.integers(1, 10**18))
def test_a_range_reads_back_as_it_was_written(start: int, count: int | None) -> None:
    wanted = IntRange(start, None if count is None else start + count)
    assert parse_range(str(wanted)) == wanted


@given(st.integers(0, 10**12), st.integers(1, 10**12), st.integers(0, 10**12))
def test_content_range_reads_back(start: int, length: int, more: int) -> None:
    part = start, start + length, start + length + more
    assert parse_content_range(content_range(*part)) == part


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes */100",
        "bytes 0-9/*",
        "bytes 9-0/100",
        "bytes 0-100/100",
        "bytes=0-9/100",
        "bytes 0-9",
        "bytes 0-9/100 ",
        "items 0-9/100",
        "bytes 0-9/" + "9" * 30,
    ],
)
def test_a_content_range_that_makes_no_sense_is_none(header: str | None) -> None:
    assert parse_content_range(header) is None


BOUNDS = st.tuples(st.integers(0, 40), st.integers(0, 40))
STEPS = st.lists(st.tuples(st.sampled_from(["add", "remove"]), BOUNDS), max_size=25)


def filled(steps: list[tuple[str, tuple[int, int]]]) -> tuple[RangeSet, set[int]]:
    """The same steps, done to a RangeSet and to a plain set."""
    ranges, model = RangeSet(), set[int]()
    for step, (start, stop) in steps:
        if step == "add":
            ranges.add(start, stop)
            model |= set(range(start, stop))
        else:
            ranges.remove(start, stop)
            model -= set(range(start, stop))
    return ranges, model


def members(ranges: RangeSet) -> set[int]:
    return {byte for start, stop in ranges for byte in range(start, stop)}


@given(STEPS)
def test_a_range_set_is_a_set(steps: list[tuple[str, tuple[int, int]]]) -> None:
    ranges, model = filled(steps)
    assert members(ranges) == model
    assert ranges.byte_count == len(model)
    assert bool(ranges) == bool(model)
    assert ranges == RangeSet(*((byte, byte + 1) for byte in model))


@given(STEPS)
def test_ranges_are_sorted_and_do_not_touch(steps: list[tuple[str, tuple[int, int]]]) -> None:
    rows = list(filled(steps)[0])
    assert all(start < stop for start, stop in rows)
    assert all(before < after for (_, before), (after, _) in itertools.pairwise(rows))


@given(STEPS, STEPS)
def test_difference_leaves_both_as_they_were(
    steps: list[tuple[str, tuple[int, int]]], others: list[tuple[str, tuple[int, int]]]
) -> None:
    (one, model), (other, other_model) = filled(steps), filled(others)
    assert members(one - other) == model - other_model
    assert members(one) == model
    assert members(other) == other_model


@given(STEPS, st.integers(0, 45))
def test_front_is_the_first_byte_that_is_not_there(steps: list[tuple[str, tuple[int, int]]], offset: int) -> None:
    ranges, model = filled(steps)
    front = ranges.front(offset)
    assert front not in model
    assert set(range(offset, front)) <= model


@given(STEPS, STEPS)
def test_union_and_intersection_leave_both_as_they_were(
    steps: list[tuple[str, tuple[int, int]]], others: list[tuple[str, tuple[int, int]]]
) -> None:
    (one, model), (other, other_model) = filled(steps), filled(others)
    assert members(one | other) == model | other_model
    assert members(one & other) == model & other_model
    assert (one | other) == (other | one)
    assert (one & other) == (other & one)
    assert (members(one), members(other)) == (model, other_model)


@given(STEPS, BOUNDS)
def test_a_union_is_no_part_of_what_it_was_made_of(
    steps: list[tuple[str, tuple[int, int]]], bounds: tuple[int, int]
) -> None:
    ranges, model = filled(steps)
    for copy in (ranges | RangeSet(), ranges & ranges, ranges - RangeSet()):
        copy.add(*bounds)
        copy.remove(*bounds)
        assert members(ranges) == model


@given(STEPS, BOUNDS)
def test_a_range_is_covered_if_all_of_it_is_there(
    steps: list[tuple[str, tuple[int, int]]], bounds: tuple[int, int]
) -> None:
    ranges, model = filled(steps)
    assert ranges.covers(*bounds) == (set(range(*bounds)) <= model)


def test_a_list_of_ranges_takes_memory_for_the_ranges_not_for_their_bytes() -> None:
    tebibyte = 2**40
    ranges = RangeSet((0, 900 * tebibyte), (1000 * tebibyte, 2000 * tebibyte))
    assert list(ranges) == [(0, 900 * tebibyte), (1000 * tebibyte, 2000 * tebibyte)]
    assert ranges.byte_count == 1900 * tebibyte


def test_whoever_goes_through_a_set_may_change_it_meanwhile() -> None:
    ranges = RangeSet((0, 1), (2, 3), (4, 5))
    seen = []
    for start, stop in ranges:
        ranges.remove(start, stop)
        seen.append((start, stop))
    assert seen == [(0, 1), (2, 3), (4, 5)]
