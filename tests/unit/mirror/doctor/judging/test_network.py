"""What lies between two nodes: each direction, each protocol and each size of packet has its own verdict."""

from dataclasses import replace

import pytest

from mirror.doctor import Finding, Verdict
from mirror.doctor.advice import Advice
from mirror.doctor.facts import Back, Datagram, Descriptors, Disk, MemberFacts, NodeFacts, Way
from mirror.doctor.judging import network

ADVICE = Advice()
OPEN = Way(0.001)
ALL_ASKED = ["small", "full", "want-full"]
ALL_CAME = ["small-came", "full-came", "full-back"]
ME = NodeFacts(
    "n1", "1.0", "10.0.0.1", 5001, 7946, ["10.0.0.1"], ["127.0.0.1:5000"], True, "", [], 100, 0, "", True, "/k",
    Disk("/d", 1 << 40, 1 << 41, 1 << 20), 1 << 30, 0, "", Descriptors(65536, 20), "", None,
)  # fmt: skip
BACK = Back("n2", "1.0", 0.0, "10.0.0.1", "10.0.0.1", OPEN, OPEN, ALL_ASKED)
WELL = MemberFacts("n2", "alive", "10.0.0.2", 5001, 7946, OPEN, OPEN, ALL_CAME, 0.01, BACK, "")


def verdicts(findings: list[Finding]) -> list[Verdict]:
    return [finding.verdict for finding in findings]


def wrong(findings: list[Finding]) -> Finding:
    (finding,) = [it for it in findings if it.verdict is not Verdict.OK]
    return finding


def test_all_is_well() -> None:
    for findings in (
        network.tcp(ME, [WELL], ADVICE),
        network.udp(ME, [WELL], ADVICE),
        network.mtu(ME, [WELL], ADVICE),
        network.clock([WELL]),
    ):
        assert verdicts(findings) == [Verdict.OK]


def test_a_lone_node_has_nobody_to_ask() -> None:
    for findings in (network.tcp(ME, [], ADVICE), network.udp(ME, [], ADVICE), network.clock([])):
        assert verdicts(findings) == [Verdict.SKIPPED]


def test_a_port_that_is_dropped_there_is_opened_there() -> None:
    finding = wrong(network.tcp(ME, [replace(WELL, peer=Way(None, "no answer within 2 s"), back=None)], ADVICE))
    assert "10.0.0.2:5001" in finding.says
    assert finding.command.startswith("on n2: nft insert rule inet filter input tcp dport 5001 accept")


def test_a_port_at_which_nobody_listens_wants_no_firewall_opened() -> None:
    finding = wrong(network.tcp(ME, [replace(WELL, gossip=Way(None, "Connection refused"))], ADVICE))
    assert "10.0.0.2:7946" in finding.says
    assert "nft" not in finding.command


def test_a_port_that_is_dropped_here_is_opened_here() -> None:
    back = replace(BACK, peer=Way(None, "n1 cannot be reached"))
    finding = wrong(network.tcp(ME, [replace(WELL, back=back)], Advice("firewalld")))
    assert "10.0.0.1:5001" in finding.says
    assert finding.command == "firewall-cmd --permanent --add-port=5001/tcp && firewall-cmd --reload"


def test_a_member_that_is_down_is_one_warning() -> None:
    gone = Way(None, "No route to host")
    down = replace(WELL, state="dead", peer=gone, gossip=gone, came=[], back=None, ahead_s=None, problem="x")
    assert verdicts(network.tcp(ME, [down], ADVICE)) == [Verdict.WARNING]
    assert verdicts(network.udp(ME, [down], ADVICE)) == [Verdict.SKIPPED]


def test_udp_that_is_lost_one_way_is_told_apart() -> None:
    there = replace(WELL, came=["small-came", "full-back"], back=replace(BACK, heard=[]))
    finding = wrong(network.udp(ME, [there], ADVICE))
    assert "n2 gets no datagram of this node" in finding.says
    assert finding.command.startswith("on n2: ")

    here = replace(WELL, came=[])
    finding = wrong(network.udp(ME, [here], ADVICE))
    assert "this node gets no datagram of n2" in finding.says
    assert finding.command.startswith("nft insert rule inet filter input udp dport 7946 accept")

    both = replace(WELL, came=[], back=replace(BACK, heard=[]))
    assert verdicts(network.udp(ME, [both], ADVICE)) == [Verdict.ERROR, Verdict.ERROR]


def test_udp_of_a_member_that_cannot_be_asked_is_judged_by_what_came_at_all() -> None:
    unasked = replace(WELL, came=[], back=None, problem="n2 answered 403")
    finding = wrong(network.udp(replace(ME, received=0), [unasked], ADVICE))
    assert "not one datagram has come to this node" in finding.says
    finding = wrong(network.udp(ME, [unasked], ADVICE))
    assert "on n2:" in finding.command
    assert "or here:" in finding.command
    assert verdicts(network.udp(ME, [replace(unasked, came=ALL_CAME)], ADVICE)) == [Verdict.OK]


@pytest.mark.parametrize(
    ("came", "heard", "lost"),
    [
        (["small-came", "full-back"], ["small", "want-full"], "from here to n2"),
        (["small-came", "full-came"], ALL_ASKED, "from n2 to here"),
        (["small-came"], ["small", "want-full"], "from here to n2 and from n2 to here"),
    ],
)
def test_large_packets_that_are_lost_have_a_direction(came: list[str], heard: list[str], lost: str) -> None:
    finding = wrong(network.mtu(ME, [replace(WELL, came=came, back=replace(BACK, heard=heard))], ADVICE))
    assert finding.says.endswith(lost)
    assert "mtu 1280" in finding.command


def test_large_packets_are_not_judged_where_small_ones_are_lost() -> None:
    assert verdicts(network.mtu(ME, [replace(WELL, came=[])], ADVICE)) == [Verdict.SKIPPED]


def test_the_clock_that_differs_from_most_is_the_wrong_one() -> None:
    def member(name: str, ahead_s: float) -> MemberFacts:
        return replace(WELL, name=name, ahead_s=ahead_s)

    ours = wrong(network.clock([member("a", 3600), member("b", 3601), member("c", 3599)]))
    assert "this node's clock is 60 min behind" in ours.says
    assert ours.verdict is Verdict.ERROR
    theirs = wrong(network.clock([member("a", 0.1), member("b", -8.0), member("c", 0.2)]))
    assert "b's clock is 8 s behind this node's" in theirs.says
    assert theirs.verdict is Verdict.WARNING
    assert theirs.command.startswith("on b: ")
    one_of_two = wrong(network.clock([member("a", 0.1), member("b", 3600.0)]))
    assert "b's clock is 60 min ahead of this node's" in one_of_two.says
    both = network.clock([member("a", -900.0), member("b", 3600.0)])
    assert [it.says.partition("'")[0] for it in both] == ["a", "b"], "they do not agree either"
    either = wrong(network.clock([member("a", 1000.0)]))
    assert "or here if that one is right" in either.command


def test_kinds_of_datagrams_are_those_that_travel() -> None:
    assert {it.value for it in Datagram} == {*ALL_ASKED, *ALL_CAME}
