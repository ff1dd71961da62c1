"""`skvaller configure kubernetes`: files on standard output, and nothing else there."""

import pytest
import yaml
from click.testing import CliRunner, Result

from mirror.cli import main
from mirror.kubernetes.distributions import DISTRIBUTIONS, Distribution


def configure(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["configure", "kubernetes", *arguments], env={"COLUMNS": "160"})


def test_without_a_name_all_are_listed() -> None:
    done = configure()
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == [it.name for it in DISTRIBUTIONS]


@pytest.mark.parametrize("row", DISTRIBUTIONS, ids=lambda row: row.name)
def test_values_are_printed_and_what_to_do_with_them_beside(row: Distribution) -> None:
    done = configure("--distribution", row.name, "--port", "6000")
    assert yaml.safe_load(done.stdout)["network"] == {"ports": {"client": 6000}}
    assert "helm install skvaller deploy/chart/skvaller" in done.stderr


def test_machines_configuration_names_the_agents_port_and_nothing_stands_beside_it() -> None:
    done = configure("--distribution", "talos", "--machine", "--port", "6000")
    assert (done.exit_code, done.stderr) == (0, "")
    assert yaml.safe_load(done.stdout)["endpoints"] == [{"url": "http://127.0.0.1:6000"}]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--distribution", "openshift"], "there is no openshift; there are aks"),
        (["--distribution", "aks", "--machine"], "AKS needs none"),
        (["--port", "0"], "--port"),
        (["docker"], "unexpected extra argument"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: list[str], told: str) -> None:
    done = configure(*arguments)
    assert done.exit_code == 2
    assert told in done.stderr


def test_it_has_a_help_of_its_own_and_the_other_has_still_its_own() -> None:
    assert "--distribution" in configure("--help").stdout
    help_of_hosts = CliRunner().invoke(main, ["configure", "--help"]).stdout
    assert "--distribution" not in help_of_hosts
    assert "skvaller configure kubernetes" in " ".join(help_of_hosts.split())
