"""What a fetch remembers for people: who was asked, as what, and how that went."""

import json

from mirror.errors import PeerError, Reason, StorageFailed
from mirror.fetch.record import Record


def test_questions_to_one_source_are_summed_up_by_role() -> None:
    record = Record("sha256:0", "docker.io/library/x", 1.0)
    record.landed("a", "home", 100, 0.5, None)
    record.landed("a", "home", 50, 0.25, PeerError(Reason.STALLED, "a sent nothing for too long"))
    record.landed("a", "holder", 7, 0.125, None)
    record.landed("b", "home", 0, 0.125, StorageFailed("the disk failed"))
    rows = [(it.source, it.role, it.times, it.failed, it.bytes, it.seconds, it.answer) for it in record.asked.values()]
    assert rows == [
        ("a", "home", 2, 1, 150, 0.75, "stalled"),
        ("a", "holder", 1, 0, 7, 0.125, "sent"),
        ("b", "home", 1, 1, 0, 0.125, "the disk failed"),
    ]


def test_it_goes_into_json_whatever_it_remembers() -> None:
    record = Record("sha256:0", "docker.io/library/x", 1.0)
    record.landed("a", "home", 100, 0.5, None)
    record.failures.append("a sent wrong bytes")
    row = json.loads(json.dumps(record.row()))
    assert (row["outcome"], row["failures"]) == ("running", ["a sent wrong bytes"])
    assert row["asked"] == [
        {"source": "a", "role": "home", "times": 1, "failed": 0, "bytes": 100, "seconds": 0.5, "answer": "sent"}
    ]


def test_what_it_remembers_is_bounded() -> None:
    record = Record("sha256:0", "docker.io/library/x", 1.0)
    for number in range(1000):
        record.landed(f"n{number}", "home", 1, 0.0, None)
    assert len(record.asked) == 64
    record.landed("n0", "home", 1, 0.0, None)
    assert record.asked["n0", "home"].times == 2
