"""Which commands an operator is told, by what starts the agents."""

import pytest

from mirror.doctor.advice import Advice
from mirror.service import Service


@pytest.mark.parametrize(
    ("environment", "service"),
    [({}, Service.SYSTEMD), ({"KUBERNETES_SERVICE_HOST": "10.96.0.1"}, Service.KUBERNETES)],
)
def test_a_pod_knows_that_it_is_one(environment: dict[str, str], service: Service) -> None:
    assert Service.of(environment) is service


def test_doctor_names_the_pod_of_the_node_and_no_unit() -> None:
    advice = Advice(service=Service.KUBERNETES, name="n1")
    for command in (advice.restart, advice.start, advice.log):
        assert "spec.nodeName=n1" in command
        assert "systemctl" not in command


def test_without_a_unit_the_command_itself_is_named() -> None:
    assert Advice(service=Service.BY_HAND, config="/x.toml").start == "skvaller agent --config /x.toml"
