"""The chart as it is written: values, schema and templates speak of the same. Helm renders it in tests/clients."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from mirror import __version__
from mirror.config import SETTINGS

CHART = Path(__file__).parents[3] / "deploy" / "chart" / "skvaller"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
TEMPLATES = "\n".join(path.read_text() for path in sorted(CHART.glob("templates/**/*")) if path.is_file())


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of values; a map that operators fill is one."""
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from leaves(below, (*path, key))
    else:
        yield path


def schema_of(path: tuple[str, ...]) -> Any:
    found: Any = SCHEMA
    for key in path:
        found = found.get("properties", {}).get(key, found.get("additionalProperties"))
    return found


def test_usual_values_are_in_order() -> None:
    Draft7Validator.check_schema(SCHEMA)
    assert [error.message for error in Draft7Validator(SCHEMA).iter_errors(VALUES)] == []


def test_schema_and_values_have_the_same_keys() -> None:
    def compare(values: dict[str, Any], schema: dict[str, Any], where: str) -> None:
        properties = schema.get("properties")
        if properties is None:
            return  # operators fill it
        optional = {"global", "initialDelaySeconds", "successThreshold"}
        assert properties.keys() - optional == values.keys() - optional, where
        for key, value in values.items():
            if isinstance(value, dict):
                compare(value, properties[key], f"{where}.{key}")

    compare(VALUES, SCHEMA, "values")


def test_nothing_but_known_keys_is_taken() -> None:
    def closed(schema: Any, where: str) -> None:
        if isinstance(schema, dict) and "properties" in schema:
            assert schema["additionalProperties"] is False, where
            for key, below in schema["properties"].items():
                closed(below, f"{where}.{key}")

    closed(SCHEMA, "values")


def is_used(path: tuple[str, ...]) -> bool:
    """Whether a template has a value by itself, or as a part of what it writes whole: `toYaml .Values.resources`."""
    names = [".".join(path[:length]) for length in range(1, len(path) + 1)]
    anywhere = "|".join(map(re.escape, names))
    whole = rf"(?:toYaml|with|deepCopy|:=) \(?(?:omit )?(?:\$root)?\.Values\.(?:{anywhere})\b(?!\.)"
    exact = rf"[Vv]alues\.{re.escape(names[-1])}\b(?!\.)"
    return re.search(whole, TEMPLATES) is not None or re.search(exact, TEMPLATES) is not None


def test_each_value_is_used_by_a_template() -> None:
    assert [".".join(path) for path in leaves(VALUES) if not is_used(path)] == []


def test_templates_use_no_value_that_is_not_there() -> None:
    known = {path[:length] for path in leaves(VALUES) for length in range(1, len(path) + 1)}
    used = {tuple(name.split(".")) for name in re.findall(r"[Vv]alues\.([A-Za-z]+(?:\.[A-Za-z]+)*)", TEMPLATES)}
    assert {name for name in used if name not in known} == set()


def test_chart_is_of_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == __version__


@pytest.mark.parametrize(("value", "setting"), [
    ("home", "home"), ("push", "push"), ("tags", "tags"), ("logLevel", "log-level"), ("logFormat", "log-format"),
    ("gossipProfile", "gossip-profile"),
])  # fmt: skip
def test_what_the_schema_allows_the_agent_takes(value: str, setting: str) -> None:
    parse = next(it.parse for it in SETTINGS if it.name == setting)
    for word in SCHEMA["properties"]["agent"]["properties"][value]["enum"]:
        assert parse(word) is not None


def test_agents_ports_differ() -> None:
    ports = VALUES["network"]["ports"]
    assert len({*ports.values()}) == len(ports)


def test_an_agent_that_starts_slowly_is_not_started_again() -> None:
    # Eight nodes that started at the same time on two busy cores took more than a minute each.
    assert VALUES["startupProbe"]["periodSeconds"] * VALUES["startupProbe"]["failureThreshold"] >= 600
