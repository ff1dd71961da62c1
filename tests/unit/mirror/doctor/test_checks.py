"""The table is worked through whatever one of its sources or checks does."""

import threading

from mirror.doctor import Finding, Verdict, ok, worst
from mirror.doctor.checks import Check, examine


def check(name: str, source: str) -> Check:
    def judge(facts: str) -> list[Finding]:
        if facts == "bad":
            raise KeyError(facts)
        return [ok(name, facts)]

    return Check(name, f"is {name} well", source, judge)


def worked(checks: list[Check], sources: dict[str, object], bound_s: float = 30.0) -> dict[str, Finding]:
    def gather(facts: object) -> object:
        if isinstance(facts, Exception):
            raise facts
        if isinstance(facts, threading.Event):
            facts.wait()
        return facts

    callables = {name: (lambda facts=facts: gather(facts)) for name, facts in sources.items()}
    return {check.name: findings[0] for check, findings in examine(checks, callables, bound_s)}


def test_one_that_fails_keeps_none_of_the_others_from_being_told() -> None:
    found = worked(
        [check("a", "good"), check("b", "broken"), check("c", "bad"), check("d", "good")],
        {"good": "fine", "broken": OSError("no way"), "bad": "bad"},
    )
    assert {name: it.verdict for name, it in found.items()} == {
        "a": Verdict.OK, "b": Verdict.WARNING, "c": Verdict.WARNING, "d": Verdict.OK,
    }  # fmt: skip
    assert "no way" in found["b"].says
    assert "KeyError" in found["c"].says


def test_one_that_never_ends_is_given_up_after_the_others_were_told() -> None:
    never = threading.Event()
    try:
        found = worked([check("a", "never"), check("b", "good")], {"never": never, "good": "fine"}, bound_s=0.0)
        assert "nothing came of it within 0 s" in found["a"].says
    finally:
        never.set()


def test_the_worst_verdict_counts() -> None:
    verdicts = [Verdict.OK, Verdict.ERROR, Verdict.WARNING, Verdict.SKIPPED]
    assert worst([Finding("x", it, "") for it in verdicts]) is Verdict.ERROR
    assert worst([]) is Verdict.OK
