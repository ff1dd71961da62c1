"""The unit gives the agent what it needs, and nothing else; it ends with what no restart mends."""

import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest

from mirror.installation.unit import Service, unit_text

PRINTED = Path(__file__).parents[4] / "deploy" / "systemd" / "skvaller.service"
COMMAND = "/opt/skvaller/current/bin/skvaller"


def parsed(text: str) -> RawConfigParser:
    unit = RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    return unit


def test_it_does_not_start_again_what_is_set_wrongly() -> None:
    unit = parsed(unit_text(Service(COMMAND)))
    assert unit["Service"]["Restart"] == "always"
    assert unit["Service"]["RestartPreventExitStatus"] == "2"
    assert "Documentation" not in unit["Unit"], "there is no address that it could name"


def test_the_one_that_can_be_read_in_the_tree_is_the_one_that_is_written() -> None:
    assert PRINTED.read_text() == unit_text(Service(COMMAND))


def test_runtimes_start_after_it_and_also_without_it() -> None:
    unit = parsed(unit_text(Service(COMMAND)))
    for runtime in ("docker", "k3s", "k3s-agent", "kubelet", "rke2-server", "crio"):
        assert f"{runtime}.service" in unit["Unit"]["Before"].split()
    assert "containerd.service" not in unit["Unit"]["Before"], "it would wait for the network, as the agent does"
    assert "RequiredBy" not in unit["Install"]
    assert unit["Service"]["Type"] == "notify", "they wait until it is ready"


def test_root_s_rights_are_for_the_content_of_containerd_alone() -> None:
    with_one = parsed(unit_text(Service(COMMAND)))["Service"]
    without = parsed(unit_text(Service(COMMAND, shares_containerd=False)))["Service"]
    assert with_one["AmbientCapabilities"] == with_one["CapabilityBoundingSet"] != ""
    assert "AmbientCapabilities" not in without
    assert without["CapabilityBoundingSet"] == ""
    assert with_one["User"] == without["User"] == "skvaller"


def test_it_may_write_files_of_runtimes_where_it_repairs_them_alone() -> None:
    usual = parsed(unit_text(Service(COMMAND)))["Service"]
    repairs = parsed(unit_text(Service(COMMAND, shares_containerd=False, repairs=True)))["Service"]
    assert usual["ReadWritePaths"] == "-/etc/skvaller"
    assert "-/etc/containerd" in repairs["ReadWritePaths"].split()
    assert "CAP_CHOWN" not in usual["AmbientCapabilities"]
    assert {"CAP_CHOWN", "CAP_DAC_OVERRIDE"} <= set(repairs["AmbientCapabilities"].split())


@pytest.mark.parametrize(
    ("data_dir", "line"),
    [
        ("/var/lib/skvaller", "StateDirectory=skvaller"),
        ("/var/lib/images/skvaller", "StateDirectory=images/skvaller"),
        ("/srv/skvaller", "ReadWritePaths=/srv/skvaller"),
    ],
)
def test_it_may_write_where_the_cache_is(data_dir: str, line: str) -> None:
    text = unit_text(Service(COMMAND, data_dir))
    assert line in text.splitlines()
    assert f"WorkingDirectory={data_dir}" in text.splitlines()


@pytest.mark.parametrize("shares", [True, False])
def test_systemd_understands_all_of_it(tmp_path: Path, *, shares: bool) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is missing; the package systemd has it")
    file = tmp_path / "skvaller.service"
    file.write_text(unit_text(Service("/bin/true", shares_containerd=shares)).replace("User=skvaller", "User=root"))
    done = subprocess.run([analyze, "verify", "--man=no", str(file)], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if "skvaller" in line] == []
