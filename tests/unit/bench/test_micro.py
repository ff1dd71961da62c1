"""The microbenchmarks measure what they say, in small."""

from bench.micro import codec, lookup, publish
from bench.micro.amount import Amount
from gossip.core.messages import FilterKind

LITTLE = Amount(rounds=1, shapes=((3, 40),), key_counts=(10, 2000), calls=1, file_bytes=1024)


def test_directories_of_both_kinds_find_who_holds_what() -> None:
    for kind in FilterKind:
        filled = lookup.fill(kind, 3, 40)
        assert all(len(filled.directory.holders(key)) == 3 for key in filled.shared)
        assert all(filled.directory.holders(key) for key in filled.held)
        assert len(filled.held) == 3 * (40 - len(filled.shared))
    tables, goals = lookup.measure(LITTLE)
    assert [[row["kind"] for row in table.rows] for table in tables] == [["bloom", "exact"]] * 2
    assert goals == [], "goals are for other sizes"


def test_what_joins_gets_all_and_each_kind_takes_what_it_takes() -> None:
    rows = {(row["kind"], row["keys"]): row for row in publish.measure(LITTLE).rows}
    bloom, exact = rows["bloom", 2000]["join_bytes"], rows["exact", 2000]["join_bytes"]
    assert isinstance(bloom, float)
    assert isinstance(exact, float)
    assert 2 * 2000 < bloom < 8 * 2000 < exact < 9 * 2000
    assert abs(_news(rows["bloom", 10]["news_bytes"]) - _news(rows["exact", 10]["news_bytes"])) < 4


def _news(cell: object) -> float:
    assert isinstance(cell, float)
    assert cell > 12 * 8
    return cell


def test_every_step_of_a_packet_is_timed() -> None:
    steps, rates = codec.measure(LITTLE)
    assert len(steps.rows) == len(rates.rows) > 4
    assert all(set(row) == {"packet", *steps.columns} for row in steps.rows)
