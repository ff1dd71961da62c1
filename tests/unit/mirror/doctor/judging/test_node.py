"""What a node says of itself: each fault has a finding that names it, and a command."""

from dataclasses import replace

import pytest

from mirror.doctor import Verdict
from mirror.doctor.advice import Advice
from mirror.doctor.facts import Descriptors, Disk, NodeFacts, Way
from mirror.doctor.judging import node
from mirror.service import Service

ADVICE = Advice(config="/etc/skvaller/agent.toml")
DISK = Disk("/var/lib/skvaller", 100 << 30, 200 << 30, 1 << 20)
ME = NodeFacts(
    "n1", "1.0", "10.0.0.1", 5001, 7946, ["10.0.0.1"], ["127.0.0.1:5000"], True, "", ["10.0.0.2"], 9, 0, "", True, "/k",
    DISK, 20 << 30, 0, "", Descriptors(65536, 20), "", None,
)  # fmt: skip


def test_all_is_well() -> None:
    found = [
        *node.agent(ME, "http://127.0.0.1:5000"),
        *node.address(ME, ADVICE, 2),
        *node.name(ME, "n1", ADVICE),
        *node.cluster(ME, 2, ADVICE),
        *node.disk(ME, ADVICE),
        *node.files(ME, ADVICE),
    ]
    assert {it.verdict for it in found} == {Verdict.OK}


@pytest.mark.parametrize(
    ("outcome", "check", "words"),
    [
        ("its certificate is not valid by this node's clock: certificate has expired", "clock", "timedatectl"),
        ("its certificate is of another key, or of another authority", "keys", "scp root@10.0.0.2:/k /k"),
        ("it closed the connection without a greeting: it may want TLS, for which one needs its key", "keys", "scp"),
        ("it says that it cannot open the seal: it has no key, or its cluster has another name", "keys", "scp"),
        ("its name is not resolved", "cluster", 'set join = ["HOST-OF-ANOTHER-NODE"]'),
        ("Connection refused", "cluster", "on 10.0.0.2: systemctl enable --now skvaller"),
        ("it answers over TCP, but not over UDP", "cluster", "on 10.0.0.2: nft insert rule inet filter input udp"),
        ("it did not answer in time", "cluster", "on 10.0.0.2: nft insert rule inet filter input tcp dport 7946"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)", "cluster", "set join"),
    ],
)
def test_who_is_alone_learns_why_each_node_does_not_let_it_in(outcome: str, check: str, words: str) -> None:
    found = node.cluster(replace(ME, alone=f"10.0.0.2:7946: {outcome}; 10.0.0.3:7946: No route to host"), 0, ADVICE)
    assert [it.verdict for it in found] == [Verdict.ERROR, Verdict.ERROR]
    assert found[0].check == check
    assert outcome in found[0].says
    assert words in found[0].command


def test_a_namesake_is_told_with_its_address() -> None:
    (found,) = node.name(replace(ME, namesake="10.0.0.9:7946"), "n1", ADVICE)
    assert found.verdict is Verdict.ERROR
    assert found.command.startswith("on 10.0.0.9: set name")


def test_an_address_of_another_machine_is_doubted() -> None:
    (found,) = node.address(replace(ME, host="10.0.0.77"), ADVICE, 2)
    assert found.verdict is Verdict.WARNING
    assert 'advertise = "10.0.0.1"' in found.command


def test_a_node_on_loopback_is_wrong_only_if_it_is_to_join_others() -> None:
    loopback = replace(ME, host="127.0.0.1")
    assert node.address(loopback, ADVICE, 0)[0].verdict is Verdict.WARNING
    assert node.address(loopback, ADVICE, 1)[0].verdict is Verdict.OK
    assert node.address(replace(loopback, seeds=[]), ADVICE, 0)[0].verdict is Verdict.OK


