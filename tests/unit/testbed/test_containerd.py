"""A containerd is configured and asked as its version wants it."""

import tomllib
from pathlib import Path

import pytest

from testbed.containerd import Containerd, Programs, settings_of, version_of
from testbed.errors import RunError


@pytest.mark.parametrize(("version", "file_version"), [((1, 6), 2), ((2, 1), 3), ((3, 0), 3)])
def test_the_configuration_has_the_version_that_containerd_reads(version: tuple[int, int], file_version: int) -> None:
    settings = tomllib.loads(settings_of(Path("/f"), Programs(version=version), 5))
    assert settings["version"] == file_version
    assert settings["grpc"]["address"] == "/f/c.sock"
    assert "io.containerd.grpc.v1.cri" in settings["disabled_plugins"]
    transfer = settings.get("plugins", {}).get("io.containerd.transfer.v1.local")
    assert transfer == ({"max_concurrent_downloads": 5} if version[0] > 1 else None)


def test_only_older_clients_are_told_how_much_to_download_at_a_time(tmp_path: Path) -> None:
    old, new = (
        Containerd(tmp_path / name, None, Programs("d", "/bin/x-ctr", version), 5).pull_command("n", Path("/h"))
        for name, version in (("old", (1, 6)), ("new", (2, 3)))
    )
    asked = ["--namespace", "k8s.io", "images", "pull", "--hosts-dir", "/h"]
    assert old == [*old[:3], *asked, "--max-concurrent-downloads", "5", "n"]
    assert new == ["/bin/x-ctr", "--address", str(tmp_path / "new/c.sock"), *asked, "n"]


def test_a_version_is_read_from_what_containerd_prints() -> None:
    assert version_of("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1\n") == (1, 6)
    assert version_of("containerd github.com/containerd/containerd/v2 v2.3.4 \n") == (2, 3)
    assert version_of("containerd github.com/containerd/containerd/v2 2.2.0+unknown \n") == (2, 2)
    with pytest.raises(RunError, match="not what a containerd says"):
        version_of("bash: containerd: not found")
