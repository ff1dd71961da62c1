"""The archive that `./dev bundle` makes is installed without a network, and what was installed runs there."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.network import Namespace
from testbed.processes import clean_environment, in_namespace
from tests.clients.conftest import need

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the archive for this Python has."""
    need("ip", "tar")
    folder = tmp_path_factory.mktemp("bundle")
    wanted = f"{sys.version_info.major}.{sys.version_info.minor}"
    command = [str(ROOT / "dev"), "bundle", "--python", wanted, "--out", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, env=clean_environment())
    assert made.returncode == 0, made.stderr
    (archive,) = folder.glob("*.tar.gz")
    subprocess.run(["tar", "xf", str(archive), "-C", str(folder)], check=True)
    subprocess.run(["sha256sum", "--check", "--quiet", f"{archive.name}.sha256"], cwd=folder, check=True)
    return next(path for path in folder.iterdir() if path.is_dir())


@pytest.fixture
def nowhere() -> Iterator[str]:
    """A network namespace from which nothing can be reached."""
    with Namespace("nowhere") as namespace:
        yield namespace.name


def run(netns: str, *command: str) -> subprocess.CompletedProcess[str]:
    # Of the caller's environment nothing that would tell pip where else there are packages.
    bare = ["env", "-i", f"PYTHON={sys.executable}", "PATH=/usr/bin:/bin:/usr/sbin:/sbin", *command]
    return subprocess.run(in_namespace(netns, bare), capture_output=True, text=True, timeout=120, check=False)


def test_it_is_installed_and_runs_without_a_network(bundle: Path, nowhere: str, tmp_path: Path) -> None:
    prefix = tmp_path / "skvaller"
    for _ in ("new", "over what is there"):
        installed = run(nowhere, str(bundle / "install"), "--prefix", str(prefix), "--no-systemd")
        assert installed.returncode == 0, installed.stdout + installed.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["skvaller"]
    shown = run(nowhere, str(prefix / "bin/skvaller"), "demo", "--nodes", "2", "--size", "1MiB")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "1.000 x" in shown.stdout


def test_a_damaged_bundle_is_not_installed(bundle: Path, nowhere: str, tmp_path: Path) -> None:
    wheel = next(bundle.glob("wheels/aiohttp-*.whl"))
    whole = wheel.read_bytes()
    wheel.write_bytes(whole[:-1])
    try:
        refused = run(nowhere, str(bundle / "install"), "--prefix", str(tmp_path / "x"), "--no-systemd")
    finally:
        wheel.write_bytes(whole)
    assert refused.returncode == 1
    assert wheel.name in refused.stdout + refused.stderr
    assert "copy it again" in refused.stderr
    assert not (tmp_path / "x").exists()
