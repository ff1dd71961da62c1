"""k0s writes containerd's configuration itself, and adds drop-ins to it: so that is where the agent's line goes."""

from pathlib import Path

import pytest

from mirror.runtimes import Wanted
from mirror.runtimes.configuring import carry_out, plan_adding, plan_removing
from mirror.runtimes.containerd import K0S, Containerd
from mirror.runtimes.host import Host
from mirror.runtimes.records import Records

MANAGED = '# k0s_managed=true\nversion = 3\nimports = ["/run/k0s/containerd-cri.toml"]\n'
MERGED = 'version = 3\n[plugins."io.containerd.cri.v1.images".pinned_images]\nsandbox = "registry.k8s.io/pause:3.10"\n'
WANTED = Wanted("http://127.0.0.1:5000", ("docker.io",))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A worker of k0s."""
    for path, text in {"etc/k0s/containerd.toml": MANAGED, "run/k0s/containerd-cri.toml": MERGED}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def files(root: Path) -> dict[str, str]:
    return {str(it.relative_to(root)): it.read_text() for it in root.rglob("*") if it.is_file()}


def test_drop_in_and_hosts_are_written_and_taken_back(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    before, host, records = files(root), Host(root), Records(tmp_path_factory.mktemp("agent"))
    plan = plan_adding(Containerd(K0S), host, WANTED, records)
    assert plan is not None
    assert plan.restart == ()
    with records.locked():
        carry_out(plan, host, records)
    added = {path: text for path, text in files(root).items() if path not in before}
    assert set(added) == {"etc/k0s/containerd.d/skvaller.toml", "etc/k0s/containerd.d/certs.d/_default/hosts.toml"}
    drop_in = added["etc/k0s/containerd.d/skvaller.toml"]
    assert 'config_path = "/etc/k0s/containerd.d/certs.d"' in drop_in
    again = plan_adding(Containerd(K0S), host, WANTED, records)
    assert again is not None
    assert again.steps == ()
    back = plan_removing(Containerd(K0S), host, records)
    assert back is not None
    with records.locked():
        carry_out(back, host, records)
    assert files(root) == before


def test_folder_that_another_drop_in_names_is_used(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    merged = MERGED + '[plugins."io.containerd.cri.v1.images".registry]\nconfig_path = "/srv/certs.d"\n'
    (root / "run/k0s/containerd-cri.toml").write_text(merged)
    plan = plan_adding(Containerd(K0S), Host(root), WANTED, Records(tmp_path_factory.mktemp("agent")))
    assert plan is not None
    assert [step.path for step in plan.steps] == ["/srv/certs.d/_default/hosts.toml"]


def test_configuration_that_somebody_has_taken_over_is_written_itself(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (root / "etc/k0s/containerd.toml").write_text("version = 3\n")
    plan = plan_adding(Containerd(K0S), Host(root), WANTED, Records(tmp_path_factory.mktemp("agent")))
    assert plan is not None
    assert "/etc/k0s/containerd.toml" in {step.path for step in plan.steps}
