"""What is said to be wrong, and which command mends it."""

from typing import Any

from mirror.app.problems import Facts, problems_of
from mirror.service import Service


def member(name: str = "n2", **values: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "name": name,
        "state": "alive",
        "peer": "http://10.0.0.2:5001",
        "flapping": False,
        "contradicts": None,
        "trouble": None,
        "means": "MEANING",
    }
    return given | values


def budget(**values: Any) -> dict[str, Any]:
    return {"registry": "docker.io", "remaining": 80, "limit": 100, "wait_s": 0.0} | values


def pin(name: str = "docker.io/library/a:1", **values: Any) -> dict[str, Any]:
    return {"name": name, "held": 1, "wanted": 2, "missing": 1, "problem": ""} | values


def told(**values: Any) -> list[dict[str, Any]]:
    given: dict[str, Any] = {
        "me": "n1",
        "service": Service.SYSTEMD,
        "is_ready": True,
        "alone": "",
        "members": [member()],
        "budgets": [budget()],
        "outages": [],
        "pins": [pin(held=2, missing=0)],
        "keeps_nothing": None,
        "unreadable": 0,
        "without_room": 0,
    }
    return problems_of(Facts(**(given | values)))


def test_nothing_is_wrong_with_a_cluster_that_is_well() -> None:
    assert told() == []


def test_each_fact_is_one_problem_with_a_command() -> None:
    said = {"tag": "docker.io/library/a:1", "says": "sha256:" + "1" * 64, "upstream": "sha256:" + "2" * 64}
    cases: dict[str, tuple[dict[str, Any], str, str]] = {
        "not ready": ({"is_ready": False}, "warning", "journalctl -u skvaller"),
        "alone": ({"alone": "10.0.0.9:7946: refused"}, "error", "skvaller doctor"),
        "dead": ({"members": [member(state="dead")]}, "error", "systemctl restart skvaller"),
        "suspect": ({"members": [member(state="suspect")]}, "warning", "skvaller doctor"),
        "banned": ({"members": [member(trouble="banned")]}, "error", "skvaller verify --deep"),
        "out of reach": ({"members": [member(trouble="out of reach")]}, "error", "skvaller doctor"),
        "flapping": ({"members": [member(flapping=True)]}, "warning", "journalctl -u skvaller"),
        "contradicts": ({"members": [member(contradicts=said)]}, "warning", "skvaller why docker.io/library/a:1"),
        "nobody pulls": ({"budgets": [budget(wait_s=60.0)]}, "error", "systemctl restart skvaller"),
        "few pulls": ({"budgets": [budget(remaining=10)]}, "warning", "systemctl restart skvaller"),
        "out for us": ({"outages": [{"registry": "r", "out_s": 5.0, "members": []}]}, "error", "skvaller doctor"),
        "out there": ({"outages": [{"registry": "r", "out_s": None, "members": ["n3"]}]}, "warning", "skvaller doctor"),
        "keeps nothing": ({"keeps_nothing": "the disk is full"}, "error", "skvaller prune"),
        "unreadable": ({"unreadable": 2}, "error", "journalctl -k"),
        "no room": ({"without_room": 1}, "error", "skvaller pins"),
        "copies lack": ({"pins": [pin()]}, "warning", "skvaller prefetch docker.io/library/a:1"),
        "no copy is whole": ({"pins": [pin(held=0, missing=2)]}, "error", "skvaller prefetch docker.io/library/a:1"),
        "nobody can": ({"pins": [pin(problem="no room")]}, "error", "skvaller prefetch docker.io/library/a:1"),
    }
    for name, (facts, severity, command) in cases.items():
        (problem,) = told(**facts)
        assert (problem["severity"], problem["command"].startswith(command)) == (severity, True), name
        assert problem["what"], name
        assert problem["advice"], name


def test_members_that_left_or_rest_for_a_moment_are_nothing_to_act_upon() -> None:
    assert told(members=[member(state="left"), member(trouble="rests"), member(trouble="silent")]) == []


def test_the_worst_comes_first_and_it_says_on_which_machine_to_act() -> None:
    rows = told(members=[member("n2", flapping=True), member("n3", state="dead")])
    assert [(row["severity"], row["on"]) for row in rows] == [("error", "n3"), ("warning", "n2")]


def test_a_name_that_means_something_to_a_shell_is_quoted() -> None:
    (problem,) = told(pins=[pin("a; rm -rf /")])
    assert problem["command"] == "skvaller prefetch 'a; rm -rf /'"


def test_very_many_pins_that_lack_copies_are_summed_up() -> None:
    rows = told(pins=[pin(f"a:{number}") for number in range(80)])
    assert (len(rows), rows[-1]["what"]) == (51, "30 more pinned images lack copies.")


def test_on_kubernetes_agents_are_pods() -> None:
    rows = told(service=Service.KUBERNETES, is_ready=False, members=[member("n3", state="dead", flapping=True)])
    pod = "pod -A -l app.kubernetes.io/name=skvaller --field-selector spec.nodeName="
    assert [(row["command"], row["on"]) for row in rows] == [
        (f"kubectl delete {pod}n3", ""),
        (f"kubectl describe {pod}n1", ""),
        (f"kubectl describe {pod}n3", ""),
    ]
