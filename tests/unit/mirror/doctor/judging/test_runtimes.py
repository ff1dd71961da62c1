"""Whether runtimes ask the agent: what it saw counts, and not what their files say."""

from mirror.doctor import Verdict
from mirror.doctor.facts import Sighting
from mirror.doctor.judging.runtimes import runtimes, without_agent
from mirror.doctor.probing import ProbeFacts, RuntimeFacts

SEEN = ProbeFacts("CRI at /run/c.sock", sightings=[Sighting("HEAD", "127.0.0.1", "containerd/2", "docker.io", 0.02)])
UNSEEN = ProbeFacts("CRI at /run/c.sock", said="failed to resolve")
ABSENT = ProbeFacts("", "no socket", is_there=False)


def runtime(name: str, probe: ProbeFacts | None, *, asks: bool | None = True) -> RuntimeFacts:
    return RuntimeFacts(name, "2.0", asks, "", (), "systemctl restart containerd", probe)


def test_one_that_was_seen_is_well_whatever_its_files_say() -> None:
    (found,) = runtimes([runtime("containerd", SEEN, asks=False)])
    assert found.verdict is Verdict.OK
    assert "HEAD for docker.io came after 20 ms" in found.says


def test_one_that_was_not_seen_although_its_files_say_so_has_to_read_them() -> None:
    (found,) = runtimes([runtime("containerd", UNSEEN)])
    assert found.verdict is Verdict.ERROR
    assert found.command == "systemctl restart containerd"


def test_one_that_does_not_ask_is_configured() -> None:
    (found,) = runtimes([runtime("containerd", UNSEEN, asks=False)])
    assert found.verdict is Verdict.ERROR
    assert found.command == "skvaller configure containerd --restart"


def test_one_of_several_is_enough() -> None:
    found = runtimes([runtime("containerd", SEEN), runtime("podman", UNSEEN, asks=False)])
    assert [it.verdict for it in found] == [Verdict.OK, Verdict.WARNING]


def test_one_that_does_not_run_is_not_judged() -> None:
    assert runtimes([runtime("docker", ABSENT, asks=False)])[0].verdict is Verdict.SKIPPED


def test_a_file_that_is_not_in_order_is_named() -> None:
    broken = RuntimeFacts("containerd", "2.0", None, "/etc/containerd/config.toml:3: no TOML", (), "", UNSEEN)
    (found,) = runtimes([broken])
    assert "/etc/containerd/config.toml:3" in found.says


def test_without_a_probe_the_files_count() -> None:
    found = runtimes([runtime("containerd", None), runtime("podman", None, asks=False)])
    assert [it.verdict for it in found] == [Verdict.SKIPPED, Verdict.WARNING]
    assert runtimes([runtime("podman", None, asks=False)])[0].verdict is Verdict.ERROR


def test_one_that_may_not_be_tried_says_how_it_may() -> None:
    (found,) = runtimes([runtime("docker", ProbeFacts("", "Docker's API at /run/docker.sock: Permission denied"))])
    assert found.verdict is Verdict.WARNING
    assert found.command == "sudo skvaller doctor"


def test_what_else_its_files_show_is_told_of_one_that_is_well() -> None:
    noted = RuntimeFacts("containerd", "2.0", True, "", ("it throws layers away",), "", SEEN)
    (found,) = runtimes([noted])
    assert found.verdict is Verdict.OK
    assert found.means == "it throws layers away."


def test_without_an_agent_files_alone_are_told() -> None:
    found = without_agent([runtime("containerd", None), runtime("podman", None, asks=False)])
    assert [it.verdict for it in found] == [Verdict.SKIPPED, Verdict.WARNING]
