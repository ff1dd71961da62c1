"""Distributions: what is printed for each has the form that its documents say, and the chart takes its values."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from mirror.errors import ConfigError
from mirror.kubernetes.distributions import DISTRIBUTIONS, Distribution, distribution
from mirror.runtimes.known import known
from mirror.sources.upstream.registries import known_registries

ROOT = Path(__file__).parents[4]
CHART = json.loads((ROOT / "deploy" / "chart" / "skvaller" / "values.schema.json").read_text())
URL = "http://127.0.0.1:6000"
REGISTRIES = list(known_registries(()))


def strict(**properties: Any) -> dict[str, Any]:
    """An object that has these and nothing else."""
    return {"type": "object", "additionalProperties": False, "required": [*properties], "properties": properties}


def listed(of: dict[str, Any], at_most: int = 1000) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "maxItems": at_most, "items": of}


FORMS: dict[str, dict[str, Any]] = {
    # Talos, reference of RegistryMirrorConfig
    "talos": strict(
        apiVersion={"const": "v1alpha1"},
        kind={"const": "RegistryMirrorConfig"},
        name={"const": "*"},
        endpoints=listed(strict(url={"const": URL})),
    ),
    # Bottlerocket, settings.container-registry.mirrors
    "bottlerocket": strict(
        settings=strict(
            **{
                "container-registry": strict(
                    mirrors=listed(strict(registry={"const": "*"}, endpoint=listed({"const": URL})))
                )
            }
        )
    ),
    # GKE, reference of ContainerdConfig: at most 25 registryHosts, and names of capabilities
    "gke": strict(
        registryHosts=listed(
            strict(
                server={"enum": REGISTRIES},
                hosts=listed(
                    strict(
                        host={"const": URL},
                        capabilities=listed(
                            {"enum": ["HOST_CAPABILITY_PULL", "HOST_CAPABILITY_RESOLVE", "HOST_CAPABILITY_PUSH"]}
                        ),
                    )
                ),
            ),
            at_most=25,
        )
    ),
    # nodeadm, reference of NodeConfig
    "eks": strict(
        apiVersion={"const": "node.eks.aws/v1alpha1"},
        kind={"const": "NodeConfig"},
        spec=strict(containerd=strict(config={"type": "string"})),
    ),
    # kind, configuration of a cluster
    "kind": strict(
        kind={"const": "Cluster"},
        apiVersion={"const": "kind.x-k8s.io/v1alpha4"},
        containerdConfigPatches=listed({"type": "string"}),
    ),
}


def machine_of(row: Distribution) -> Any:
    text = row.shown_machine(REGISTRIES, 6000)
    return tomllib.loads(text) if row.name == "bottlerocket" else yaml.safe_load(text)


@pytest.mark.parametrize("row", [it for it in DISTRIBUTIONS if it.machine], ids=lambda row: row.name)
def test_machines_configuration_has_the_documented_form(row: Distribution) -> None:
    Draft202012Validator(FORMS[row.name]).validate(machine_of(row))


@pytest.mark.parametrize(
    ("name", "where"), [("eks", ("spec", "containerd", "config")), ("kind", ("containerdConfigPatches", 0))]
)
def test_containerds_own_part_is_toml_that_keeps_layers(name: str, where: tuple[Any, ...]) -> None:
    found = machine_of(distribution(name))
    for key in where:
        found = found[key]
    assert tomllib.loads(found)["plugins"]["io.containerd.cri.v1.images"] == {"discard_unpacked_layers": False}


@pytest.mark.parametrize("row", DISTRIBUTIONS, ids=lambda row: row.name)
def test_values_are_such_that_the_chart_takes_them(row: Distribution) -> None:
    values = yaml.safe_load(row.shown_values(6000))
    Draft202012Validator(CHART).validate(values)
    assert values["network"]["ports"]["client"] == 6000
    assert yaml.safe_load(row.shown_values()) == {key: dict(value) for key, value in row.values.items()}
    runtime = values.get("containerd", {}).get("runtime", "containerd")
    assert runtime in {it.name for it in known()}


def test_runtimes_of_the_chart_are_runtimes_that_configure_knows() -> None:
    names = CHART["properties"]["containerd"]["properties"]["runtime"]["enum"]
    assert set(names) <= {it.name for it in known()}


@pytest.mark.parametrize("row", DISTRIBUTIONS, ids=lambda row: row.name)
def test_chart_leaves_files_alone_exactly_where_the_machine_has_to_be_told(row: Distribution) -> None:
    is_told = row.machine is not None and row.machine.is_needed
    assert (row.values.get("containerd", {}).get("configure", True) is False) is is_told


def test_what_is_none_is_refused_with_what_there_is() -> None:
    with pytest.raises(ConfigError, match="there is no openshift; there are aks, minikube"):
        distribution("openshift")
    with pytest.raises(ConfigError, match="AKS needs none"):
        distribution("aks").shown_machine(REGISTRIES)


def test_the_document_has_a_row_for_each() -> None:
    document = (ROOT / "deploy" / "distributions.md").read_text()
    for row in DISTRIBUTIONS:
        assert f"| `{row.name}` | {row.title} |" in document
