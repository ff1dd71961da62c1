"""What registries answer becomes a finding, and what lacks becomes a command."""

import pytest

from mirror.doctor import Verdict
from mirror.doctor.advice import Advice
from mirror.doctor.facts import BudgetFacts, UpstreamFacts
from mirror.doctor.judging.registries import upstream
from mirror.sources import Looked

URL = "https://registry.example.com"


def facts(looked: Looked, *budgets: BudgetFacts, is_named: bool = True) -> list[UpstreamFacts]:
    return [UpstreamFacts("registry.example.com", is_named, False, [looked], budgets)]


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (f"{URL} cannot be reached: Name or service not known", "getent hosts registry.example.com"),
        (f"{URL} cannot be reached: certificate verify failed", "openssl s_client -connect registry.example.com"),
        ("registry.example.com does not accept the user bob", "docker login registry.example.com"),
        (f"{URL} cannot be reached: Connection refused", f"curl -sv {URL}/v2/"),
        ("no answer within 10 s", "upstream-proxy"),
    ],
)
def test_what_goes_wrong_has_its_command(problem: str, words: str) -> None:
    (found,) = upstream(facts(Looked(URL, 1.0, None, False, problem)), Advice())
    assert found.verdict is Verdict.ERROR
    assert problem in found.says
    assert words in found.command


def test_a_registry_that_nobody_named_is_a_warning_when_it_is_out_of_reach() -> None:
    (found,) = upstream(facts(Looked(URL, 1.0, None, False, "no answer within 10 s"), is_named=False), Advice())
    assert found.verdict is Verdict.WARNING


def test_an_answer_is_well_whatever_it_is_unless_nobody_is_let_in() -> None:
    def verdict(status: int) -> Verdict:
        return upstream(facts(Looked(URL, 0.1, status)), Advice())[0].verdict

    assert [verdict(status) for status in (200, 404)] == [Verdict.OK, Verdict.OK]
    assert [verdict(status) for status in (401, 503)] == [Verdict.ERROR, Verdict.ERROR]
    (refused,) = upstream(facts(Looked(URL, 0.1, 401)), Advice())
    assert "It wants a password" in refused.means
    (ill,) = upstream(facts(Looked(URL, 0.1, 503)), Advice())
    assert "It is ill itself" in ill.means


def test_a_budget_that_is_nearly_spent_is_told() -> None:
    def says(budget: BudgetFacts) -> list[str]:
        return [it.says for it in upstream(facts(Looked(URL, 0.1, 200), budget), Advice())[1:]]

    assert says(BudgetFacts("1.2.3.4", 90, 100, 0.0)) == []
    well = upstream(facts(Looked(URL, 0.1, 200), BudgetFacts("1.2.3.4", 90, 100, 0.0)), Advice())[0]
    assert well.says.endswith("; 90 of 100 pulls left")
    assert "has 3 of 100 pulls left for 1.2.3.4" in says(BudgetFacts("1.2.3.4", 3, 100, 0.0))[0]
    assert "lets nobody pull for 10 min" in says(BudgetFacts("", 0, 100, 600.0))[0]


def test_what_is_never_asked_is_not_judged() -> None:
    (found,) = upstream([UpstreamFacts("docker.io", False, True, [], [])], Advice())
    assert found.verdict is Verdict.SKIPPED
