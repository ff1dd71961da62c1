"""What registries let the members ask: kept by the newest note, told to all, and bounded whatever a member says."""

from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirror.routers import NOTE_MAX_BYTES
from mirror.settings import BudgetSettings
from mirror.sources.upstream.budgets import Budgets, Refused

HUB, QUAY = "https://registry-1.docker.io", "https://quay.io"


def left(remaining: int, source: str = "", limit: int = 100) -> Mapping[str, str]:
    given = {"RateLimit-Limit": f"{limit};w=21600", "RateLimit-Remaining": f"{remaining};w=21600"}
    return given | ({"Docker-RateLimit-Source": source} if source else {})


class Cluster:
    """Members that hear each other at once, on clocks of their own."""

    def __init__(self, count: int) -> None:
        self.members = [Budgets(tell=self._telling(number)) for number in range(count)]
        self.told: list[bytes] = []
        self.now = 1000.0

    def _telling(self, number: int):  # type: ignore[no-untyped-def]
        def tell(note: bytes) -> None:
            self.told.append(note)
            for other, budgets in enumerate(self.members):
                if other != number:
                    budgets.heard(note, self.clock(other))

        return tell

    def clock(self, number: int) -> float:
        return self.now + 1_000_000 * number


def test_nobody_asks_before_the_time_that_one_of_them_was_told() -> None:
    it = Cluster(3)
    it.members[0].limited(HUB, {}, 60, it.clock(0))
    for number, budgets in enumerate(it.members):
        assert budgets.wait_s(HUB, it.clock(number) + 10) == 50
        assert budgets.wait_s(HUB, it.clock(number) + 60) <= 0
        assert budgets.wait_s(QUAY, it.clock(number)) == 0


def test_the_newest_word_wins_however_late_it_comes() -> None:
    it = Cluster(2)
    a, b = it.members
    old = a.state(it.now)
    a.answered(HUB, left(50), it.now)
    older = a.state(it.now)
    it.now += 100
    a.answered(HUB, left(10), it.now)
    b.heard(older, it.clock(1))
    b.heard(old, it.clock(1))
    (note,) = b.shown(it.clock(1))
    assert (note.remaining, note.limit, note.window_s) == (10, 100, 21600)


def test_one_that_comes_later_learns_all_of_it() -> None:
    a, b = Budgets(), Budgets()
    a.limited(HUB, {}, 60, 1000.0)
    a.answered(QUAY, left(7), 1010.0)
    assert [note.url for note in b.heard(a.state(1020.0), 5.0)] == [HUB]
    assert b.wait_s(HUB, 5.0) == 40
    assert {note.url: note.remaining for note in b.shown(5.0)} == {HUB: 0, QUAY: 7}
    assert b.heard(a.state(1020.0), 5.0) == []


def test_members_behind_another_address_have_a_budget_of_their_own() -> None:
    it = Cluster(3)
    here, there, unknown = it.members
    there.answered(HUB, left(90, "192.0.2.2"), it.clock(1))
    here.limited(HUB, {"Docker-RateLimit-Source": "192.0.2.1"}, 60, it.clock(0))
    assert here.wait_s(HUB, it.clock(0)) == 60
    assert there.wait_s(HUB, it.clock(1)) == 0
    assert unknown.wait_s(HUB, it.clock(2)) == 60
    assert [note.remaining for note in there.shown(it.clock(1))] == [90]


def test_a_later_answer_ends_neither_a_wait_nor_is_each_one_told() -> None:
    it = Cluster(2)
    a, b = it.members
    a.answered(HUB, left(100), it.now)
    for remaining in range(99, 95, -1):
        a.answered(HUB, left(remaining), it.now)
    assert len(it.told) == 1
    a.answered(HUB, left(95), it.now)
    assert len(it.told) == 2
    a.answered(HUB, {}, it.now)
    a.answered(HUB, {"RateLimit-Remaining": "many"}, it.now)
    assert len(it.told) == 2
    a.limited(HUB, {}, 60, it.now)
    a.limited(HUB, {}, 5, it.now + 1)
    assert b.wait_s(HUB, it.clock(1)) == 60
    assert a.wait_s(HUB, it.now + 1) == 59