@pytest.mark.parametrize(
    ("disk", "verdict", "words"),
    [
        (replace(DISK, is_read_only=True), Verdict.ERROR, "remount"),
        (replace(DISK, free_bytes=1 << 20), Verdict.ERROR, "du -x"),
        (replace(DISK, free_inodes=0), Verdict.ERROR, "--inodes"),
        (replace(DISK, free_bytes=600 << 20), Verdict.WARNING, "du -x"),
        (replace(DISK, free_bytes=10 << 30), Verdict.WARNING, 'cache-size = "9.0GiB"'),
        (replace(DISK, problem="/var/lib/skvaller cannot be written to by user 7"), Verdict.ERROR, "chown"),
        (replace(DISK, free_inodes=None), Verdict.OK, ""),
    ],
)
def test_a_disk_has_room_or_says_what_lacks(disk: Disk, verdict: Verdict, words: str) -> None:
    (found,) = node.disk(replace(ME, disk=disk), ADVICE)
    assert found.verdict is verdict
    assert words in found.command


def test_a_cache_that_keeps_nothing_is_an_error_unless_it_is_to() -> None:
    assert node.disk(replace(ME, keeps_nothing="the disk is full"), ADVICE)[0].verdict is Verdict.ERROR
    assert node.disk(replace(ME, cache_limit_bytes=0), ADVICE)[0].verdict is Verdict.OK


def test_few_descriptors_are_a_warning_and_none_left_an_error() -> None:
    assert node.files(replace(ME, descriptors=Descriptors(1024, 20)), ADVICE)[0].verdict is Verdict.WARNING
    assert node.files(replace(ME, descriptors=Descriptors(65536, 65000)), ADVICE)[0].verdict is Verdict.ERROR


def test_in_a_pod_nothing_is_told_of_a_unit_of_the_agent() -> None:
    advice = Advice(service=Service.KUBERNETES, name="n1")
    few = replace(ME, descriptors=Descriptors(1024, 20))
    forbidden = replace(ME, containerd="/run/x.sock", containerd_way=Way(None, "Permission denied"))
    (files,), (socket,) = node.files(few, advice), node.containerd(forbidden, [], advice)
    assert files.command.startswith("systemctl edit containerd ")
    assert "spec.nodeName=n1" in files.command
    assert socket.command.startswith("in the chart's values, set podSecurityContext = ")


def test_a_socket_that_is_missing_or_forbidden_has_its_own_command() -> None:
    missing = replace(ME, containerd="/run/x.sock", containerd_way=Way(None, "No such file or directory"))
    assert "systemctl start containerd" in node.containerd(missing, [], ADVICE)[0].command
    forbidden = replace(missing, containerd_way=Way(None, "Permission denied"))
    assert "skvaller install" in node.containerd(forbidden, [], ADVICE)[0].command
    there = node.containerd_socket("/run/x.sock", "No such file or directory", ["/run/k3s/c.sock"], ADVICE)
    assert 'containerd = "/run/k3s/c.sock"' in there.command


def test_a_containerd_that_is_here_and_not_shared_is_told() -> None:
    (found,) = node.containerd(ME, ["/run/containerd/containerd.sock"], ADVICE)
    assert found.verdict is Verdict.SKIPPED
    assert 'containerd = "/run/containerd/containerd.sock"' in found.command
    assert not node.containerd(ME, [], ADVICE)[0].command


def keys(*rows: tuple[str, list[str], str]) -> list[Verdict]:
    members = [{"member": member, "keys": keys, "problem": problem} for member, keys, problem in rows]
    answer = {"name": "n1", "key_file": "/k", "members": members}
    return [it.verdict for it in node.keys(answer, True, ADVICE)]


def test_keys_are_compared() -> None:
    assert keys(("n1", ["aa"], ""), ("n2", ["aa"], "")) == [Verdict.OK]
    assert keys(("n1", ["aa"], ""), ("n2", ["bb"], "")) == [Verdict.ERROR]
    assert keys(("n1", ["aa"], ""), ("n2", ["aa", "bb"], "")) == [Verdict.WARNING]
    assert keys(("n1", ["aa"], ""), ("n2", [], "it did not answer")) == [Verdict.WARNING]
    assert node.keys({}, False, ADVICE)[0].verdict is Verdict.SKIPPED
