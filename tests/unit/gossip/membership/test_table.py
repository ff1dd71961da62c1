"""The table of members: probe order, counts and samples."""

import random
from collections import Counter

from gossip.core.membership.member import Address, Member, State
from gossip.core.membership.table import MemberTable


def member(name: str, state: State = State.ALIVE, *, epoch: int = 1, incarnation: int = 0) -> Member:
    return Member(name, Address("10.0.0.1", 7946), epoch, incarnation, state, b"", changed_at=0.0)


def test_everyone_is_probed_once_per_round_and_the_dead_never() -> None:
    members = MemberTable(random.Random(3))
    for i in range(7):
        members.put(member(f"n{i}"))
    members.put(member("n3", State.DEAD))
    for _ in range(10):
        seen = [probed.name for _ in range(6) if (probed := members.next_to_probe()) is not None]
        assert sorted(seen) == ["n0", "n1", "n2", "n4", "n5", "n6"]


def test_nobody_to_probe() -> None:
    members = MemberTable(random.Random(3))
    members.put(member("a", State.LEFT))
    assert members.next_to_probe() is None


def test_new_member_is_probed_within_two_rounds_wherever_the_round_stands() -> None:
    for seed in range(30):
        members = MemberTable(random.Random(seed))
        for i in range(5):
            members.put(member(f"n{i}"))
        for _ in range(seed % 5):
            members.next_to_probe()
        members.put(member("new"))
        assert "new" in {probed.name for _ in range(11) if (probed := members.next_to_probe())}


def test_live_count_follows_states() -> None:
    members = MemberTable(random.Random(0))
    members.put(member("a"))
    members.put(member("b", State.SUSPECT))
    members.put(member("b", State.DEAD))
    members.put(member("c", State.LEFT))
    assert members.live_count == 1
    members.drop("a")
    members.drop("c")
    assert (members.live_count, len(members)) == (0, 1)


def test_sample_is_distinct_filtered_and_exhaustive() -> None:
    members = MemberTable(random.Random(0))
    for i in range(4):
        members.put(member(f"n{i}", State.DEAD if i == 0 else State.ALIVE))
    picked = members.sample(10, lambda candidate: candidate.live)
    assert sorted(one.name for one in picked) == ["n1", "n2", "n3"]


def test_a_sample_of_a_large_table_is_as_even_as_chance_allows() -> None:
    members = MemberTable(random.Random(0))
    for i in range(40):
        members.put(member(f"n{i}", State.DEAD if i % 2 else State.ALIVE))
    picked = Counter(one.name for _ in range(2000) for one in members.sample(3, lambda candidate: candidate.live))
    assert set(picked) == {f"n{i}" for i in range(0, 40, 2)}
    assert sum(picked.values()) == 6000
    assert all(230 <= times <= 370 for times in picked.values())  # 300 and four standard deviations


def test_a_sample_finds_the_few_that_fit_in_a_large_table() -> None:
    members = MemberTable(random.Random(0))
    for i in range(200):
        members.put(member(f"n{i}", State.ALIVE if i in (7, 99) else State.DEAD))
    for _ in range(20):
        assert sorted(one.name for one in members.sample(3, lambda candidate: candidate.live)) == ["n7", "n99"]