def test_what_is_left_is_told_to_whom_another_member_told_something_else() -> None:
    it = Cluster(3)
    a, b, _ = it.members
    a.answered(HUB, left(0, limit=2), it.now)
    it.now += 30
    b.answered(HUB, left(1, limit=2), it.clock(1))
    a.answered(HUB, left(0, limit=2), it.now)
    assert [budgets.left(HUB, it.clock(number)) for number, budgets in enumerate(it.members)] == [0, 0, 0]


def test_what_one_member_alone_knows_is_not_taken_for_told() -> None:
    it = Cluster(2)
    a, b = it.members
    a.answered(HUB, left(50), it.now)
    a.answered(HUB, left(46), it.now)  # too little a change to be told
    b.answered(HUB, left(56), it.clock(1))
    a.answered(HUB, left(46), it.now)
    assert b.left(HUB, it.clock(1)) == 46


def test_what_was_said_long_ago_is_shown_no_longer() -> None:
    budgets = Budgets()
    budgets.answered(HUB, left(3), 0.0)
    assert budgets.shown(21_599.0)
    assert not budgets.shown(21_600.0)


@pytest.mark.parametrize(("limit", "is_scarce"), [(5, True), (100, False)])
def test_after_its_window_all_of_a_budget_is_left_which_may_be_few(limit: int, is_scarce: bool) -> None:
    budgets = Budgets()
    budgets.answered(HUB, left(1, limit=limit), 0.0)
    assert (budgets.left(HUB, 21_599.0), budgets.is_scarce(HUB, 21_599.0)) == (1, True)
    assert (budgets.left(HUB, 21_600.0), budgets.is_scarce(HUB, 21_600.0)) == (limit, is_scarce)


def test_what_a_member_says_is_bounded() -> None:
    settings = BudgetSettings(budgets_max=3)
    budgets = Budgets(settings)
    many = [[f"https://r{number}", "", 0.0, 1e9, 5, 5, 10**9] for number in range(10)]
    budgets.heard(msgspec.msgpack.encode(many), 0.0)
    assert len(budgets.shown(0.0)) == 3
    assert budgets.wait_s("https://r0", 0.0) == settings.blocked_max_s
    for odd in (
        ["ftp://r", "", 0.0, 1.0],
        ["https://r", "a b", 0.0, 1.0],
        ["https://r", "", -1.0, 1.0],
        ["https://r", "", 0.0, float("inf")],
        ["https://r", "", float("nan"), 1.0],
        ["https://" + "r" * 600, "", 0.0, 1.0],
    ):
        Budgets().heard(msgspec.msgpack.encode([odd]), 0.0)
        other = Budgets()
        other.heard(msgspec.msgpack.encode([odd]), 0.0)
        assert other.shown(0.0) == [], odd


def test_who_counts_pulls_is_asked_for_everything_else_after_a_429_to_a_pull() -> None:
    it = Cluster(2)
    a, b = it.members
    a.answered(HUB, left(20), it.now)
    a.limited(HUB, left(0), 60, it.now, is_pull=True)
    for number, budgets in enumerate(it.members):
        assert budgets.wait_s(HUB, it.clock(number), is_pull=True) == 60
        assert budgets.wait_s(HUB, it.clock(number), is_pull=False) == 0
    a.answered(HUB, left(0), it.now + 1)  # to what is still asked
    assert a.wait_s(HUB, it.now + 1) == 59
    b.limited(HUB, {}, 10, it.clock(1), is_pull=False)
    assert a.wait_s(HUB, it.now, is_pull=False) > 0
    assert a.wait_s(QUAY, it.now) == 0


