"""A containerd is configured and asked as its version wants it."""

import tomllib
from pathlib import Path

import pytest

from testbed.containerd import Containerd, Programs, settings_of, version_of
from testbed.errors import RunError


@pytest.mark.parametrize(("version", "file_version"), [((1, 6), 2), ((2, 1), 3), ((3, 0), 3)])
def test_the_configuration_has_the_version_that_containerd_reads(version: tuple[int, int], file_version: int) -> None:
    settings = tomllib.loads(settings_of(Path("/f"), Programs(version=version)))
    assert settings["version"] == file_version
    assert settings["grpc"]["address"] == "/f/c.sock"
    assert "io.containerd.grpc.v1.cri" in settings["disabled_plugins"]


def test_only_newer_clients_are_told_to_download_themselves(tmp_path: Path) -> None:
    old, new = (
        Containerd(tmp_path / name, None, Programs("d", "/bin/x-ctr", version)).pull_command("n", Path("/h"), 3)
        for name, version in (("old", (1, 6)), ("new", (2, 3)))
    )
    assert "--local" not in old
    assert new == [
        *(
            "/bin/x-ctr",
            "--address",
            str(tmp_path / "new/c.sock"),
            "--namespace",
            "k8s.io",
            "images",
            "pull",
            "--local",
        ),
        *("--hosts-dir", "/h", "--max-concurrent-downloads", "3", "n"),
    ]


def test_a_version_is_read_from_what_containerd_prints() -> None:
    assert version_of("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1\n") == (1, 6)
    assert version_of("containerd github.com/containerd/containerd/v2 v2.3.4 \n") == (2, 3)
    assert version_of("containerd github.com/containerd/containerd/v2 2.2.0+unknown \n") == (2, 2)
    with pytest.raises(RunError, match="not what a containerd says"):
        version_of("bash: containerd: not found")
