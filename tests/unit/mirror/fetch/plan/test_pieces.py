"""How a blob is cut."""

from mirror.cluster.homes import MEBIBYTE, SMALLEST_BYTES, piece_size
from mirror.fetch.plan.pieces import Pieces
from mirror.oci.ranges import RangeSet


def sized(size: int) -> Pieces:
    pieces = Pieces(2)
    pieces.sized(size)
    return pieces


def test_before_the_size_is_known_there_is_one_piece() -> None:
    pieces = Pieces(2)
    assert pieces.size is None
    assert pieces.number(10 * MEBIBYTE) == 0
    assert pieces.unit == SMALLEST_BYTES, "what is behind it may have another home"
    assert Pieces(1).unit == MEBIBYTE


def test_gaps_are_cut_at_the_bounds_of_pieces() -> None:
    pieces = sized(16 * MEBIBYTE)
    unit = piece_size(16 * MEBIBYTE)
    gaps = RangeSet((unit - 10, 2 * unit + 5), (5 * unit, 5 * unit + 1))
    assert list(pieces.cut(gaps)) == [
        (unit - 10, unit), (unit, 2 * unit), (2 * unit, 2 * unit + 5), (5 * unit, 5 * unit + 1),
    ]  # fmt: skip
    assert list(pieces.cut(gaps, unit + 3)) == [
        (unit + 3, 2 * unit), (2 * unit, 2 * unit + 5), (5 * unit, 5 * unit + 1),
    ]  # fmt: skip
    assert pieces.number(unit - 1) == 0
    assert pieces.number(unit) == 1


def test_what_a_reader_waits_for_comes_first() -> None:
    pieces = sized(16 * MEBIBYTE)
    unit = pieces.unit
    order = list(pieces.in_order(RangeSet((0, 4 * unit)), [2 * unit + 7]))
    assert order[0] == (2 * unit + 7, 3 * unit)
    assert order[-4:] == [(number * unit, (number + 1) * unit) for number in range(4)]