def test_who_says_nothing_of_pulls_is_asked_for_nothing_after_a_429() -> None:
    budgets = Budgets()
    budgets.answered(HUB, left(20), 0.0)
    budgets.limited(HUB, {}, 60, 0.0, is_pull=True)
    assert budgets.wait_s(HUB, 0.0, is_pull=False) == 60


def test_where_no_pull_is_left_none_is_made_until_one_may_be_there_again_and_others_may_ask() -> None:
    it = Cluster(2)
    it.members[0].answered(HUB, left(0), it.now)
    for number, budgets in enumerate(it.members):
        assert budgets.wait_s(HUB, it.clock(number)) == 216
        assert budgets.wait_s(HUB, it.clock(number), is_pull=False) == 0
        assert budgets.wait_s(HUB, it.clock(number) + 216) == 0
        assert not budgets.is_blocked(HUB, it.clock(number))


def test_a_time_that_a_registry_names_counts_more_than_a_guess() -> None:
    it = Cluster(2)
    it.members[0].answered(HUB, left(0), it.now)
    it.members[0].limited(HUB, {}, 5, it.now, is_pull=True)
    assert [budgets.wait_s(HUB, it.clock(number)) for number, budgets in enumerate(it.members)] == [5, 5]


def test_the_last_pulls_are_told_one_by_one() -> None:
    it = Cluster(2)
    for remaining in range(14, -1, -1):
        it.members[0].answered(HUB, left(remaining), it.now)
        it.now += 1
    assert it.members[1].left(HUB, it.clock(1)) == 0
    assert len(it.told) == 12
    assert [budgets.is_scarce(HUB, it.clock(number)) for number, budgets in enumerate(it.members)] == [True, True]
    it.now += 21_600
    assert not it.members[1].is_scarce(HUB, it.clock(1))


FIELDS = [msgspec.msgpack.encode(it) for it in (HUB, "", 0.0, 60.0, 1, 1, 1, next(iter(Refused)))]
"""Of a note."""


@example(b"\x91\x99" + b"".join(FIELDS) + b"\x91" * 200_000)  # and lists in lists behind them, where nothing is read
@given(st.binary(max_size=NOTE_MAX_BYTES))
def test_junk_says_nothing(payload: bytes) -> None:
    budgets = Budgets()
    budgets.heard(payload, 0.0)
    assert budgets.wait_s(HUB, 0.0) == 0


@pytest.mark.parametrize(
    ("header", "remaining"), [("76;w=21600", 76), ("76", 76), (" 76 ; w = 60 ", 76), ("76, 100;w=10", 76), ("-1", None)]
)
def test_headers_are_read_as_registries_write_them(header: str, remaining: int | None) -> None:
    budgets = Budgets()
    budgets.answered(HUB, {"RateLimit-Remaining": header}, 0.0)
    assert [note.remaining for note in budgets.shown(0.0)] == ([] if remaining is None else [remaining])


def test_who_does_not_know_whose_budget_is_used_up_may_find_that_out_by_what_costs_nothing() -> None:
    it = Cluster(2)
    a, b = it.members
    a.answered(HUB, {**left(0), "Docker-RateLimit-Source": "192.0.2.1"}, it.clock(0))
    assert b.wait_s(HUB, it.clock(1)) > 0
    assert (a.may_be_anothers(HUB, it.clock(0)), b.may_be_anothers(HUB, it.clock(1))) == (False, True)
    b.answered(HUB, {**left(7), "Docker-RateLimit-Source": "192.0.2.2"}, it.clock(1))
    assert not b.may_be_anothers(HUB, it.clock(1))
    assert b.wait_s(HUB, it.clock(1)) == 0


def test_nothing_is_free_where_everything_is_refused() -> None:
    it = Cluster(2)
    a, b = it.members
    a.limited(HUB, {"Docker-RateLimit-Source": "192.0.2.1"}, 60, it.clock(0))
    assert not b.may_be_anothers(HUB, it.clock(1))
