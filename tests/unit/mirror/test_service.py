"""Which commands an operator is told, by what starts the agents."""

import re
from pathlib import Path

import pytest
import yaml

from mirror.config import SETTINGS
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


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("cache-size", "5GiB", 'agent.cacheSize = "5GiB"'),
        ("offline", ["all"], 'agent.offline = ["all"]'),
        ("peer", "IP:OTHER-PORT", "network.ports.peer = OTHER-PORT"),
        ("upstream-proxy", "http://PROXY:3128", 'agent.settings.upstream-proxy = "http://PROXY:3128"'),
        (
            "name",
            "ANOTHER-NAME",
            '[{"name": "SKVALLER_NAME", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]',
        ),
    ],
)
def test_in_a_pod_doctor_names_the_charts_value_and_no_file(setting: str, value: str | list[str], told: str) -> None:
    command = Advice(service=Service.KUBERNETES, name="n1").set(setting, value)
    assert command.startswith("in the chart's values, set ")
    assert told in command
    assert command.endswith("then helm upgrade")
    assert "agent.toml" not in command


def test_each_value_that_doctor_names_is_one_of_the_chart() -> None:
    chart = Path(__file__).parents[3] / "deploy" / "chart" / "skvaller"
    for setting in SETTINGS:
        command = Advice(service=Service.KUBERNETES).set(setting.name, "1.2.3.4:5")
        below = yaml.safe_load((chart / "values.yaml").read_text())
        for part in re.findall(r"set ([\w.]+)", command)[0].split("."):
            if part == "settings":
                break  # operators fill it
            below = below[part]
