"""An installation is whole or has not happened; an upgrade that fails leaves what ran."""

import os
import socket
from pathlib import Path

import pytest

from mirror.errors import ConfigError, StartFailed
from mirror.installation.carrying_out import Installation
from mirror.installation.places import Places
from mirror.installation.plan import plan_of
from mirror.installation.program import Releases
from mirror.installation.taking_away import Removal
from tests.unit.mirror.installation.conftest import PlayedMachine, a_release, tree

Told = list[tuple[str, str]]


class Host:
    """A host on which releases are installed one after the other."""

    def __init__(self, places: Places, machine: PlayedMachine, told: Told, files: Path) -> None:
        self.places, self.machine = places, machine
        self._tell = lambda what, sentence: told.append((what, sentence))
        self._files = files

    def install(self, release: str, **given: str) -> None:
        settings = {name.replace("_", "-"): value for name, value in given.items()}
        program = a_release(self._files, release)
        plan = plan_of(self.places, program, {"peer": "127.0.0.1:1", "gossip": "127.0.0.1:2", **settings}, None, None)
        Installation(self.places, self.machine, self._tell).carry_out(plan)

    def uninstall(self, *, purge: bool = False) -> None:
        Removal(self.places, self.machine, self._tell).take_away(purge=purge)

    def releases(self) -> list[str]:
        return sorted(path.name for path in self.places.at("/opt/skvaller").iterdir())

    @property
    def runs(self) -> str:
        """What the command of the host is."""
        link = os.readlink(self.places.at("/usr/local/bin/skvaller"))
        return self.places.at(link).resolve().parents[1].name


