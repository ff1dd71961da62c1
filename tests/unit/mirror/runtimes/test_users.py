"""What users have in their homes stops nothing, and cannot speak to who reads what is found."""

from pathlib import Path

import pytest

from mirror.runtimes.buildkit import BuildKit
from mirror.runtimes.host import Host
from mirror.runtimes.podman import Podman
from mirror.runtimes.users import users

PASSWD = """\
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
ann:x:1000:1000::/home/ann:/bin/sh
broken line
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    return tmp_path


def test_root_and_those_with_a_home_are_found(root: Path) -> None:
    assert [(user.name, user.home) for user in users(Host(root))] == [("ann", "/home/ann"), ("root", "/root")]


def test_links_in_a_circle_stop_nothing(root: Path) -> None:
    home = root / "home/ann"
    home.mkdir(parents=True)
    for name, target in ((".config", ".docker"), (".docker", ".config")):
        (home / name).symlink_to(target)
    for runtime in (Podman(), BuildKit()):
        assert runtime.look(Host(root)) is None


def test_a_name_that_could_be_part_of_a_command_is_not_told(root: Path) -> None:
    folder = root / "home/ann/.docker/buildx/instances"
    folder.mkdir(parents=True)
    for name in ("good", "$(reboot)", "a;b", "\\x1b[2J", "-v"):
        (folder / name).write_text('{"Driver": "docker-container"}')
    installed = BuildKit().look(Host(root))
    assert installed is not None
    assert installed.paths == {"/home/ann/.docker/buildx/instances/good"}
