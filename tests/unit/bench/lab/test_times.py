"""Times of clients: one that fails makes no mode look fast."""

from types import SimpleNamespace
from typing import Any, cast

from bench.lab.clients import Client, Pull
from bench.lab.measure import used_s
from bench.lab.scene import Outcome
from bench.lab.times import times

IDEAL_S = 2.0
PATIENCE_S = 60.0


def client(seconds: float, *errors: str, started_at: float = 100.0) -> Client:
    pull = Pull(started_at, started_at + seconds, 1000, errors)
    return cast("Client", SimpleNamespace(pull=pull, host=SimpleNamespace(name="node1")))


def found(*counted: Client, **more: Any) -> dict[str, float]:
    return dict(times(Outcome(counted, **more), IDEAL_S, PATIENCE_S))


def test_the_last_client_is_the_time_of_the_run() -> None:
    figures = found(client(4), client(2), client(3), fault_at=101.0)
    assert (figures["first_s"], figures["median_s"], figures["last_s"], figures["ratio"]) == (2, 3, 4, 2)
    assert (figures["pulls_failed"], figures["pulls_counted"], figures["after_fault_s"]) == (0, 3, 3)
    assert not any(name.endswith("_at_least") for name in figures)


def test_a_pull_that_failed_has_not_ended_when_nobody_waits_any_more() -> None:
    figures = found(client(2), client(0.5, "no such image"), fault_at=100.0)
    assert figures["ratio"] == PATIENCE_S / IDEAL_S
    assert figures["ratio_at_least"] == figures["last_s_at_least"] == figures["after_fault_s_at_least"] == 1.0
    assert (figures["pulls_failed"], figures["client_errors"], figures["median_s"]) == (1, 1, 2)


def test_one_that_was_waited_for_longer_took_as_long_at_least() -> None:
    assert found(client(2), client(113, "not ended"))["ratio"] == 113 / IDEAL_S


def test_where_all_fail_there_is_a_ratio_all_the_same() -> None:
    figures = found(client(1, "gone"), client(1, "gone"))
    assert figures["ratio"] == PATIENCE_S / IDEAL_S
    assert "median_s" not in figures


def test_batches_are_timed_one_by_one_and_not_at_all_if_a_pull_failed() -> None:
    one, two = client(2), client(4, started_at=102.0)
    figures = found(one, two, batches=[[one], [two]])
    assert (figures["all_s"], figures["ratio"]) == (6, 1.5)
    broken = client(4, "gone")
    figures = found(one, broken, batches=[[one], [broken]])
    assert figures["ratio_at_least"] == 1.0
    assert "all_s" not in figures


def test_late_and_uncounted_clients_have_times_of_their_own() -> None:
    late, apart = client(3), client(50)
    figures = found(client(2), late, late=[late], apart=[apart])
    assert (figures["late_s"], figures["late_ratio"], figures["apart_s"]) == (3, 1.5, 50)
    assert figures["ratio"] == 1.5


def test_cpu_of_all_that_were_killed_counts_and_of_one_that_still_runs_after_them() -> None:
    before = {"node1": 1.0, "node2": 1.0, "node3": 2.0}
    after = {"node1": 4.0, "node2": 0.5}
    lost = {"node2": [1.5, 0.7], "node3": [2.5]}
    assert used_s(before, after, lost) == 3.0 + (0.5 + 1.5 + 0.7 - 1.0) + 0.5
    assert used_s({"node1": 1.0}, {}, {}) == 0.0
