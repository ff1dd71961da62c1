"""Files are written and given back: whole, as they were, and never half."""

import json
import os
from pathlib import Path

import pytest

from mirror.errors import ConfigError
from mirror.runtimes import Wanted
from mirror.runtimes.configuring import Plan, carry_out, plan_adding, plan_removing, restarted
from mirror.runtimes.containerd import Containerd
from mirror.runtimes.host import Host
from mirror.runtimes.records import Records

CONFIG = "etc/containerd/config.toml"
HOSTS = "etc/containerd/certs.d/_default/hosts.toml"
WANTED = Wanted("http://127.0.0.1:5000", ("docker.io",))
OTHER = Wanted("http://127.0.0.1:5999", ("docker.io",))
RUNTIME = Containerd()


class Node:
    """A host with containerd, and the agent's memory of what was written."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "host"
        self.host, self.records = Host(self.root), Records(folder / "agent")
        self.config = self.root / CONFIG
        self.config.parent.mkdir(parents=True)
        self.config.write_text("version = 2\n# as it was\n")
        (self.root / "usr/bin").mkdir(parents=True)
        (self.root / "usr/bin/containerd").touch()

    def configure(self, wanted: Wanted = WANTED) -> Plan:
        plan = plan_adding(RUNTIME, self.host, wanted, self.records)
        assert plan is not None
        carry_out(plan, self.host, self.records)
        return plan

    def unconfigure(self) -> Plan | None:
        plan = plan_removing(RUNTIME, self.host, self.records)
        if plan is not None:
            carry_out(plan, self.host, self.records)
        return plan

    def files(self) -> dict[str, str]:
        below = self.root / "etc"
        return {str(each.relative_to(self.root)): each.read_text() for each in below.rglob("*") if each.is_file()}


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_another_address_takes_the_place_of_the_first(node: Node) -> None:
    before = node.files()
    node.configure()
    node.configure(OTHER)
    assert "5999" in (node.root / HOSTS).read_text()
    assert "5000" not in (node.root / HOSTS).read_text()
    node.unconfigure()
    assert node.files() == before


def test_only_what_is_not_read_at_once_needs_a_restart(node: Node) -> None:
    assert node.configure().restart == ("systemctl", "restart", "containerd")
    restarted(RUNTIME.name, node.records)
    assert node.configure(OTHER).restart == ()
    plan = node.unconfigure()
    assert plan is not None
    assert plan.restart == ("systemctl", "restart", "containerd")


def test_a_restart_that_nobody_made_is_remembered(node: Node) -> None:
    node.configure()
    again = node.configure()
    assert (again.steps, again.restart) == ((), ("systemctl", "restart", "containerd"))
    restarted(RUNTIME.name, node.records)
    assert node.configure().restart == ()


def test_a_file_that_was_taken_away_is_written_again(node: Node) -> None:
    node.configure()
    whole = node.files()
    (node.root / HOSTS).unlink()
    node.config.write_text("version = 2\n# a package brought this\n")
    assert [step.path for step in node.configure().steps] == [f"/{HOSTS}", f"/{CONFIG}"]
    assert node.files()[HOSTS] == whole[HOSTS]
    node.unconfigure()
    assert node.files() == {CONFIG: "version = 2\n# a package brought this\n"}


def test_what_others_changed_since_stays_in_the_file_and_is_the_new_copy(node: Node) -> None:
    node.configure()
    node.config.write_text(node.config.read_text().replace("as it was", "by hand"))
    node.configure(OTHER)
    assert node.records.copy(RUNTIME.name, f"/{CONFIG}") == "version = 2\n# by hand\n"
    node.unconfigure()
    assert node.files() == {CONFIG: "version = 2\n# by hand\n"}


def test_mode_and_link_stay(node: Node, tmp_path: Path) -> None:
    kept = node.root / "srv/containerd.toml"
    kept.parent.mkdir()
    node.config.rename(kept)
    kept.chmod(0o640)
    node.config.symlink_to("/srv/containerd.toml")  # absolute, so below the host's own root
    node.configure()
    assert node.config.is_symlink()
    assert "config_path" in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o640
    assert (node.root / HOSTS).stat().st_mode & 0o777 == 0o644
    assert list(kept.parent.iterdir()) == [kept]


def test_a_write_that_fails_leaves_all_as_it_was(node: Node) -> None:
    """hosts.toml is written first, then config.toml, which is a link into a folder that is none."""
    (node.root / "srv").write_text("no folder")
    node.config.rename(node.config.with_name("aside"))
    node.config.symlink_to("/srv/containerd.toml")
    before = node.files()
    with pytest.raises(ConfigError, match=rf"^/{CONFIG} \(it is .*/srv/containerd.toml\): it cannot be written: Not a"):
        node.configure()
    assert node.files() == before
    assert not (node.root / HOSTS).parent.exists()
    assert node.unconfigure() is None


@pytest.mark.parametrize(
    ("number", "advice"),
    [(13, "run this command with sudo"), (30, "what makes the files of this host has to bring"), (28, "make room")],
)
def test_a_refusal_says_what_to_do(node: Node, monkeypatch: pytest.MonkeyPatch, number: int, advice: str) -> None:
    def refuse(self: Path, target: Path) -> Path:
        if self.name.startswith(".config.toml"):
            raise OSError(number, "refused")
        return real(self, target)

    real = Path.replace
    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(ConfigError, match=f"^/{CONFIG}: it cannot be written: refused; {advice}"):
        node.configure()


def test_a_file_that_is_a_mount_of_its_own_is_written_in_place(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> Path:
        if self.name.startswith(".config.toml"):
            raise OSError(16, "Device or resource busy")
        return real(self, target)

    real = Path.replace
    monkeypatch.setattr(Path, "replace", refuse)
    node.configure()
    assert "config_path" in node.config.read_text()
    assert sorted(each.name for each in node.config.parent.iterdir()) == ["certs.d", "config.toml"]


def test_a_file_keeps_an_owner_that_cannot_be_given(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may write a file need not be allowed to make another that belongs to its owner."""

    def refuse(fd: int, uid: int, gid: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.fchown", refuse)
    inode = node.config.stat().st_ino
    node.configure()
    assert "config_path" in node.config.read_text()
    assert node.config.stat().st_ino == inode


def test_a_folder_that_is_no_longer_needed_is_gone(node: Node) -> None:
    """An empty one of a registry would keep what `_default` says from it."""
    node.configure(Wanted("http://127.0.0.1:5000", ("quay.io", "ghcr.io"), every=False))
    node.configure(Wanted("http://127.0.0.1:5000", ("ghcr.io",), every=False))
    assert [each.name for each in (node.root / "etc/containerd/certs.d").iterdir()] == ["ghcr.io"]
    node.unconfigure()
    assert list(node.files()) == [CONFIG]


def test_folders_in_which_others_have_put_something_stay(node: Node) -> None:
    node.configure()
    theirs = node.root / "etc/containerd/certs.d/quay.io/hosts.toml"
    theirs.parent.mkdir()
    theirs.write_text('server = "https://quay.io"\n')
    node.unconfigure()
    assert theirs.read_text() == 'server = "https://quay.io"\n'
    assert not (node.root / HOSTS).parent.exists()


def test_a_record_of_a_newer_version_is_not_guessed_at(node: Node) -> None:
    node.configure()
    path = node.records.folder / "containerd.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 9}))
    with pytest.raises(ConfigError, match=r"of a newer skvaller.*the copies of what was there are in"):
        node.unconfigure()


def test_what_is_remembered_is_for_the_owner_alone(node: Node) -> None:
    """Files of runtimes have passwords."""
    node.configure()
    folder = node.records.folder
    files = [each for each in folder.rglob("*") if each.is_file()]
    assert {each.stat().st_mode & 0o077 for each in (folder.parent, folder, *files)} == {0}


def test_two_do_not_write_at_once(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirror.runtimes.records._LOCK_S", 0.0)
    with (
        node.records.locked(),
        pytest.raises(ConfigError, match="another `skvaller configure` is at work"),
        node.records.locked(),
    ):
        pytest.fail("it was let in")


def test_a_memory_that_another_could_have_made_is_not_believed(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent's user owns the folder above: it could have root write any file."""
    node.configure()
    aside = node.records.folder.with_name("aside")
    node.records.folder.rename(aside)
    node.records.folder.symlink_to(aside)
    with pytest.raises(ConfigError, match="configured: it cannot be read: Not a directory"):
        Records(aside.parent).read("containerd")
    node.records.folder.unlink()
    aside.rename(node.records.folder)
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    os.chown(node.records.folder, 4321, -1) if os.getuid() == 0 else None
    with pytest.raises(ConfigError, match="another user owns it or may write there"):
        Records(aside.parent).read("containerd")


def test_a_memory_in_which_others_may_write_is_not_believed(node: Node) -> None:
    node.configure()
    node.records.folder.chmod(0o770)
    with pytest.raises(ConfigError, match="another user owns it or may write there"):
        Records(node.records.folder.parent).read("containerd")


def test_nothing_is_written_through_a_link_that_somebody_put_beside_the_file(node: Node, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    (node.config.parent / ".config.toml.skvaller-new").symlink_to(victim)
    node.configure()
    assert victim.read_text() == "as it was"
    assert "config_path" in node.config.read_text()
    assert not node.config.is_symlink()
