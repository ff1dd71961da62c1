"""Files of a host are found below the folder that stands for its /, whatever links say."""

from pathlib import Path

import pytest

from mirror.errors import ConfigError
from mirror.runtimes.host import FILE_MAX_BYTES, Host


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("other", "etc/other"),
        ("/srv/file", "srv/file"),
        ("../srv/file", "srv/file"),
        ("../../../../srv/file", "srv/file"),  # the host's own / has nothing above it
        ("/link", "srv/file"),
    ],
)
def test_links_lead_to_where_they_lead_on_the_host(tmp_path: Path, target: str, place: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "link").symlink_to("/srv/file")
    (tmp_path / "etc/file").symlink_to(target)
    assert Host(tmp_path).place("/etc/file") == tmp_path / place


def test_a_folder_on_the_way_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "run/containerd").mkdir(parents=True)
    (tmp_path / "run/containerd/config.toml").write_text("version = 2\r\n", newline="")
    (tmp_path / "etc").symlink_to("/run")
    assert Host(tmp_path).read("/etc/containerd/config.toml") == "version = 2\r\n"
    assert Host(tmp_path).names("/etc/containerd") == ["config.toml"]


def test_what_is_not_there_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    host = Host(tmp_path)
    assert (host.read("/none"), host.read("/file/below"), host.names("/none"), host.names("/file")) == (
        None,
        None,
        [],
        [],
    )
    assert not host.exists("/none")


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("/circle")
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin").write_bytes("é".encode("latin-1"))
    (tmp_path / "long").write_bytes(b"#" * (FILE_MAX_BYTES + 1))
    for name, problem in (
        ("circle", "Too many levels of symbolic links"),
        ("folder", "Is a directory"),
        ("latin", "no UTF-8"),
        ("long", "at most 1048576 bytes"),
    ):
        with pytest.raises(ConfigError, match=f"^/{name}: .*{problem}"):
            Host(tmp_path).read(f"/{name}")


def test_a_file_of_root_s_takes_sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("mirror.runtimes.host.read_small", refuse)
    with pytest.raises(ConfigError, match=r"^/etc/a: it cannot be read: Permission denied; run this command with sudo"):
        Host(tmp_path).read("/etc/a")
