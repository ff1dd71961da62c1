"""How the double of Docker Hub counts pulls."""

from testbed.hub import Allowance, PullLimits

HERE, THERE = "192.0.2.7", "192.0.2.8"


def test_pulls_come_back_when_they_are_older_than_the_window() -> None:
    limits = PullLimits(Allowance(2, 100))
    assert [limits.pull("", HERE, now) for now in (0.0, 60.0, 70.0)] == [True, True, False]
    standing = limits.standing("", HERE, 70.0)
    assert (standing.remaining, standing.again_s) == (0, 30)
    assert standing.headers(HERE)["ratelimit-remaining"] == "0;w=100"
    assert limits.pull("", THERE, 70.0), "another address has pulls of its own"
    assert limits.pull("", HERE, 100.0)


def test_an_account_is_counted_by_itself_and_one_without_a_limit_is_told_none() -> None:
    limits = PullLimits(Allowance(0), {"free": Allowance(1, 60)})
    assert [limits.pull(account, HERE, 0.0) for account in ("", "free", "free", "paying")] == [False, True, False, True]
    assert limits.standing("paying", HERE, 0.0).headers("paying") == {}


def test_an_ipv6_address_counts_as_its_network() -> None:
    limits = PullLimits(Allowance(1, 60))
    assert limits.pull("", "2001:db8:0:1::7", 0.0)
    assert not limits.pull("", "2001:db8:0:1::8", 0.0)
    assert limits.pull("", "2001:db8:0:2::7", 0.0)
