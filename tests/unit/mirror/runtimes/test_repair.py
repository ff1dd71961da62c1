"""The agent writes again what was taken away, and says so once."""

import logging
from pathlib import Path

import pytest

from mirror.runtimes import Wanted
from mirror.runtimes.configuring import carry_out, plan_adding
from mirror.runtimes.containerd import Containerd
from mirror.runtimes.host import Host
from mirror.runtimes.records import Records
from mirror.runtimes.repair import Repair

HOSTS = "etc/containerd/certs.d/_default/hosts.toml"
CONFIG = "etc/containerd/config.toml"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host whose containerd was configured."""
    root = tmp_path / "host"
    (root / "etc/containerd").mkdir(parents=True)
    (root / CONFIG).write_text("version = 2\n")
    records = Records(tmp_path)
    plan = plan_adding(Containerd(), Host(root), Wanted("http://127.0.0.1:5000", ("docker.io",)), records)
    assert plan is not None
    carry_out(plan, Host(root), records)
    return root


@pytest.fixture
def repair(root: Path, tmp_path: Path) -> Repair:
    return Repair({"containerd": Containerd()}.get, root, tmp_path, look_s=1.0)


def test_drift_is_repaired_and_told(root: Path, repair: Repair, caplog: pytest.LogCaptureFixture) -> None:
    whole = {path: (root / path).read_text() for path in (HOSTS, CONFIG)}
    repair.look()
    assert caplog.records == []
    (root / HOSTS).unlink()
    (root / CONFIG).write_text("version = 2\n")
    repair.look()
    assert {path: (root / path).read_text() for path in whole} == whole
    assert [record.getMessage().rpartition(" runtime=")[2] for record in caplog.records] == [
        f"containerd path=/{HOSTS}",
        f"containerd path=/{CONFIG}",
    ]
    assert "now run: systemctl restart containerd" in caplog.text


def test_what_stands_in_the_way_is_told_once(root: Path, repair: Repair, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    (root / CONFIG).write_text("version = \n")
    repair.look()
    repair.look()
    assert len(caplog.records) == 1
    assert f"/{CONFIG}:1: it is not TOML" in caplog.text


def test_what_was_taken_back_stays_so(root: Path, repair: Repair, tmp_path: Path) -> None:
    Records(tmp_path).forget("containerd")
    (root / HOSTS).unlink()
    repair.look()
    assert not (root / HOSTS).exists()