@pytest.fixture
def host(places: Places, machine: PlayedMachine, told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr("mirror.installation.ports.taken", lambda config: [])
    return Host(places, machine, told, tmp_path / "came")


def test_the_first_one_is_there_and_runs(host: Host, told: Told) -> None:
    host.install("1.0-aa")
    assert host.machine.runs
    assert host.runs == "1.0-aa"
    assert host.places.at("/etc/skvaller/cluster.key").stat().st_mode & 0o777 == 0o600
    enabled = host.places.at("/etc/systemd/system/multi-user.target.wants/skvaller.service")
    assert os.readlink(enabled) == "/etc/systemd/system/skvaller.service"
    assert [what for what, _ in told] == ["key", "settings", "unit", "program", "agent"]


def test_an_upgrade_keeps_key_and_settings_and_forgets_the_old_program(host: Host) -> None:
    host.install("1.0-aa", cache_size="5GiB")
    kept = {name: text for name, text in tree(host.places.root).items() if name.startswith("etc/skvaller/")}
    host.install("2.0-bb")
    assert host.releases() == ["2.0-bb", "current"]
    assert host.runs == "2.0-bb"
    assert {name: text for name, text in tree(host.places.root).items() if name.startswith("etc/skvaller/")} == kept


def test_the_same_one_again_changes_nothing(host: Host, told: Told) -> None:
    host.install("1.0-aa")
    before = tree(host.places.root)
    came = host.places.root.parent / "came" / "1.0-aa"
    came.rename(came.with_name("again"))
    told.clear()
    host.install("1.0-aa")
    assert tree(host.places.root) == before
    assert [sentence for _, sentence in told if "as it was" in sentence]


@pytest.mark.parametrize("how", ["does not start", "is refused", "cannot be written"])
def test_an_upgrade_that_fails_leaves_all_as_it_was_and_the_old_one_running(
    host: Host, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.install("1.0-aa", cache_size="5GiB")
    before, asked = tree(host.places.root), len(host.machine.asked)
    if how == "does not start":
        host.machine.starts = lambda: host.runs == "1.0-aa"
    elif how == "is refused":
        host.machine.refuses = "key file: no"
    else:

        def full(*_: object) -> str:
            raise OSError(28, "No space left on device", "/opt/skvaller")

        monkeypatch.setattr(Releases, "place", full)
    with pytest.raises(ConfigError) as error:
        host.install("2.0-bb", cache_size="9GiB")
    assert tree(host.places.root) == before
    assert host.machine.runs
    if how == "cannot be written":
        assert "No space left" in str(error.value)
    if how != "does not start":
        assert host.machine.asked[asked:] == ["reload"], "the old one is not disturbed"


def test_a_first_one_that_does_not_start_leaves_nothing(host: Host) -> None:
    before = tree(host.places.root)
    host.machine.starts = lambda: False
    with pytest.raises(StartFailed, match="does not start"):
        host.install("1.0-aa")
    left = {name: text for name, text in tree(host.places.root).items() if text != "folder"}
    assert left == {name: text for name, text in before.items() if text != "folder"}
    assert not host.places.at("/opt/skvaller").exists()
    assert not host.places.at("/etc/skvaller").exists()
    assert host.machine.asked == ["restart", "stop", "reload"]


def test_a_port_that_another_program_has_is_named_before_anything_is_written(
    places: Places, machine: PlayedMachine, told: Told, tmp_path: Path
) -> None:
    host = Host(places, machine, told, tmp_path / "came")
    before = tree(places.root)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(StartFailed) as error:
            host.install("1.0-aa", listen=f"127.0.0.1:{port}")
    assert f"listen: 127.0.0.1:{port} is taken by" in str(error.value)
    assert f"process {os.getpid()} " in str(error.value)
    assert tree(places.root) == before


def test_a_command_of_somebody_else_is_not_replaced(host: Host) -> None:
    link = host.places.at("/usr/local/bin/skvaller")
    link.parent.mkdir(parents=True)
    link.write_text("mine")
    with pytest.raises(ConfigError, match=r"/usr/local/bin/skvaller is a file of somebody else"):
        host.install("1.0-aa")
    assert link.read_text() == "mine"
    assert not host.places.at("/opt/skvaller").exists()


def test_uninstalled_it_leaves_what_it_names(host: Host, told: Told) -> None:
    files = {name: text for name, text in tree(host.places.root).items() if text != "folder"}
    host.install("1.0-aa")
    host.places.at("/var/lib/skvaller").mkdir(parents=True)
    told.clear()
    host.uninstall()
    assert not host.machine.runs
    named = {sentence for what, sentence in told if what == "left"}
    assert named == {"/etc/skvaller", "/var/lib/skvaller"}
    left = {name for name, text in tree(host.places.root).items() if text != "folder"} - set(files)
    assert left == {"etc/skvaller/agent.toml", "etc/skvaller/cluster.key"}
    host.install("1.0-ab")
    assert host.machine.runs, "it comes back with its key"


def test_purged_it_leaves_nothing(host: Host, told: Told) -> None:
    files = {name: text for name, text in tree(host.places.root).items() if text != "folder"}
    host.install("1.0-aa")
    host.places.at("/var/lib/skvaller/cache").mkdir(parents=True)
    host.uninstall(purge=True)
    assert {name: text for name, text in tree(host.places.root).items() if text != "folder"} == files
    for folder in ("/etc/skvaller", "/var/lib/skvaller", "/opt/skvaller"):
        assert not host.places.at(folder).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_agents_user_gets_what_is_its_own_and_nothing_else(host: Host, tmp_path: Path) -> None:
    passwd = host.places.at("/etc/passwd")
    passwd.write_text("skvaller:x:4321:4322::/:/usr/sbin/nologin\n")
    secret, data = tmp_path / "shadow", host.places.at("/srv/old")
    secret.touch()
    data.mkdir(parents=True)
    host.places.at("/etc/skvaller").mkdir()
    host.places.at("/etc/skvaller/cluster.key").symlink_to(secret)
    host.install("1.0-aa", data_dir="/srv/old")
    owners = {path: os.stat(path).st_uid for path in (secret, data, host.places.at("/etc/skvaller"))}
    assert list(owners.values()) == [0, 0, 0]
    assert host.places.at("/etc/skvaller/agent.toml").stat().st_uid == 0


def test_a_data_folder_of_the_operators_choice_is_never_deleted(host: Host, told: Told) -> None:
    mine = host.places.at("/srv")
    mine.mkdir()
    (mine / "thesis.tex").touch()
    host.install("1.0-aa", data_dir="/srv")
    host.uninstall(purge=True)
    assert (mine / "thesis.tex").exists()
    assert any(what == "left" and "rm -r /srv" in sentence for what, sentence in told)


@pytest.fixture
def user(places: Places) -> int:
    """The agent's user on the host."""
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    places.at("/etc/passwd").write_text("skvaller:x:4321:4321::/:/usr/sbin/nologin\n")
    return 4321


def test_the_agent_may_replace_its_key_and_not_its_settings(host: Host, user: int) -> None:
    host.install("1.0-aa")
    paths = ("/etc/skvaller", "/etc/skvaller/cluster.key", "/etc/skvaller/agent.toml")
    folder, key, settings = (host.places.at(path).stat() for path in paths)
    assert (folder.st_uid, folder.st_gid, folder.st_mode & 0o7777) == (0, user, 0o1775)
    assert (key.st_uid, settings.st_uid) == (user, 0)


def test_an_upgrade_gives_away_nothing_to_which_the_agent_has_led_it(
    host: Host, user: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("of root")
    host.install("1.0-aa")
    key, new = host.places.at("/etc/skvaller/cluster.key"), host.places.at("/etc/skvaller/.agent.toml.new")
    key.rename(key.with_name("mine"))
    os.link(victim, key)
    os.chown(host.places.at("/etc/skvaller/agent.toml"), user, user)
    sync = os.fsync

    def race(fd: int) -> None:
        sync(fd)
        if new.exists():
            new.unlink()
            new.symlink_to(victim)

    monkeypatch.setattr("os.fsync", race)
    host.install("2.0-bb", cache_size="7GiB")
    assert victim.stat().st_uid == 0


def test_links_of_an_image_lead_to_places_of_that_image(tmp_path: Path) -> None:
    root = tmp_path / "image"
    (root / "srv/etc").mkdir(parents=True)
    (root / "etc").symlink_to("/srv/etc")
    assert Places(root).at("/etc/skvaller/agent.toml") == root / "srv/etc/skvaller/agent.toml"


def test_the_command_that_deletes_what_is_left_is_one_word_a_path(host: Host, told: Told) -> None:
    host.install("1.0-aa")
    settings = host.places.at("/etc/skvaller/agent.toml")
    settings.write_text(settings.read_text() + 'data-dir = "/srv/a; reboot"\n')
    host.places.at("/srv/a; reboot").mkdir(parents=True)
    host.uninstall(purge=True)
    assert any(sentence.endswith("rm -r '/srv/a; reboot'") for _, sentence in told)
